"""A record of a method that was rewritten is brought over where both codes compute the same, and nowhere else."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import fewshot_bench
import renew
from commits import Refused
from fewshot_bench.results.records import Record, load_record
from rewritten import Extent, Side, asked_of, brought_over, check_recorded, tree_of

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
FEW = Extent(updates=2, episodes=12)
METHOD = "methods/fewshot_methods/prototypical_networks.py"
ANSWER = "return -squared_distances(query, means)"
REWRITTEN = {
    "alike": "distances = squared_distances(query, means)\n        return -distances",
    "with a factor": "return -1.0001 * squared_distances(query, means)",
    "in a test": "return (1 if self.training else -1) * -squared_distances(query, means)",
}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Side]]:
    """The code of the last commit, and the same with its method rewritten."""
    with ExitStack() as held:
        try:
            tree = held.enter_context(tree_of("HEAD"))
        except Refused:
            pytest.skip("no git history here")
        found = {"then": held.enter_context(Side(tree))}
        for what, answer in REWRITTEN.items():
            edited = tmp_path_factory.mktemp("rewritten") / "tree"
            shutil.copytree(tree, edited)
            text = (edited / METHOD).read_text("utf-8")
            assert text.count(ANSWER) == 1
            (edited / METHOD).write_text(text.replace(ANSWER, answer), "utf-8")
            found[what] = held.enter_context(Side(edited))
        yield found


@pytest.fixture(scope="module")
def record(sides: dict[str, Side]) -> Record:
    """A record of the last commit's code."""
    (folder,) = RESULTS.glob("prototypical-networks-glyphs-*")
    return of_the_last_commit(load_record(folder), sides["then"])


def of_the_last_commit(record: Record, then: Side) -> Record:
    """The same record, whichever code there is beside the last commit."""
    source = {"source_sha256": then.ask(asked_of(record, FEW))["source_sha256"]}
    results = [result | source for result in record.results]
    return replace(record, content=record.content | {"method": record.content["method"] | source, "results": results})


@pytest.mark.slow
def test_a_record_is_brought_over_where_both_codes_compute_the_same(
    record: Record, sides: dict[str, Side], tmp_path: Path
) -> None:
    """It says how that was shown, keeps the ids of before, and is a record: its ids are those of its specs."""
    content = brought_over(record, "c" * 40, FEW, sides["then"], sides["alike"])
    assert content is not None
    former = content["former"]
    shown = {"since": "c" * 40, "weights": "those after these updates", "updates": 2, "validation_episodes": 100}
    assert (former["run_id"], former["rewritten"]) == (record.run_id, shown)
    assert former["former"] == record.content["former"]
    assert content["results"][0]["former"]["rewritten"]["episodes"] >= 12
    copy = shutil.copytree(record.folder, tmp_path / record.folder.name)
    written = load_record(renew.write(replace(record, folder=copy), content))
    assert written.run_id == content["run_id"] != record.run_id
    assert (written.scores(written.results[0]) == record.scores(record.results[0])).all()
    assert renew.is_present(written.content)
    assert brought_over(written, "c" * 40, FEW, sides["then"], sides["alike"]) is None


@pytest.mark.slow
def test_the_scores_of_a_records_own_weights_are_compared(sides: dict[str, Side], tmp_path: Path) -> None:
    """With each other, and with those recorded."""
    settings = {"updates": 2, "validation": "none"}
    made = fewshot_bench.run(
        method="prototypical-networks", protocol="custom", queries=5, episodes=20, settings=settings, out=tmp_path
    )
    record = of_the_last_commit(made, sides["then"])
    content = brought_over(record, "c" * 40, FEW, sides["then"], sides["alike"])
    assert content is not None
    shown = {"since": "c" * 40, "weights": "its own", "updates": 2, "validation_episodes": 0}
    assert content["former"]["rewritten"] == shown
    (checkpoint := record.folder / "checkpoint.safetensors").write_bytes(
        checkpoint.read_bytes().replace(record.run_id.encode(), b"0" * 12)
    )
    with pytest.raises(Refused, match="weights of another run"):
        brought_over(record, "c" * 40, FEW, sides["then"], sides["alike"])


@pytest.mark.slow
@pytest.mark.parametrize(("what", "differ"), [("with a factor", "losses differ at update 1"), ("in a test", "validation")])
def test_a_record_is_left_where_the_codes_compute_something_else(
    record: Record, sides: dict[str, Side], what: str, differ: str
) -> None:
    """In training, or in tests alone."""
    with pytest.raises(Refused, match=differ):
        brought_over(record, "c" * 40, FEW, sides["then"], sides[what])


@pytest.mark.slow
def test_a_record_of_other_code_is_left(record: Record, sides: dict[str, Side]) -> None:
    """Its hash is not what the commit gives."""
    other = record.content | {"method": record.content["method"] | {"source_sha256": "0" * 64}}
    with pytest.raises(Refused, match="is not what commit cccccccccc gives"):
        brought_over(replace(record, content=other), "c" * 40, FEW, sides["then"], sides["alike"])


def test_scores_of_own_weights_are_those_recorded() -> None:
    """One query of an episode may be another, two may not."""
    (folder,) = RESULTS.glob("prototypical-networks-glyphs-*")
    record = load_record(folder)
    (result,) = record.results
    recorded = record.scores(result)[:12]
    query = 1 / (result["test"]["ways"] * result["test"]["queries"])
    check_recorded(record, {"tests": {result["id"]: {"scores": list(recorded - query)}}})
    with pytest.raises(Refused, match="12 of the first 12 scores"):
        check_recorded(record, {"tests": {result["id"]: {"scores": list(recorded - 2 * query)}}})
