"""The kernels are compiled once for a machine; where they cannot be had a run says why, in a line, and torch computes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command_line import environment, one_thread
from heard import Heard

from fewshot_bench import kernels
from fewshot_bench.errors import FewshotError
from fewshot_bench.kernels import Unavailable, build, library
from fewshot_bench.request import Request, TestRequest
from fewshot_bench.results.records import Record
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.retest import test_run as run_test
from fewshot_bench.runs.training import Interrupted

SETTINGS = "updates=2 train.ways=5 train.queries=1 meta_batch_size=2 split=train+val selection=last backbone=conv4-32"
REQUEST = Request("maml", protocol="custom", queries=2, episodes=4, settings=tuple(SETTINGS.split()), device="cpu")
USUAL_CACHE = build.cache_folder
ANSWER = 'extern "C" int answer() {{ return {}; }}'
"""A source that compiles at once."""
TOGETHER = """#!/bin/sh
touch "$0.$PPID"
while [ "$(ls "$0".* | wc -l)" -lt 2 ]; do sleep 0.01; done
exec c++ "$@"
"""
"""A compiler that waits until two processes have called it."""


@pytest.fixture(autouse=True)
def untried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not asked for the kernels yet, on a machine that has not compiled them."""
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path / "cache")
    build._found.cache_clear()
    yield
    monkeypatch.undo()
    build._found.cache_clear()


@pytest.fixture
def small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source in the kernels' place; needs a C++ compiler."""
    source = tmp_path / "answer.cpp"
    source.write_text(ANSWER.format(42))
    monkeypatch.setattr(build, "SOURCES", (source,))
    return source


def script(path: Path, text: str) -> Path:
    """A program of that text."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def compiled_files(folder: Path) -> list[str]:
    """What lies in the cache."""
    return sorted(path.name for path in (folder / "cache" / "kernels").iterdir())


def no_linux(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system."""
    monkeypatch.setattr(sys, "platform", "win32")


def no_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is named, none is found."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def missing_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is named does not exist."""
    monkeypatch.setenv("CXX", str(folder / "no-such-compiler"))


def failing_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It complains at length, and keeps count of its calls."""
    text = f"#!/bin/sh\necho x >>{folder}/calls\nprintf 'no such flag\\nat all\\n' >&2\nexit 3\n"
    monkeypatch.setenv("CXX", str(script(folder / "failing", text)))


def silent_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails without a word."""
    monkeypatch.setenv("CXX", str(script(folder / "silent", "#!/bin/sh\nexit 3\n")))


def slow_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not end."""
    monkeypatch.setenv("CXX", str(script(folder / "slow", "#!/bin/sh\nexec sleep 60\n")))
    monkeypatch.setattr(build, "TIMEOUT_S", 0.1)


def idle_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that all is well, and makes nothing."""
    monkeypatch.setenv("CXX", "true")


def corrupt_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler makes is no library."""
    monkeypatch.setenv("CXX", str(script(folder / "odd", "#!/bin/sh\necho 'not a library' >kernels.so\n")))


def babbling_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It complains in no UTF-8."""
    monkeypatch.setenv("CXX", str(script(folder / "babbling", "#!/bin/sh\nprintf '\\377 no\\n' >&2\nexit 3\n")))


def unwritable_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is where the folder would be: root too cannot write there."""
    monkeypatch.setenv("CXX", "c++")
    (folder / "cache").mkdir()
    (folder / "cache" / "kernels").touch()


Obstacle = Callable[[Path, pytest.MonkeyPatch], None]
OBSTACLES: dict[Obstacle, str] = {
    no_linux: "built on Linux only",
    no_compiler: "there is no C[+][+] compiler",
    missing_compiler: "no-such-compiler cannot be run: .*No such file",
    failing_compiler: "failing fails: no such flag$",
    silent_compiler: "silent fails: exit code 3$",
    slow_compiler: "slow cannot be run: .*timed out",
    idle_compiler: "true makes no library",
    corrupt_library: "does not load: .*kernels-",
    babbling_compiler: "babbling fails: . no",
    unwritable_cache: "cache/kernels cannot be written: .*exists",
}
"""What can go wrong, and what is said of it."""
obstacles = pytest.mark.parametrize("obstacle", OBSTACLES)


@obstacles
def test_an_obstacle_is_named_in_one_line(obstacle: Obstacle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is in the way, each time that the kernels are asked for, and torch goes on computing."""
    obstacle(tmp_path, monkeypatch)
    for ask in (library, lambda: kernels.serving(True).__enter__()):
        with pytest.raises(Unavailable, match=OBSTACLES[obstacle]) as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert not kernels.serve(torch.zeros(1, 1, 16, 8, 8), torch.zeros(16, 16, 3, 3))


