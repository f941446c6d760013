"""What `accelerator.py` does whatever the machine: steps fail apart, long ones are cut short, the checkout is found.

The measurement itself is tried with `--device cpu --short`; it takes minutes.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import accelerator
import pytest
from accelerator import Wanted, busy, is_there, measure, register, run

SAMPLES = """2026/11/20 22:00:00.000, 0, 0, 4, 70.1
2026/11/20 22:00:00.200, 90, 40, 1000, 300.0
2026/11/20 22:00:00.400, 30, 10, 3000, 200.0
2026/11/20 22:00:00.600, 95, 40, 2000, [N/A]
2026/11/20 22:00:00.800, 0, 0
"""


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """A measurement in an empty folder with nothing packed."""
    (tmp_path / "results").mkdir()
    return Wanted("cpu", True, tmp_path / "packed", tmp_path / "work", tmp_path / "results", None)


def test_a_step_that_fails_is_recorded_and_the_rest_goes_on(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive holds the error of one and the finding of the other."""
    monkeypatch.setattr(accelerator, "STEPS", {"peer": accelerator.peer, "good": lambda wanted: {"found": 1}})
    monkeypatch.setattr(accelerator, "is_there", lambda name, version: False)
    assert measure(wanted, ["peer", "good"], tmp_path / "out" / "all.tar.gz") == 1
    with tarfile.open(tmp_path / "out" / "all.tar.gz") as packed:
        held = packed.extractfile("accelerator/summary.json")
        assert held is not None
        steps = json.load(held)["steps"]
        assert "accelerator/peer-error.txt" in packed.getnames()
    assert steps["good"] == {"ok": True, "found": 1}
    assert not steps["peer"]["ok"] and "no sources of learn2learn" in steps["peer"]["error"]


def test_a_command_that_fails_is_an_error_with_its_last_words(wanted: Wanted) -> None:
    """The rest is in its log."""
    with pytest.raises(RuntimeError, match=r"exit code 3 after .* s: no"):
        run(wanted, "bad", [sys.executable, "-c", "print('no'); raise SystemExit(3)"], 60)


def test_a_command_is_interrupted_at_its_limit(wanted: Wanted) -> None:
    """As by Ctrl-C, and what it says then is kept."""
    waits = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a test in the background has it ignored
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: print('Stopped after update 7; saved.')"
    )
    done = run(wanted, "slow", [sys.executable, "-I", "-S", "-c", waits], 5)  # starts at once on a busy machine, too
    assert (done["stopped_at_limit_s"], done["progress"]) == (5, "Stopped after update 7; saved.")


def test_the_checkout_serves_without_being_installed(wanted: Wanted) -> None:
    """A described checkout has its methods, data sets and backbones, as an installed one."""
    register(wanted.site)
    asked = (
        "from fewshot_bench.plugins import registry as plugins\n"
        "for group in ('methods', 'datasets', 'backbones'): print(*plugins.registered(group))\n"
        "print(plugins.version(), plugins.__file__)"
    )
    command = [sys.executable, "-c", asked]
    said = subprocess.run(command, env=wanted.environment, capture_output=True, text=True, check=True, cwd=wanted.site)
    lines = said.stdout.splitlines()
    assert "maml" in lines[0].split() and "omniglot" in lines[1].split() and "conv4-64" in lines[2].split()
    assert lines[3].endswith(str(accelerator.ROOT / "fewshot_bench" / "plugins" / "registry.py"))


def test_the_use_of_a_gpu_is_summed_up_over_all_samples_and_over_those_in_use() -> None:
    """Two of four samples are over 80 %, two of the three from the first use to the last; a cut line is left out."""
    assert busy(SAMPLES) == {
        "samples": 4,
        "share_over_80_percent": 0.5,
        "share_over_80_percent_while_used": 0.6667,
        "mean_percent_while_used": 71.7,
        "most_memory_mib": 3000,
    }
    assert busy("") == {"samples": 0}


def test_what_is_there_in_a_newer_version_is_not_installed_again() -> None:
    """An older one is."""
    assert is_there("pytest", "1.0")
    assert not is_there("pytest", "1000.0.1")
    assert not is_there("no-such-distribution", "0")
