"""The JSON Schema of a record: it is that of the models, and records fit it."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import finished, only_run
from example_records import draw_scores, make_record
from jsonschema import Draft202012Validator

from fewshot_bench.results.record_models import SCHEMA
from fewshot_bench.results.schema import PATH, record_schema

pytestmark = pytest.mark.usefixtures("records_of_any_length")

WRITTEN = json.loads(PATH.read_text(encoding="utf-8"))
RESULTS = sorted((Path(__file__).parents[2] / "leaderboard" / "results").glob("*/record.json"))


def faults(content: Any) -> list[str]:
    """Where a record does not fit, and how."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(WRITTEN).iter_errors(content)]


def test_the_file_is_that_of_the_models() -> None:
    """`python -m fewshot_bench.results.schema` writes it again."""
    assert record_schema() == WRITTEN
    Draft202012Validator.check_schema(WRITTEN)


def test_every_published_record_of_the_present_format_fits() -> None:
    """Word for word as it lies there; an older one is brought up to date when it is read."""
    contents = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS}
    present = {name: one for name, one in contents.items() if one["schema"] == SCHEMA}
    assert len(present) > 50
    assert {name: wrong for name, one in present.items() if (wrong := faults(one))} == {}


def test_a_new_record_fits(tmp_path: Path) -> None:
    """With extra metrics."""
    size = ("--protocol", "custom", "--ways", 3, "--episodes", 4, "--set", "test.extra_metrics=ece")
    finished("run", "--method", "nearest-centroid", "--dataset", "digits", *size, "--out", tmp_path)
    assert faults(json.loads((only_run(tmp_path) / "record.json").read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("metric", "f1"), ("direction", "up"), ("mean", "0.5"), ("id", "x"), ("digest", None), ("extra", {"f1": {}})],
)
def test_what_no_result_can_hold_does_not_fit(key: str, value: Any, tmp_path: Path) -> None:
    """The schema is no mere list of names."""
    content = json.loads((make_record(tmp_path, "maml", draw_scores("m", 0.9)).folder / "record.json").read_text())
    assert faults(content) == []
    content["results"][0][key] = value
    assert faults(content)
