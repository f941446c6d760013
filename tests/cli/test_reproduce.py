"""`fsbench reproduce` makes a run again from its record alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import NAMED, PIXELS, TINY, call, finished, only_run
from forgery import forge

from fewshot_bench.results.records import load_record
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


def test_the_record_itself_is_never_taken_for_the_new_run(run: Path, tmp_path: Path) -> None:
    """Into its own folder it is refused; a method that trains nothing can be made again, too."""
    said = call("reproduce", run, "--into", run.parent, *NAMED)
    assert (said.code, "--out" in said.complaint or "--into" in said.complaint) == (2, True)
    finished(*PIXELS, "--out", tmp_path)
    assert "bit for bit" in finished("reproduce", only_run(tmp_path), "--into", tmp_path / "again").out
