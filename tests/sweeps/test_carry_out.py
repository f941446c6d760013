"""A sweep carried out by stand-ins for runs: deaths, failures, what others do, and what must not stay."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
from command_line import LINEAR, assert_refused, call, finished
from sweeping import PIXELS, Heard, children, is_alive, linear, planned, start, until

from fewshot_bench.sweeps import worker
from fewshot_bench.sweeps.attempts import Attempts
from fewshot_bench.sweeps.carry_out import Ended, Standing, Sweep
from fewshot_bench.sweeps.claims import Claims
from fewshot_bench.sweeps.plan import Plan, fixed, store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run."""
    out: Path = tmp_path_factory.mktemp("finished")
    finished("run", "--method", "nearest-centroid", "--protocol", "custom", "--set", "test.episodes=8", "--out", out)
    return out


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have this code run in place of a run."""
    monkeypatch.setattr(worker, "FSBENCH", (sys.executable, "-S", "-c", code))


def swept(plan: Plan, out: Path, *, retry: bool = False) -> tuple[Standing, Heard]:
    """A sweep of all of it, one at once."""
    heard = Heard()
    return Sweep(plan.runs, out, 1, 1, heard, retry=retry).carry_out(), heard


def test_after_the_third_death_a_run_has_failed_with_its_signal_also_across_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that is started again begins no fourth attempt, unless it is told to."""
    plan = planned(tmp_path, PIXELS)
    (run,) = plan.runs
    Attempts(["SIGSEGV"], count=1).write(tmp_path / run.folder, run.result_id)
    stand_in(monkeypatch, "import os; print('about to die', flush=True); os.kill(os.getpid(), 9)")
    at, heard = swept(plan, tmp_path)
    (ended,) = at.failed
    assert ended.failed == "its process ended 3 times: SIGSEGV, SIGKILL, SIGKILL"
    assert ended.log is not None
    assert ended.log.read_text().count("about to die") == 2
    assert len(heard.notes) == 1
    at, heard = swept(plan, tmp_path)
    assert at.failed[0].failed == ended.failed
    assert ended.log.read_text().count("about to die") == 2
    at, heard = swept(plan, tmp_path, retry=True)
    assert at.failed[0].failed == "its process ended 3 times: SIGKILL, SIGKILL, SIGKILL"
    stand_in(monkeypatch, "import sys; sys.exit('fsbench: mended, but not this')")
    at, heard = swept(plan, tmp_path, retry=True)
    assert at.failed[0].failed == "mended, but not this"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit('fsbench: Cannot write runs/x: No space left on device.')", "No space left on device"),
        ("raise MemoryError", "out of memory: MemoryError"),
        ("import sys; sys.exit('RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory')", "out of memory: "),
        ("pass", "it said nothing"),
    ],
)
def test_a_run_that_fails_stops_no_other_and_its_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    """All are tried, once each; a sweep that is started again tries them again."""
    plan = planned(tmp_path, PIXELS + "shots: [1, 2]\n")
    stand_in(monkeypatch, code)
    at, heard = swept(plan, tmp_path)
    assert len(at.failed) == len(heard.runs) == 2
    assert all(why in one.failed for one in at.failed)
    assert why in Attempts.read(tmp_path / plan.runs[0].folder, plan.runs[0].result_id).failed
    swept(plan, tmp_path)
    assert [Attempts.read(tmp_path / run.folder, run.result_id).count for run in plan.runs] == [2, 2]


def test_memory_that_the_system_took_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Linux counts one more process that it ended for want of memory."""
    plan, counts = planned(tmp_path, PIXELS), iter(range(100))
    monkeypatch.setattr(worker, "kills_for_memory", lambda: next(counts))
    stand_in(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "SIGKILL (out of memory: the system ended it)" in swept(plan, tmp_path)[0].failed[0].failed


def test_what_is_finished_is_not_run_again(record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Time left is counted of runs that ran alone."""
    stand_in(monkeypatch, "raise SystemExit('it ran')")
    at, _ = swept(planned(tmp_path, PIXELS), record)
    assert (at.before, at.failed, at.left_s) == (1, [], None)
    ran = Ended(at.ended[0].planned, at.ended[0].result, seconds=4.0)
    assert Standing(5, ended=[at.ended[0], ran], jobs=2).left_s == 6.0


