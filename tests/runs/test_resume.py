"""A run that was killed goes on by the same command and ends as if nothing had happened: real processes, real signals."""

import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from command_line import TINY, call, changed, environment, finished, only_run, snapshot
from interrupted_run import DRIVER, assert_same_run, interrupt

from fewshot_bench.results.records import load_record

MOMENTS = {
    "before the first save": None,
    "training": 3,
    "saving": 1,
    "validation": 1,
    "testing": 6,
    "before checkpoint.safetensors": 6,
    "before episodes.parquet": 6,
    "before record.json": 6,
    "after record.json": 6,
}
"""The update from which the next process goes on."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run, uninterrupted."""
    out = tmp_path_factory.mktemp("whole")
    finished(*TINY, "--out", out)
    return only_run(out)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_same_command_ends_as_if_it_had_not_been_killed(moment: str, whole: Path, tmp_path: Path) -> None:
    """kill -9 loses at most the work since the last save."""
    killed = interrupt(moment, signal.SIGKILL, *TINY, "--out", tmp_path)
    assert killed.code == -signal.SIGKILL, killed.err
    again = finished(*TINY, "--out", tmp_path)
    start = MOMENTS[moment]
    assert (f"Going on from update {start}." in again.err) if start else ("Going on" not in again.err)
    assert_same_run(only_run(tmp_path), whole)


def test_a_run_killed_while_data_are_prepared_prepares_them_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half-made data are ever opened."""
    cache, out = tmp_path / "cache", tmp_path / "runs"
    killed = interrupt("preparing", signal.SIGKILL, *TINY, "--out", out, FSBENCH_CACHE=str(cache))
    assert killed.code == -signal.SIGKILL, killed.err
    assert list(cache.iterdir())
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    finished(*TINY, "--out", out)
    assert_same_run(only_run(out), whole)


def test_a_run_killed_from_outside_at_any_moment_ends_the_same(tmp_path: Path) -> None:
    """The installed command itself, killed as soon as its folder is there."""
    longer = list(map(str, changed(TINY, "updates=600", "validation.every=200")))
    program = [str(Path(sysconfig.get_path("scripts")) / "fsbench"), *longer, "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    until = time.monotonic() + 100
    while not list(tmp_path.glob("killed/*")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("killed/*/record.json"))
    finished(*longer, "--out", tmp_path / "killed")
    finished(*longer, "--out", tmp_path / "whole")
    assert_same_run(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1"])
def test_whatever_asks_a_training_to_end_loses_nothing_of_it(name: str, tmp_path: Path) -> None:
    """A scheduler, a terminal that is closed, a limit on processor time: exit 130, and every update is kept."""
    stopped = interrupt("before the first save", signal.Signals[name], *TINY, "--out", tmp_path)
    assert stopped.code == 130, stopped.err
    assert "Stopped after update 4; saved." in stopped.err
    assert "Traceback" not in stopped.err
    assert "Going on from update 4." in finished(*TINY, "--out", tmp_path).err


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_an_update_that_takes_long_is_left_when_asked_to_end(tmp_path: Path) -> None:
    """Before a scheduler kills the process; what was saved before the update is kept."""
    stopped = interrupt("a long update", signal.SIGTERM, *TINY, "--out", tmp_path)
    assert stopped.code == 130, stopped.err
    assert "Stopping after this update, at the latest in" in stopped.err
    assert "Traceback" not in stopped.err
    assert "Going on from update 3." in finished(*TINY, "--out", tmp_path).err


def test_under_nohup_a_terminal_may_be_closed(tmp_path: Path) -> None:
    """What ignores SIGHUP when it starts goes on ignoring it."""
    driver = [sys.executable, str(DRIVER), "training", "SIGHUP", *TINY, "--out", str(tmp_path)]
    command = ["bash", "-c", 'trap "" HUP; exec "$@"', "bash", *driver]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(NOHUP="1"), check=False)
    assert done.returncode == 0, done.stderr
    assert only_run(tmp_path)


def test_ctrl_c_in_training_saves_and_prints_the_command_that_goes_on(whole: Path, tmp_path: Path) -> None:
    """Exit 130 after the present update; the printed command itself, run as it stands, ends as the whole run did."""
    stopped = interrupt("training", signal.SIGINT, *TINY, "--out", tmp_path / "my runs")
    assert stopped.code == 130, stopped.err
    assert "Stopped after update 4; saved." in stopped.err
    assert "Traceback" not in stopped.err
    program, *arguments = shlex.split(stopped.err.splitlines()[-1])
    assert program == "fsbench"
    assert "Going on from update 4." in finished(*arguments).err
    assert_same_run(only_run(tmp_path / "my runs"), whole)


def test_ctrl_c_in_testing_prints_the_command_that_goes_on(whole: Path, tmp_path: Path) -> None:
    """Exit 130 at once; training is not repeated."""
    stopped = interrupt("testing", signal.SIGINT, *TINY, "--out", tmp_path)
    assert stopped.code == 130, stopped.err
    assert "Traceback" not in stopped.err
    assert "Going on from update 6." in finished(*shlex.split(stopped.err.splitlines()[-1])[1:]).err
    assert_same_run(only_run(tmp_path), whole)


def test_overwriting_keeps_the_old_record_until_the_new_one_is_there(whole: Path, tmp_path: Path) -> None:
    """Killed while it is overwritten a record is still whole, and the same command ends the overwriting."""
    finished(*TINY, "--out", tmp_path)
    before = snapshot(only_run(tmp_path))
    killed = interrupt("training", signal.SIGKILL, *TINY, "--out", tmp_path, "--on-existing", "overwrite")
    assert killed.code == -signal.SIGKILL, killed.err
    after = snapshot(only_run(tmp_path))
    assert {name: after[name] for name in before} == before
    assert "Going on from update 3." in finished(*TINY, "--out", tmp_path, "--on-existing", "overwrite").err
    assert_same_run(only_run(tmp_path), whole)


def test_a_damaged_state_is_named_with_the_way_out(tmp_path: Path) -> None:
    """A state that cannot be read is never silently thrown away: exit 3, and what to do."""
    killed = interrupt("training", signal.SIGKILL, *TINY, "--out", tmp_path)
    assert killed.code == -signal.SIGKILL, killed.err
    (state,) = tmp_path.glob("*/state.safetensors")
    state.write_bytes(state.read_bytes()[:1000])
    said = call(*TINY, "--out", tmp_path)
    assert said.code == 3
    assert f"{state} is damaged" in said.complaint
    assert "Delete it to train from the start." in said.complaint
    state.unlink()
    finished(*TINY, "--out", tmp_path)
    assert load_record(only_run(tmp_path)).results
