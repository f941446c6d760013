"""States of unfinished trainings move to another machine; a training that is cut short says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from example_records import draw_scores, make_record
from interrupted_run import assert_same_run

from fewshot_bench.results.recipe_share import share_text
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.tables import results_tables
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.training import Interrupted, Progressed
from fewshot_leaderboard.comparison import comparison_tables
from training_queue import states
from training_queue.cut_short import cut_short
from training_queue.folders import STATE, is_finished, progress
from training_queue.jobs import Job
from training_queue.plan import Planned, planned, request_of

pytestmark = pytest.mark.usefixtures("records_of_any_length")

UPDATES = 8
RECIPE: dict[str, Any] = {
    "train": {"updates": UPDATES, "shots": 1, "ways": 5, "queries": 1, "meta_batch_size": 1},
    "validation": {"every": 2, "episodes": 2, "queries": 1},
    "test": {"protocol": "custom", "queries": 1, "episodes": 4},
}


class StopsAfter(Listener):
    """Asks a training to stop after an update."""

    def __init__(self, update: int) -> None:
        self.update, self.at = update, 0

    def trained(self, at: Progressed, loss: float) -> None:
        """Hear of an update."""
        self.at = at.update

    def stopped(self) -> bool:
        """Whether it was the one."""
        return self.at == self.update


def small_job(folder: Path, **train: Any) -> Planned:
    """A job of a recipe that trains for moments."""
    path = folder / "paper.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"train": RECIPE["train"] | train}))
    return planned(Job(("--method", "prototypical-networks", "--dataset", "glyphs", "--recipe", str(path))), "cpu")


def train(job: Planned, work: Path, stop_after: int | None = None) -> Path:
    """Train a job as its command does, to the end or up to an update; returns the run's folder."""
    request = request_of(job.arguments, "cpu")
    if stop_after is None:
        execute(request, resolve(request), work, "reuse", Listener())
    else:
        with pytest.raises(Interrupted):
            execute(request, resolve(request), work, "reuse", StopsAfter(stop_after))
    return work / job.folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training that was stopped after 5 of its updates, in `work`."""
    folder = tmp_path_factory.mktemp("queue")
    train(small_job(folder), folder / "work", stop_after=5)
    return folder


def test_a_training_that_moved_ends_as_one_that_did_not(places: Path) -> None:
    """Weights, scores and learning curve, bit for bit; the state that was kept goes with the job that ends."""
    job = small_job(places, updates=6)
    train(job, places / "here", stop_after=3)
    kept, there = places / "kept", places / "there"
    assert states.save([job], places / "here", kept, places / "none") == [
        f"saved: {job.training}, update 3 of 6, {next(kept.iterdir()).stat().st_size / 1e6:.2f} MB"
    ]
    assert states.take(job, there, kept)
    assert progress(there / job.folder / STATE) == progress(places / "here" / job.folder / STATE)
    assert not states.take(job, there, kept), "a state that is there is not replaced"
    assert_same_run(train(job, there), train(job, places / "whole"))
    assert is_finished(there / job.folder, job.results)
    assert states.save([job], there, kept, places / "none") == [f"deleted: {job.training}, which is finished"]
    assert not list(kept.iterdir())


def test_a_large_state_is_not_kept_and_named(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its size and the most that is kept."""
    job = small_job(places)
    monkeypatch.setattr(states, "MOST_BYTES", 1_000_000)
    [said] = states.save([job], places / "work", tmp_path, tmp_path / "none")
    assert said.startswith(f"not saved: {job.training}: its state has 1.")
    assert said.endswith(" MB, more than 1")
    assert not list(tmp_path.iterdir())


def test_a_state_that_is_further_is_not_replaced(places: Path, tmp_path: Path) -> None:
    """Such as one that another machine saved; one of no job is left and named."""
    job, kept = small_job(places), tmp_path / "kept"
    states.save([job], places / "work", kept, tmp_path)
    before = (kept / f"{job.folder}{states.SUFFIX}").read_bytes()
    train(job, tmp_path / "work", stop_after=2)
    said = states.save([job], tmp_path / "work", kept, tmp_path)
    assert said == [f"kept: {job.training}, saved after update 5 (here: 2)"]
    assert (kept / f"{job.folder}{states.SUFFIX}").read_bytes() == before
    [strange] = states.save([], tmp_path / "work", kept, tmp_path)
    assert strange.startswith(f"left: {job.folder}{states.SUFFIX}, of no job")


