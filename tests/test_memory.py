"""Peak memory does not grow with the number of test episodes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import LINEAR, environment

SCRIPT = """
import sys
from command_line import one_thread
from fewshot_bench.cli.main import _main
with one_thread():
    sys.exit(_main(sys.argv[1:]))
"""
FEW, MANY = 100, 2000
METHODS = {
    "embedded once": ("--method", "nearest-centroid"),
    "episode by episode": ("--method", LINEAR, "--set", "updates=0"),
}


def peak_mib(out: Path, method: tuple[str, ...], episodes: int) -> float:
    """Peak memory of a process of its own that tests on so many episodes [MiB]."""
    size = ("--protocol", "custom", "--episodes", str(episodes), "--queries", "15", "--out", str(out))
    command = [sys.executable, "-c", SCRIPT, "run", *method, *size, "--json"]
    tests = str(Path(__file__).parent)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(PYTHONPATH=tests), timeout=100)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["results"][0]["test"]["episodes"] == episodes
    return float(record["cost"]["peak_mib"])


@pytest.mark.parametrize("name", METHODS)
def test_twenty_times_the_episodes_need_no_more_memory(name: str, tmp_path: Path) -> None:
    """Within 40 MiB. The images alone of all episodes, as floats, would be another 450 MiB."""
    few, many = (peak_mib(tmp_path / str(episodes), METHODS[name], episodes) for episodes in (FEW, MANY))
    images_mib = (MANY - FEW) * 5 * 16 * 28 * 28 * 4 / 2**20
    assert images_mib > 450
    assert many - few < 40
