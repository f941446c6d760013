"""`make.py --queue` trains one job after another, gives way, stops cleanly, and never trains a job twice at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fewshot_bench.storage import lives
from training_queue.folders import LARGEST_WEIGHTS, is_finished, publish
from training_queue.give_way import pause_reason, take_lock
from training_queue.plan import Planned
from training_queue.status import queues

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "tests" / "support" / "queue_of.py"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a queue of runs of these names below `tmp_path`, in a process of its own; kills it in the end."""
    begun: list[subprocess.Popen[str]] = []

    def started(*names: str) -> subprocess.Popen[str]:
        where = os.pathsep.join(map(str, (ROOT / "leaderboard" / "results", DRIVER.parent)))
        environment = os.environ | {"PYTHONPATH": where}
        command = [sys.executable, str(DRIVER), str(tmp_path), *names]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return begun[-1]

    yield started
    (tmp_path / "go").touch()  # should a training be left
    for one in begun:
        one.kill()
        one.wait()
        if one.stdout:
            one.stdout.close()


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def events(work: Path, name: str) -> list[str]:
    """What happened to a run."""
    path = work / name / "events"
    return path.read_text().splitlines() if path.exists() else []


def begun(work: Path, name: str) -> int:
    """How many times a run was begun."""
    return sum(line.startswith("begun") for line in events(work, name))


def end(queue: subprocess.Popen[str]) -> str:
    """What a queue said, once it has ended."""
    return queue.communicate(timeout=60)[0]


def test_jobs_are_trained_tested_and_published_in_order(start: Start, tmp_path: Path) -> None:
    """One after another; the state that was kept of each is deleted."""
    kept = tmp_path / "kept" / "b.safetensors.xz"
    kept.parent.mkdir()
    kept.write_bytes(b"")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "state.safetensors").touch()  # so that nothing is taken from there
    (tmp_path / "go").touch()
    queue = start("a", "b")
    said = end(queue)
    assert queue.returncode == 0
    assert said.index("done: a") < said.index(": b (b)")
    assert all(is_finished(tmp_path / "results" / name, ("first", "second")) for name in "ab")
    assert not kept.exists()


def test_trainings_run_at_low_priority_on_one_core(start: Start, tmp_path: Path) -> None:
    """Whatever the queue's own; here hardly lower, so that a busy machine does not hold the tests up."""
    (tmp_path / "go").touch()
    end(start("a"))
    assert events(tmp_path, "a")[0].endswith("nice 1 cores 1")


def test_a_queue_that_is_asked_to_stop_stops_its_training_cleanly(start: Start, tmp_path: Path) -> None:
    """The training saves its state; the next start goes on."""
    queue = start("a")
    wait_for(lambda: begun(tmp_path, "a"))
    queue.send_signal(signal.SIGTERM)
    assert "stopped, and goes on later: a" in end(queue)
    assert queue.returncode == 130
    assert events(tmp_path, "a")[-1] == "saved"
    (tmp_path / "go").touch()
    assert "done: a" in end(start("a"))
    assert begun(tmp_path, "a") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a training goes on to its end, and keeps its lock")
def test_a_queue_that_is_killed_leaves_no_training_behind(start: Start, tmp_path: Path) -> None:
    """The training saves its state and ends."""
    queue = start("a")
    wait_for(lambda: begun(tmp_path, "a"))
    process = int(events(tmp_path, "a")[0].split()[1])
    queue.kill()
    queue.wait()
    wait_for(lambda: not lives(process))
    assert events(tmp_path, "a")[-1] == "saved"
    assert not queues(tmp_path)


def test_a_queue_gives_way_while_a_file_is_there(start: Start, tmp_path: Path) -> None:
    """Its training saves its state and ends, so that it holds no memory either; it goes on when the file is gone."""
    queue = start("a")
    wait_for(lambda: begun(tmp_path, "a"))
    (tmp_path / "LOCK").touch()
    wait_for(lambda: events(tmp_path, "a")[-1] == "saved")
    wait_for(lambda: any(one["paused"] and not one["running"] for one in queues(tmp_path)))
    assert begun(tmp_path, "a") == 1
    (tmp_path / "go").touch()
    (tmp_path / "LOCK").unlink()
    assert "goes on" in end(queue)
    assert begun(tmp_path, "a") == 2


def test_two_queues_never_train_the_same_job(start: Start, tmp_path: Path) -> None:
    """Nor on the same core: the second takes the next job, or waits for one."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    first = start("a", "b")
    wait_for(lambda: begun(tmp_path, "a"))
    second = start("a", "b")
    wait_for(lambda: begun(tmp_path, "b"))
    third = start("a", "b")
    cores = [core for one in queues(tmp_path) for core in one["running"].values()]
    assert len(set(cores)) == len(cores)
    (tmp_path / "go").touch()
    assert [end(one) and one.returncode for one in (first, second)] == [0, 0]
    third.communicate(timeout=60)
    assert (begun(tmp_path, "a"), begun(tmp_path, "b")) == (1, 1)


def test_a_job_that_fails_is_named_and_the_next_one_trained(start: Start, tmp_path: Path) -> None:
    """With the last error of its log."""
    (tmp_path / "go").touch()
    queue = start("wrong", "a")
    said = end(queue)
    assert "failed: wrong: Unknown method 'wrong'." in said
    assert "done: a" in said
    assert queue.returncode == 1


def test_what_is_published_is_not_trained_again(start: Start, tmp_path: Path) -> None:
    """Also where the work folder is empty, as on a new machine."""
    (tmp_path / "go").touch()
    end(start("a"))
    for path in sorted((tmp_path / "a").iterdir()):
        path.unlink()
    end(start("a"))
    assert not events(tmp_path, "a")


def test_a_shell_command_pauses_while_it_succeeds(tmp_path: Path) -> None:
    """And one that no shell can run is refused: it would never pause anything."""
    flag = tmp_path / "flag"
    reason = pause_reason(None, f"test -e {flag}")
    assert reason() == ""
    flag.touch()
    assert reason() == f"'test -e {flag}' says so"
    with pytest.raises(SystemExit, match="--pause-while: the shell cannot run 'pgreq -x tox'"):
        pause_reason(None, "pgreq -x tox")


def test_a_lock_is_held_by_whoever_inherited_it(tmp_path: Path) -> None:
    """A job whose queue is gone stays the training's."""
    lock = take_lock(tmp_path / "lock")
    assert lock
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()])
    lock.close()
    assert take_lock(tmp_path / "lock") is None
    child.kill()
    child.wait()
    again = take_lock(tmp_path / "lock")
    assert again
    again.close()


@pytest.mark.parametrize(
    ("tier", "size", "copied"), [(1, 9, True), (3, LARGEST_WEIGHTS + 1, False), (4, 9, False), (0, 9, False)]
)
def test_small_weights_of_a_headline_are_published(tmp_path: Path, tier: int, size: int, copied: bool) -> None:
    """So that its scores can be verified; neither large ones, nor those of a row that is no headline."""
    run = tmp_path / "work" / "run"
    run.mkdir(parents=True)
    for name, content in {"record.json": b"{}", "checkpoint.safetensors": bytes(size)}.items():
        (run / name).write_bytes(content)
    publish(Planned("maml", (), (), "run", 1, (), tier=tier), tmp_path / "work", tmp_path / "results")
    found = {path.name for path in (tmp_path / "results" / "run").iterdir()}
    assert found == {"record.json", *(["checkpoint.safetensors"] if copied else [])}
