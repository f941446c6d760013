"""A record's content: what cannot be is named with its field, and what is written is built of the same models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_records import draw_scores, make_record

from fewshot_bench.errors import DataError
from fewshot_bench.results.record_models import Cost, PlanPart
from fewshot_bench.results.records import find_records
from fewshot_bench.results.score_files import write_scores
from fewshot_bench.storage import write_json

pytestmark = pytest.mark.usefixtures("records_of_any_length")

Change = Callable[[dict[str, Any]], object]


def spec_of(record: dict[str, Any]) -> Any:
    """The specification of the test."""
    return record["results"][0]["test"]


CASES: dict[str, tuple[Change, str]] = {
    "shots below 1": (lambda record: spec_of(record).update(shots=-5), r"results\.0\.test\.shots: .*greater than 0, got -5"),
    "no episodes": (
        lambda record: spec_of(record).update(episodes=0),
        r"results\.0\.test\.episodes: must be at least 2, got 0",
    ),
    "an unknown metric": (
        lambda record: record["results"][0].update(metric="f1"),
        r"results\.0\.metric: must be 'accuracy' or",
    ),
    "an extra metric as the main one": (
        lambda record: record["results"][0].update(metric="ece"),
        r"results\.0\.metric: must be",
    ),
    "another direction": (
        lambda record: record["results"][0].update(direction="min"),
        r"results\.0: direction of accuracy is max",
    ),
    "a true mean": (lambda record: record["results"][0].update(mean=True), r"results\.0\.mean: must be a number, got True"),
    "a true seed": (lambda record: record["train"].update(seed=True), r"train\.seed: must be a whole number, got True"),
    "an unknown setting": (
        lambda record: spec_of(record).update(shot=1),
        r"results\.0\.test\.shot is a key that this version",
    ),
    "no id": (lambda record: record.pop("run_id"), r"run_id is missing"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_field_that_cannot_be_is_named(name: str, tmp_path: Path) -> None:
    """One line: the field, what is expected and what was there."""
    change, fault = CASES[name]
    folder = make_record(tmp_path, "maml", draw_scores("m", 0.9)).folder
    content = json.loads((folder / "record.json").read_text())
    change(content)
    write_json(folder / "record.json", content)
    with pytest.raises(DataError, match=fault):
        find_records(tmp_path)


def test_a_key_that_is_there_twice_is_named(tmp_path: Path) -> None:
    """The second would silently win."""
    path = make_record(tmp_path, "maml", draw_scores("m", 0.9)).folder / "record.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 0, "seed": 1', 1))
    with pytest.raises(DataError, match="the key 'seed' is there twice"):
        find_records(tmp_path)


@pytest.mark.parametrize(
    ("score", "fault"),
    [(1.5, "one is no accuracy"), (-0.5, "one is no accuracy"), (0.123, "one is no share of the queries")],
)
def test_a_score_that_cannot_be_is_named(score: float, fault: str, tmp_path: Path) -> None:
    """Outside [0, 1], or no multiple of one query."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    name = record.results[0]["id"]
    write_scores(record.folder, {name: np.append(record.scores(name)[1:], score)})
    with pytest.raises(DataError, match=f"the scores of result {name} are damaged: {fault}"):
        find_records(tmp_path)


def test_a_key_that_no_model_knows_cannot_be_written() -> None:
    """It would be a fact that no reader checks."""
    with pytest.raises(ValueError, match="Cost has no train_h"):
        Cost.of({"train_s": 1.0, "train_h": 0.1})


def test_what_is_written_is_what_was_given() -> None:
    """In the order of the fields, without what is absent."""
    plan = PlanPart.of({"threads": 1, "device": "cpu", "test_chunk": 2, "train_chunk": 1})
    assert list(plan.as_json()) == ["device", "threads", "train_chunk", "test_chunk"]
    assert Cost.of({"train_s": 1.0, "peak_mib": None}).as_json() == {"train_s": 1.0, "peak_mib": None}
