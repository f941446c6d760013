"""`fsbench bench`: what it prints and writes, without learn2learn, on next to no work."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from command_line import Said, call, finished

from fewshot_bench.bench import machine, works
from fewshot_bench.bench.works import META_BATCH, WORKS, Counts

TINY = {
    work.name: replace(work, full=Counts(META_BATCH if work.name == "maml-training" else 3, 1, 1)) for work in WORKS.values()
}


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    """A round of a few units of each work, no learn2learn, and peaks of next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(works, "WORKS", TINY)
        patch.setattr(machine, "MIN_S", 1e-3)
        patch.setattr(machine, "MATRIX", {"cpu": 64})
        patch.setattr(machine, "BATCHES", {"cpu": (2, 4)})
        patch.setattr(machine, "ARRAY_MIB", 1)
        patch.setitem(sys.modules, "learn2learn", None)
        yield


@dataclass(frozen=True)
class Ran:
    """What a run of every work printed, and what it wrote."""

    said: Said
    content: dict[str, Any]


@pytest.fixture(scope="module")
def ran(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every work once."""
    out = tmp_path_factory.mktemp("bench") / "speed.json"
    said = finished("bench", "--dataset", "glyphs", "--device", "cpu", "--out", out)
    return Ran(said, json.loads(out.read_text()))


def test_every_work_has_a_row_that_fits_a_terminal(ran: Ran) -> None:
    """Speed, limit, share; a dash for learn2learn."""
    assert max(map(len, ran.said.out.splitlines())) <= 80
    for work in WORKS.values():
        (line,) = (line for line in ran.said.out.splitlines() if line.startswith(f"{work.title} "))
        assert line.split()[-4:] == ["–"] * 4


def test_it_says_what_the_machine_is_and_how_it_looks(ran: Ran) -> None:
    """Peaks first, the verdict last."""
    assert "GFLOP/s" in ran.said.out.splitlines()[2]
    assert "This installation looks" in ran.said.out


def test_without_learn2learn_it_says_how_to_install_it(ran: Ran) -> None:
    """Once, below the table."""
    assert ran.said.out.count("it is not installed") == 1
    assert "learn2learn==0.2.0" in ran.said.out
    assert ran.content["learn2learn"] is None


def test_progress_is_on_stderr(ran: Ran) -> None:
    """A line for each work."""
    assert [work.title for work in WORKS.values() if f"{work.title}: {work.about}." not in ran.said.err] == []


def test_the_json_has_everything(ran: Ran) -> None:
    """Machine, provenance, and each work's settings, counts, rounds and limit."""
    assert set(ran.content) == {
        *("schema", "form", "dataset", "machine", "plans", "learn2learn", "works", "healthy", "troubles", "provenance")
    }
    assert {"versions", "processor", "git", "started", "finished"} <= set(ran.content["provenance"])
    assert {"matmul_gflops", "conv_gflops", "bandwidth_gbs", "layers", "threads"} <= set(ran.content["machine"])
    assert [work["name"] for work in ran.content["works"]] == list(WORKS)
    for work in ran.content["works"]:
        assert len(work["rounds"]) == work["counts"]["rounds"] == 1
        assert work["per_second"] == work["rounds"][0] > 0
        assert (work["limit"] is None) == (work["name"] == "indices")
        assert work["learn2learn"] == work["ratio"] == {}


def test_json_on_stdout_is_nothing_else(tiny: None) -> None:
    """Of the works that are named."""
    said = finished("bench", "--work", "indices", "--work", "scoring", "--dataset", "glyphs", "--json")
    assert [work["name"] for work in json.loads(said.out)["works"]] == ["scoring", "indices"]


def test_markdown_is_a_table(tiny: None) -> None:
    """With learn2learn left out on request."""
    said = finished("bench", "--work", "indices", "--dataset", "glyphs", "--markdown", "--no-peer")
    assert said.out.splitlines()[2].startswith("| work | per s |")
    assert "left out" in said.out


REFUSED = {
    "an unknown work": (["--work", "maml-trianing"], "'maml-training'"),
    "an unknown data set": (["--dataset", "omniglob"], "'omniglot'"),
    "an unknown device": (["--device", "gpu"], "'gpu'"),
    "two forms at once": (["--json", "--markdown"], "exclude each other"),
    "a folder that is not there": (["--out", "nowhere/speed.json"], "nowhere"),
    "a folder in place of a file": (["--out", "."], "takes a file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what: str) -> None:
    """In one to three lines, before any work."""
    arguments, words = REFUSED[what]
    said = call("bench", *arguments)
    assert said.code == 2
    assert said.out == ""
    assert 1 <= len(said.complaint.splitlines()) <= 3
    assert words in said.complaint