@pytest.mark.parametrize("obstacle", [no_compiler, failing_compiler, corrupt_library, unwritable_cache])
def test_a_run_goes_through_all_the_same(obstacle: Obstacle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why once, torch computes, and the record says that the kernels did not."""
    obstacle(tmp_path, monkeypatch)
    record, notes = run(tmp_path / "runs")
    (note,) = notes
    assert "kernels cannot be had" in note
    assert "\n" not in note
    assert record.content["plan"]["kernels"] is False
    assert len(record.scores(record.results[0]["id"])) == 4


def test_a_compiler_that_fails_is_tried_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for every block of episodes."""
    failing_compiler(tmp_path, monkeypatch)
    run(tmp_path / "runs")
    assert (tmp_path / "calls").read_text().count("x") == 1


@pytest.mark.usefixtures("compiled")
def test_a_run_with_kernels_is_tested_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored plan asks for kernels that cannot be had: a note, and the same scores but for rounding."""
    with monkeypatch.context() as patch:
        patch.setattr(build, "cache_folder", USUAL_CACHE)
        record, notes = run(tmp_path / "runs")
    assert record.content["plan"]["kernels"] is True
    assert not notes
    build._found.cache_clear()
    no_compiler(tmp_path, monkeypatch)
    heard = Heard()
    with one_thread():
        record, result = run_test(record.folder, TestRequest(episodes=3, device="cpu"), heard)
    (note,) = heard.notes
    assert "kernels cannot be had" in note
    assert record.content["plan"]["kernels"] is True
    assert [each["plan"]["kernels"] for each in record.results] == [True, False]
    assert len(record.scores(result["id"])) == 3


@pytest.mark.usefixtures("compiled")
def test_a_run_begun_with_kernels_does_not_go_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end with another record; its state stays, and with kernels it goes on."""

    class Stop(Heard):
        def stopped(self) -> bool:
            return True

    with monkeypatch.context() as patch:
        patch.setattr(build, "cache_folder", USUAL_CACHE)
        with one_thread(), pytest.raises(Interrupted):
            execute(REQUEST, resolve(REQUEST), tmp_path / "runs", "reuse", Stop())
    (state,) = (tmp_path / "runs").glob("*/state.safetensors")
    before = state.read_bytes()
    build._found.cache_clear()
    with monkeypatch.context() as patch:
        no_compiler(tmp_path, patch)
        with pytest.raises(FewshotError, match="begun with the fast kernels"):
            run(tmp_path / "runs")
    assert state.read_bytes() == before
    build._found.cache_clear()
    monkeypatch.setattr(build, "cache_folder", USUAL_CACHE)
    assert run(tmp_path / "runs")[0].content["plan"]["kernels"] is True


def run(out: Path) -> tuple[Record, list[str]]:
    """A run of MAML on glyphs, on one thread, and what it noted."""
    heard = Heard()
    with one_thread():
        return execute(REQUEST, resolve(REQUEST), out, "reuse", heard)[0], heard.notes


@pytest.mark.usefixtures("compiled")
def test_what_was_compiled_is_loaded_again(small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process needs no compiler: the file is there, and nothing else is."""
    monkeypatch.setenv("CXX", "c++")
    assert library().answer() == 42
    monkeypatch.setattr(build, "_compile", lambda *arguments: pytest.fail("compiled twice"))
    build._found.cache_clear()
    assert library().answer() == 42
    assert len(compiled_files(tmp_path)) == 1


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut to a page": lambda path: os.truncate(path, 4096),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "rubbish": lambda path: path.write_bytes(b"not a library"),
    "of another function": lambda path: shutil.copyfile(torch._C.__file__, path),
    "changed": lambda path: path.write_bytes(path.read_bytes().replace(b"answer", b"beggar")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
}
"""What may have become of the library in the cache; a process that loaded one cut to a page would be killed (SIGBUS)."""


@pytest.mark.usefixtures("compiled", "small_source")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_library_that_is_not_what_was_compiled_is_made_anew(damage: str, tmp_path: Path) -> None:
    """It is never loaded, and the next process finds a whole one."""
    library()
    folder = tmp_path / "cache" / "kernels"
    (name,) = compiled_files(tmp_path)
    path, whole = folder / name, (folder / name).read_bytes()
    path.unlink()
    path.write_bytes(whole)  # another file: this process has mapped the first
    DAMAGES[damage](path)
    build._found.cache_clear()
    if damage == "a folder":
        with pytest.raises(Unavailable, match="cannot be written: Is a directory"):
            library()
        return
    assert library().answer() == 42
    assert compiled_files(tmp_path) == [name]
    assert (folder / name).read_bytes() == whole


@pytest.mark.usefixtures("compiled")
def test_a_library_without_a_function_is_refused(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything asks for that function: torch computes, and the run says why."""
    small_source.write_text(ANSWER.format(42) + '\n// extern "C" int question(); extern "C" int more_##Real(int x) {}\n')
    with pytest.raises(Unavailable, match="has no function question"):
        library()


@pytest.mark.usefixtures("compiled", "small_source")
def test_what_a_killed_compiler_left_is_deleted(tmp_path: Path) -> None:
    """Once it is older than any compiler runs; one that may be at work stays."""
    for name, age_s in {".compiling-old": 10**5, ".compiling-new": 0}.items():
        work = tmp_path / "cache" / "kernels" / name
        work.mkdir(parents=True)
        (work / "half.o").touch()
        os.utime(work, (time.time() - age_s,) * 2)
    library()
    assert [name for name in compiled_files(tmp_path) if name.startswith(".")] == [".compiling-new"]


def test_every_kernel_is_looked_for_before_a_library_counts() -> None:
    """The names that the sources declare, of both types."""
    names = set(build._functions())
    assert names >= {
        "draw_episodes",
        "first_forward_float",
        "first_forward_double",
        "winograd_float",
        "grad_gradient_double",
    }
    assert len(names) == 25


@pytest.mark.usefixtures("compiled")
def test_a_changed_source_is_another_library(small_source: Path, tmp_path: Path) -> None:
    """Its name follows from the source; the earlier one stays, for an earlier version."""
    assert library().answer() == 42
    small_source.write_text(ANSWER.format(43))
    build._found.cache_clear()
    assert library().answer() == 43
    assert len(compiled_files(tmp_path)) == 2


@pytest.mark.usefixtures("compiled")
def test_another_compiler_makes_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name follows from the compiler and its flags too."""
    keys = {build._key("c++"), build._key("clang++")}
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert len(keys | {build._key("c++")}) == 3


@pytest.mark.usefixtures("compiled")
def test_processes_that_compile_at_the_same_moment_do_not_disturb_each_other(small_source: Path, tmp_path: Path) -> None:
    """Each of two gets its library, and one file is left."""
    compiler = script(tmp_path / "together", TOGETHER)
    code = (
        "import sys; from pathlib import Path; from fewshot_bench.kernels import build;"
        "build.SOURCES = (Path(sys.argv[1]),); print(build.library().answer())"
    )
    variables = environment(FSBENCH_CACHE=str(tmp_path / "cache"), CXX=str(compiler))
    command = [sys.executable, "-c", code, str(small_source)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, env=variables, **pipes) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in processes]
    assert said == [("42\n", "")] * 2
    assert len(list(tmp_path.glob("together.*"))) == 2
    assert len(compiled_files(tmp_path)) == 1