def test_a_run_of_another_process_is_waited_for_and_counted(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps share the work: nothing is begun here, and its result is known here."""
    plan = planned(tmp_path, PIXELS)
    (run,) = plan.runs
    claim = Claims().take(tmp_path / "runs" / run.folder)
    assert claim is not None
    sleeps: list[float] = []

    def finish(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            shutil.copytree(record / run.folder, tmp_path / "runs" / run.folder, dirs_exist_ok=True)
            claim.release()

    monkeypatch.setattr("fewshot_bench.sweeps.carry_out.time.sleep", finish)
    monkeypatch.setattr("fewshot_bench.sweeps.carry_out.ASK_AGAIN_S", 0.0)
    stand_in(monkeypatch, "raise SystemExit('it ran')")
    at, _ = swept(plan, tmp_path / "runs")
    assert [one.failed for one in at.ended] == [""]
    assert len(sleeps) >= 3


def test_a_former_owner_that_comes_back_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run was taken over while it stood still: neither a death nor a failure is counted."""
    plan = planned(tmp_path, PIXELS)
    (run,) = plan.runs
    stand_in(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr("fewshot_bench.sweeps.claims.BEAT_S", 0.0)
    sweep, folder = Sweep(plan.runs, tmp_path, 1, 1, heard := Heard()), tmp_path / run.folder
    told: list[Attempts] = []

    def take_over(at: Standing) -> None:
        told.append(Attempts.read(folder, run.result_id))
        if len(told) == 1:
            (folder / ".sweep" / "claim-2").mkdir()
        if heard.notes:
            raise KeyboardInterrupt

    monkeypatch.setattr(heard, "tick", take_over)
    with pytest.raises(KeyboardInterrupt):
        sweep.carry_out()
    assert "taken it over" in heard.notes[0]
    assert told[-1] == told[0]
    assert list(sweep.pending) == [run]


def test_kill_9_of_the_sweep_leaves_no_process_and_ctrl_c_none_either(tmp_path: Path) -> None:
    """Within ten seconds; the same command goes on and finishes."""
    (tmp_path / "grid.yaml").write_text(linear(1_000_000, "0-1"))
    for number in (signal.SIGKILL, signal.SIGINT):
        sweep = start(tmp_path / "grid.yaml", "--out", tmp_path / "runs", "--jobs", "2")
        found = until(lambda one=sweep: children(one.pid) if len(children(one.pid)) == 2 else [])
        sweep.send_signal(number)
        until(lambda runs=found: not any(map(is_alive, runs)), 10 if number == signal.SIGKILL else 40)
        _, err = sweep.communicate(timeout=40)
        assert sweep.returncode == (-9 if number == signal.SIGKILL else 130), err
    assert "2 of 2 runs are left" in err
    assert [Attempts.read(path.parent.parent, path.stem).deaths for path in tmp_path.glob("runs/*/.sweep/*.json")] == [
        [],
        [],
    ]


def test_a_method_that_was_edited_since_the_plan_is_not_run_under_it(tmp_path: Path) -> None:
    """Finished runs of the old source need a word; new ones are of the new source."""
    method, out = tmp_path / "own.py", tmp_path / "runs"
    source = Path(LINEAR.rpartition(":")[0]).read_text()
    method.write_text(source)
    text = linear(2, "0-1", f"{method}:Linear")
    old = planned(tmp_path, text)
    store(old, out)
    grid = tmp_path / "grid.yaml"
    _, err = start(grid, "--out", out, "--shard", "0/2").communicate()
    assert "seed 0: accuracy" in err
    method.write_text(source.replace("features: int = 16", "features: int = 8"))
    done = start(grid, "--out", out)
    _, err = done.communicate()
    assert done.returncode == 2
    assert "1 finished runs of this grid are of another source" in err
    assert "--stale keep" in err
    kept = json.loads(start(grid, "--out", out, "--stale", "keep", "--json").communicate()[0])
    ids = [run["run_id"] for run in kept]
    assert sorted(ids)[0] != sorted(ids)[1]
    assert old.runs[0].run_id in ids
    assert old.runs[1].run_id not in ids
    done = start(grid, "--out", out)  # as it was said before
    assert (done.communicate(), done.returncode)[1] == 0
    plan = json.loads(start(grid, "--out", out, "--stale", "rerun", "--dry-run", "--json").communicate()[0])["runs"]
    assert [run["finished"] for run in plan] == [False, True]


def test_a_run_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    """As where its method was edited between the plan and the run."""
    said = call("run", "--method", "nearest-centroid", "--expect", "0" * 12, "--out", tmp_path / "runs")
    assert_refused(said, 2, "not 000000000000", "source")


def test_an_out_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A file, and a folder in which none can be made."""
    (tmp_path / "grid.yaml").write_text(PIXELS)
    (tmp_path / "runs").write_text("")
    assert_refused(call("sweep", tmp_path / "grid.yaml", "--out", tmp_path / "runs"), 2, "a file, not a folder")
    assert_refused(call("sweep", tmp_path / "grid.yaml", "--out", "/proc/none"), 1, "Cannot write", "--out")


def test_a_stored_plan_is_fixed_by_its_requests(tmp_path: Path) -> None:
    """The same plan is taken up without a word."""
    plan = planned(tmp_path, PIXELS + "shots: [1, 2]\n")
    store(plan, tmp_path)
    assert fixed(plan, tmp_path, None) == plan
