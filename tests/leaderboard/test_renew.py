"""Records are brought to the present ids from the code of their own commits, or refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_records import draw_scores, make_record
from safetensors.numpy import load_file

import renew
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.results.score_files import read_scores, write_scores

pytestmark = pytest.mark.usefixtures("records_of_any_length")

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"


def renewed_record() -> Record:
    """The smallest committed record that was renewed, of a commit that is in this checkout."""
    for record in find_records([RESULTS / path.name for path in sorted(RESULTS.glob("nearest-centroid-*"))]):
        try:
            renew.commit_of(record.content)
        except renew.Refused:
            continue
        if "former" in record.content and "rewritten" not in record.content["former"]:
            return record
    pytest.skip("no git history here")


def test_a_record_is_renewed_from_its_own_commit() -> None:
    """Twice is once: a record that was renewed is found to be what its commit gives; nothing but ids and hashes changes."""
    record = renewed_record()
    former = record.content["former"]
    results = [
        {key: value for key, value in one.items() if key != "former"} | one["former"] for one in record.content["results"]
    ]
    old = {key: value for key, value in record.content.items() if key != "former"} | {"run_id": former["run_id"]}
    method = record.content["method"] | {"source_sha256": former["source_sha256"], "source_version": 1}
    again = renew.renewed(replace(record, content=old | {"method": method, "results": results}), renew.Commits({}))
    assert again == record.content
    assert [one["mean"] for one in again["results"]] == [one["mean"] for one in record.results]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "uncommitted changes": ({"provenance": {"git": {"commit": "0" * 40, "dirty": True}}}, "uncommitted"),
    "a commit that is gone": ({"provenance": {"git": {"commit": "0" * 40, "dirty": False}}}, "is gone"),
    "no commit": ({"provenance": {}}, "names no commit"),
    "another source": ({"former": {"run_id": "0" * 12, "source_sha256": "0" * 64}}, "is not that of commit"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_record_is_refused_for(what: str) -> None:
    """It must be made again."""
    change, reason = WRONG[what]
    record = renewed_record()
    with pytest.raises(renew.Refused, match=reason):
        renew.renewed(replace(record, content=record.content | change), renew.Commits({}))


def test_scores_of_extra_metrics_and_answers_are_renamed_with_their_result(tmp_path: Path) -> None:
    """None is lost, and what belongs to no result is left out."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    [result] = record.results
    old, new = result["id"], "1" * 12
    scores = record.scores(old)
    write_scores(record.folder, {old: scores, f"{old}/ece": 1 - scores, "2" * 12: scores})
    right = Answers(np.full(len(scores), 75), np.arange(75 * len(scores)) % 3 > 0)
    (record.folder / answer_files.NAME).write_bytes(answer_files.packed({old: right, "2" * 12: right}))
    former = {"former": {"id": old}, "test": result["test"] | {"extra_metrics": ["ece"]}}
    content = record.content | {"run_id": "0" * 12, "results": [result | {"id": new} | former]}
    kept = read_scores(folder := renew.write(record, content))
    assert list(kept) == [new, f"{new}/ece"]
    assert load_file(folder / answer_files.NAME).keys() == {new, f"{new}/sizes"}
    assert (kept[new] == scores).all() and (kept[f"{new}/ece"] == 1 - scores).all()


def test_every_committed_record_keeps_what_it_was_called() -> None:
    """The old id and the old hash stand in it, and the folder has the new id."""
    brought_over = [record for record in find_records([RESULTS]) if "former" in record.content]
    assert brought_over
    for record in brought_over:
        former = record.content["former"]
        assert record.folder.name.endswith(record.run_id)
        assert former["run_id"] != record.run_id
        assert former["source_sha256"] != record.content["method"]["source_sha256"]
        assert all(one["former"]["id"] != one["id"] for one in record.results)