def test_a_training_that_is_cut_short_is_one_of_fewer_updates(places: Path, tmp_path: Path) -> None:
    """Bit for bit, up to its next validation; the unfinished one stays as it is."""
    job = small_job(places)
    state = (places / "work" / job.folder / STATE).read_bytes()
    [shorter], [said] = cut_short([job], places / "work", "cpu")
    assert said == f"cut short: {job.training}: 6 of {UPDATES} updates ({shorter.folder})"
    assert_same_run(train(shorter, places / "work"), train(shorter, tmp_path))
    assert (places / "work" / job.folder / STATE).read_bytes() == state


def test_a_training_whose_rates_fall_over_its_length_is_not_cut_short(tmp_path: Path) -> None:
    """A shorter one would have had other rates from its start."""
    job = small_job(tmp_path, lr_linear=True)
    train(job, tmp_path, stop_after=3)
    assert cut_short([job], tmp_path, "cpu")[0] == []


@pytest.fixture(scope="module")
def cut(places: Path) -> Record:
    """The record of three quarters of a training."""
    request = request_of(small_job(places).arguments, "cpu")
    shorter = replace(request, settings=("train.updates=6",))
    record, _ = execute(shorter, resolve(shorter), places / "cut", "reuse", Listener())
    return record


def test_a_record_says_how_many_updates_its_recipe_has(cut: Record, places: Path) -> None:
    """Where it had another number."""
    assert cut.content["training"] | {"best_update": 0, "validation_score": 0} == {
        "updates": 6,
        "recipe_updates": UPDATES,
        "best_update": 0,
        "validation_score": 0,
    }
    whole = train(small_job(places), places / "uncut")
    assert "recipe_updates" not in load_record(whole).content["training"]


def test_a_table_says_which_training_was_cut_short(cut: Record) -> None:
    """Below it, with the share of the recipe's updates."""
    [table] = results_tables([cut])
    [note] = [note for note in table.notes if "recipe" in note]
    assert note.startswith(f"prototypical-networks {cut.run_id}: recipe ")
    assert note.endswith("paper.yaml, 75 % of its updates.")


@pytest.mark.parametrize(
    ("updates", "recipe", "verdict"), [(2000, "paper, 25 % of its updates", "–"), (8000, "paper", "within")]
)
def test_a_training_that_was_cut_short_is_not_judged_by_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, updates: int, recipe: str, verdict: str
) -> None:
    """It stands beside the paper's number as what it is; the whole training is judged."""
    monkeypatch.setattr("fewshot_leaderboard.measured.made_by_another_version", lambda content: False)
    made = make_record(tmp_path, "prototypical-networks", draw_scores("p", 0.988), train_updates=updates)
    asked = {"request": {"by": "run", "recipe": "paper", "settings": ["train.updates"] if updates < 8000 else []}}
    results = [result | asked for result in made.results]
    training = {"updates": updates} | ({"recipe_updates": 8000} if updates < 8000 else {})
    record = replace(made, content=made.content | {"results": results, "training": training})
    table = comparison_tables([record])[0]
    [row] = table.rows
    assert (row["recipe"].text, row["verdict"].text) == (recipe, verdict)
    assert row["published"].text.startswith("98.8")
    assert not [note for note in table.notes if "outside" in note or "to be run" in note]


@pytest.mark.parametrize(("updates", "text"), [(1, "less than 1 %"), (100, "1 %"), (9999, "99 %"), (2900, "29 %")])
def test_a_share_is_never_rounded_up(updates: int, text: str) -> None:
    """A training that lacks one update does not stand as whole."""
    assert share_text({"training": {"updates": updates, "recipe_updates": 10000}}) == f"{text} of its updates"


def test_show_says_that_a_training_was_cut_short(cut: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """First."""
    from fewshot_bench.cli.app import call

    assert call(["show", str(cut.folder)]) == 0
    first = capsys.readouterr().out.splitlines()[:3]
    assert "75 % of its updates" in " ".join(" ".join(first).split())
