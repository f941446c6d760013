"""The end of a command while other processes decode for it.

Ctrl-C goes to all of a terminal's processes, and only one of them answers; a kill goes to that one alone.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import PIXELS, environment
from picture_files import encoded, noise, write

SLOWLY = """
import sys, time
from pathlib import Path
import joblib
from fewshot_bench.cli.main import main
from fewshot_bench.data.images.decoding import Photo
from fewshot_datasets.own import folder

class Slow(Photo):
    def __call__(self, content):
        Path(LOG).touch()
        time.sleep(0.01)
        return super().__call__(content)

LOG = sys.argv.pop(1)
folder.Photo = Slow
joblib.cpu_count = lambda: 2
main()
"""


def group(number: int) -> dict[int, str]:
    """Command line of each living process of a process group, by its number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, own, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(own) == number and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
    return found


def blocks_interrupts(pid: int) -> bool:
    """Whether a process never sees Ctrl-C, not even while it starts."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigBlk"], 16) >> (signal.SIGINT - 1) & 1)


def wait_for(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 100
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file that is there once a process has begun to decode."""
    return tmp_path / "log"


@pytest.fixture
def preparing(tmp_path: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """`fsbench run` in a process group of its own, where two other processes decode slowly."""
    photo = encoded(noise(0), "JPEG")
    photos = write(tmp_path / "photos", {f"{name}/{i}.jpg": photo for name in "abcdefghij" for i in range(60)})
    command = [*PIXELS, "--dataset", "folder", "--data-root", str(photos), "--out", str(tmp_path / "runs")]
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(log), *command],
        env=environment(FSBENCH_CACHE=str(tmp_path / "cache")),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        if group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def decoding(process: subprocess.Popen[str]) -> list[int]:
    """The processes that decode for a process, or that start."""
    return [pid for pid, line in group(process.pid).items() if "popen_loky" in line]


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("moment", ["they start", "they decode"])
def test_ctrl_c_ends_all_processes_without_a_word_of_theirs(
    moment: str, preparing: subprocess.Popen[str], log: Path, tmp_path: Path
) -> None:
    """Exit 130 whether they start or decode; no traceback, no process and nothing half made is left."""
    wait_for(log.exists if moment == "they decode" else lambda: decoding(preparing))
    assert all(map(blocks_interrupts, decoding(preparing)))
    assert preparing.poll() is None
    os.killpg(preparing.pid, signal.SIGINT)
    said = preparing.communicate(timeout=60)[1]
    assert preparing.returncode == 130, said
    assert "Traceback" not in said and "Interrupted." in said and "Warning" not in said, said
    wait_for(lambda: group(preparing.pid) == {})
    assert {path.name for path in (tmp_path / "cache").iterdir()} - {"checksums", "identities", "kernels"} == {".locks"}
    assert not list(tmp_path.glob("runs/*/record.json"))


@pytest.mark.parametrize("moment", ["they start", "they decode"])
def test_a_command_that_is_killed_leaves_no_process(moment: str, preparing: subprocess.Popen[str], log: Path) -> None:
    """Those that decode end by themselves, within seconds: nobody is left to end them."""
    wait_for(log.exists if moment == "they decode" else lambda: decoding(preparing))
    assert preparing.poll() is None
    preparing.kill()
    wait_for(lambda: group(preparing.pid) == {})
