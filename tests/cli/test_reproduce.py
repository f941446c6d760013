"""`fsbench reproduce` makes a run again from its record alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import NAMED, PIXELS, TINY, call, finished, only_run
from forgery import forge

from fewshot_bench.results.records import load_record
from fewshot_bench.runs.training import Interrupted
from fewshot_bench.storage import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run."""
    out: Path = tmp_path_factory.mktemp("runs")
    finished(*TINY, "--out", out)
    return only_run(out)


def test_a_run_ends_bit_for_bit_as_before(run: Path, tmp_path: Path) -> None:
    """Scores and weights, from the record without anything else of the folder."""
    alone = tmp_path / "alone" / run.name
    alone.mkdir(parents=True)
    for name in ("record.json", "episodes.parquet"):
        shutil.copy(run / name, alone / name)
    said = json.loads(finished("reproduce", alone, "--into", tmp_path / "again", *NAMED, "--json").out)
    assert (said["outcome"], said["unlike"], said["difference"]) == ("bit for bit", [], 0)
    before, after = load_record(run), load_record(only_run(tmp_path / "again"))
    assert before.run_id == after.run_id
    assert before.content["weights_sha256"] == after.content["weights_sha256"]


def test_another_result_ends_with_4_and_its_difference(run: Path, tmp_path: Path) -> None:
    """A record whose scores were raised is not what its training comes to."""
    forged = tmp_path / run.name
    shutil.copytree(run, forged)
    forge(forged, np.full(8, 0.92) + np.tile([0.04, -0.04], 4))
    said = call("reproduce", forged, "--into", tmp_path / "again", *NAMED)
    assert said.code == 4
    assert "new minus old -" in said.complaint
    assert len(said.complaint.splitlines()) <= 3


def test_what_differs_here_is_named(run: Path, tmp_path: Path) -> None:
    """A version and a processor; the outcome stands beside them."""
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    content = json.loads((copy / "record.json").read_text())
    content["provenance"]["versions"]["torch"] = "1.0"
    content["provenance"]["processor"] = "abacus"
    write_json(copy / "record.json", content)
    said = finished("reproduce", copy, "--into", tmp_path / "again", *NAMED).out
    assert "torch 1.0, here" in said
    assert "processor abacus, here" in said
    assert "bit for bit" in said


def test_equal_scores_of_other_weights_are_not_bit_for_bit(run: Path, tmp_path: Path) -> None:
    """The weights of a run belong to what is the same."""
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    content = json.loads((copy / "record.json").read_text())
    content["weights_sha256"] = "0" * 64
    write_json(copy / "record.json", content)
    said = json.loads(finished("reproduce", copy, "--into", tmp_path / "again", *NAMED, "--json").out)
    assert (said["outcome"], said["difference"]) == ("within the interval", 0)


def test_an_interrupted_training_says_what_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130 and no traceback."""

    def stopped(*arguments: object) -> None:
        raise Interrupted(3)

    monkeypatch.setattr("fewshot_bench.runs.reproduce.reproduce_run", stopped)
    said = call("reproduce", run, "--into", tmp_path / "again", *NAMED)
    assert (said.code, "Traceback" in said.err) == (130, False)
    assert "Stopped after update 3" in said.err


@pytest.mark.parametrize("copied", [False, True])
def test_a_finished_run_is_never_taken_for_the_new_one(run: Path, tmp_path: Path, copied: bool) -> None:
    """The record itself, or a copy of it, would agree with it."""
    into = run.parent
    if copied:
        into = tmp_path / "copies"
        shutil.copytree(run, into / run.name)
    said = call("reproduce", run, "--into", into, *NAMED)
    assert (said.code, "--into" in said.complaint) == (2, True)


def test_a_method_that_trains_nothing_can_be_made_again(tmp_path: Path) -> None:
    """There are no weights to compare."""
    finished(*PIXELS, "--out", tmp_path)
    assert "bit for bit" in finished("reproduce", only_run(tmp_path), "--into", tmp_path / "again").out
