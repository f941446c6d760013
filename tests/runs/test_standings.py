"""How runs stand: finished, under way, interrupted, damaged; and the learning curve while training goes on."""

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, call, finished, only_run
from interrupted_run import interrupt, learning_curve

from fewshot_bench.runs import training
from fewshot_bench.runs.standings import Standing, standing, standings
from fewshot_bench.storage import only_one


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six updates."""
    out = tmp_path_factory.mktemp("whole")
    finished(*TINY, "--out", out)
    return only_run(out)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A run that was killed in its test, after the last update."""
    assert interrupt("testing", signal.SIGKILL, *TINY, "--out", tmp_path).code == -signal.SIGKILL
    (folder,) = (path.parent for path in tmp_path.rglob(training.STATE))
    return folder


def test_a_finished_run_has_all_of_its_updates(whole: Path) -> None:
    """And its record."""
    found = standing(whole)
    assert (found.state, found.update, found.updates, found.left_s) == ("finished", 6, 6, None)
    assert found.record is not None
    assert found.size == sum(path.stat().st_size for path in whole.iterdir())
    assert found.validation == learning_curve(whole)[-1]["validation"]


def test_the_learning_curve_is_there_before_the_run_is_finished(killed: Path, whole: Path) -> None:
    """Every point, though the process was killed before it wrote a record."""
    assert not (killed / "record.json").exists()
    assert learning_curve(killed) == learning_curve(whole)


def test_after_a_resume_each_update_stands_once(tmp_path: Path, whole: Path) -> None:
    """What was written after the saved state is made again, and not kept twice."""
    interrupt("validation", signal.SIGKILL, *TINY, "--out", tmp_path)
    (state,) = tmp_path.rglob(training.STATE)
    with (state.parent / "log.jsonl").open("a") as log:
        log.write(json.dumps({"update": 2, "loss": 9.0, "validation": None, "train_s": 1.0}) + "\n")
    finished(*TINY, "--out", tmp_path)
    assert learning_curve(state.parent) == learning_curve(whole)


def test_a_run_is_running_while_a_process_makes_it(killed: Path) -> None:
    """And interrupted once that has ended."""
    assert standing(killed).state == "interrupted"
    with only_one(killed):
        assert standing(killed).state == "running"
    assert standing(killed).state == "interrupted"


def test_the_time_left_counts_what_was_trained_and_no_pause(killed: Path) -> None:
    """Half of the updates in 10 s, a day ago: 10 s are left."""
    point = {"update": 3, "loss": 1.5, "validation": 0.5, "train_s": 10.0}
    (killed / "log.jsonl").write_text(json.dumps(point) + "\n")
    change_state(killed, update=3, train_s=9.9)
    found = standing(killed)
    assert (found.update, found.updates, found.loss, found.validation) == (3, 6, 1.5, 0.5)
    assert found.left_s == pytest.approx(10.0)


def change_state(folder: Path, **at: Any) -> None:
    """Change where a saved training stands."""
    from fewshot_bench.runs.checkpoint import load_tensors, save_tensors

    tensors, about = load_tensors(folder / training.STATE)
    save_tensors(folder / training.STATE, tensors, about | {"at": about["at"] | at})


@pytest.mark.parametrize("name", ["record.json", "episodes.parquet", training.STATE])
def test_what_is_damaged_hides_nothing_else(name: str, whole: Path, tmp_path: Path) -> None:
    """It is listed with the reason, and the others as they are."""
    shutil.copytree(whole, tmp_path / "good")
    shutil.copytree(whole, tmp_path / "bad")
    (tmp_path / "bad" / name).write_text("{")
    assert [(one.folder.name, one.state) for one in standings(tmp_path)] == [("bad", "damaged"), ("good", "finished")]
    listed = call("list", "runs", "--out", tmp_path)
    assert listed.code == 3
    assert "bad  damaged" in listed.out
    assert "good  seed 0" in listed.out
    assert name in listed.err
    assert [row["state"] for row in json.loads(call("watch", tmp_path, "--json").out)] == ["damaged", "finished"]


def test_a_run_that_is_not_finished_is_listed_and_watched(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how far it is, in 80 columns."""
    monkeypatch.chdir(killed.parent)  # a path is never cut, however long
    listed = finished("list", "runs", "--out", killed.parent)
    assert "interrupted at update 6 of 6" in listed.out
    watched = finished("watch", ".")
    assert "1 interrupted" in watched.out
    assert "6/6" in watched.out
    assert max(map(len, watched.out.splitlines())) <= 80
    assert "6/6" in finished("watch", killed.parent, "--unfinished").out


def test_finished_runs_can_be_left_out(whole: Path) -> None:
    """Where nothing else is there, nothing is shown."""
    assert "1 finished" in finished("watch", whole.parent).out
    assert finished("watch", whole.parent, "--unfinished").out == f"No runs in {whole.parent}.\n"


def test_nothing_is_no_error(tmp_path: Path) -> None:
    """A folder without runs, or none."""
    assert finished("watch", tmp_path).out == f"No runs in {tmp_path}.\n"
    assert finished("watch", tmp_path / "none", "--json").out == "[]\n"
    assert standings(tmp_path / "none") == []


def test_an_age_is_never_below_zero() -> None:
    """Clocks of machines that share a folder differ."""
    ahead = Standing(Path(), "running", 0, None, None, None, None, time.time() + 60, 0)
    assert ahead.age_s == 0
