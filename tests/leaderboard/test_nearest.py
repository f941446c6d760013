"""Of several published numbers a measured one is compared with the one of the nearest conditions, which is named."""

import csv
import random
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from example_records import draw_scores, make_record

from fewshot_bench.metrics import METRICS
from fewshot_bench.results.records import Record
from fewshot_leaderboard.comparison import comparison_tables
from fewshot_leaderboard.nearest import Chosen, Conditions, differences, nearest
from fewshot_leaderboard.page import page
from fewshot_leaderboard.published import Published, all_published

pytestmark = pytest.mark.usefixtures("records_of_any_length")

HERE = Conditions("conv4-64", 15, False, 2000)
PLAIN = Published(0.5, "50.0 ± 1.0", 0.01, "accuracy", 600, 15, "conv4-64", False, None, "Plain")


def chosen(*rows: Published) -> Chosen:
    """The choice among some rows, which is that of any order of them."""
    found = nearest(rows, HERE)
    assert found is not None
    shuffled = list(rows)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert nearest(shuffled, HERE) == found
    return found


def test_the_only_number_needs_no_reason() -> None:
    """And where none is known there is no choice."""
    assert chosen(PLAIN) == Chosen(PLAIN, "", ())
    assert nearest([], HERE) is None


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"backbone": "resnet12"}, "nearest conditions: same network, transduction and queries"),
        ({"transductive": True}, "nearest conditions: same network, transduction and queries"),
        ({"queries": 1}, "nearest conditions: same network, transduction and queries"),
        ({"queries": None, "test_episodes": 2000}, "nearest conditions: same network, transduction and queries"),
        (
            {"test_episodes": 100},
            "nearest conditions: same network, transduction and queries; nearest number of test episodes (600)",
        ),
        (
            {"test_episodes": None},
            "nearest conditions: same network, transduction and queries; nearest number of test episodes (600)",
        ),
        ({}, "nearest conditions: same network, transduction and queries; first by its source of those alike"),
        ({"verified": False, "test_episodes": 2000}, "the only one that was checked"),
    ],
)
def test_the_nearer_number_is_chosen_and_says_why(other: dict[str, object], why: str) -> None:
    """Against one that differs in network, transduction or queries, that does not state one, or that is only quoted."""
    farther = replace(PLAIN, source="Zweitens", **other)  # type: ignore[arg-type]
    assert chosen(farther, PLAIN) == Chosen(PLAIN, why, (farther,))


def test_what_differs_counts_more_than_what_is_not_stated() -> None:
    """A number that says little stands nearer than one that says another network and another number of queries."""
    vague = replace(PLAIN, backbone="", queries=None, source="vague")
    other = replace(PLAIN, backbone="resnet12", queries=1, source="other")
    found = chosen(vague, other, replace(PLAIN, transductive=True, queries=1, source="transductive"))
    assert (found.printed, found.why) == (vague, "nearest conditions: same transduction")
    assert differences(other, HERE) == "network conv4-64 here, resnet12 there; queries a class 15 here, 1 there"
    assert differences(vague, HERE) == ""


def test_every_row_parses_and_none_stands_twice() -> None:
    """A row is one number of one source; `verified` and `transductive` are yes or no."""
    text = files("fewshot_leaderboard").joinpath("published_results.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), strict=True))
    assert sum(map(len, all_published().values())) == len(rows)
    keys = ("method", "dataset", "ways", "shots", "train_shots", "metric", "backbone", "source")
    assert [key for key, count in Counter(tuple(row[name] for name in keys) for row in rows).items() if count > 1] == []
    for row in rows:
        assert None not in row and None not in row.values()
        assert {row["verified"], row["transductive"]} <= {"yes", "no"} and row["source"].strip()
        assert METRICS[row["metric"]].holds(float(row["value"]) / METRICS[row["metric"]].scale)


def shown(record: Record) -> tuple[str, str]:
    """What the table of methods and the page say of one record."""
    return "\n".join(table.markdown() for table in comparison_tables([record])[:-1]), page([record])


@pytest.fixture(autouse=True)
def of_this_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example records are of no recipe."""
    monkeypatch.setattr("fewshot_leaderboard.measured.made_by_another_version", lambda content: False)


def test_each_published_number_stands_with_its_source_and_the_nearest_is_compared(tmp_path: Path) -> None:
    """Prototypical networks on Omniglot: the paper states its test episodes, the re-run does not."""
    scores = draw_scores("p", 0.988)
    table, html = shown(make_record(tmp_path, "prototypical-networks", scores))
    for text in (table, html):
        assert "98.27 ± 0.13" in text and "PaddleFSL README" in text and "Snell et al. 2017 table 1" in text
        assert "nearest conditions: same network, transduction and queries; nearest number of test episodes (1,000)" in text
    difference = f"{100 * scores.mean() - 98.8:+.2f}".replace("-", "−")
    assert f"| {difference} ± " in table and "(ours alone) | within |" in table


def test_a_number_that_was_only_quoted_gives_no_verdict(tmp_path: Path) -> None:
    """It stands with its difference, as quoted second-hand."""
    record = make_record(tmp_path, "logistic-regression", draw_scores("l", 0.627), test_dataset="cifar-fs")
    table, html = shown(record)
    assert "quoted second-hand" in table and "quoted second-hand" in html
    [line] = [line for line in table.splitlines() if line.startswith("| logistic-regression |")]
    assert line.split("|")[2].strip() == "62.7 ± 0.8" and "network of the same kind" in line
    assert "verdict" not in table and "outside" not in table and "- logistic-regression" not in table


def test_a_transductive_test_is_compared_with_a_transductive_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And an inductive one with an inductive number, whichever stands first."""
    numbers = (replace(PLAIN, transductive=True, text="61.0", source="T"), replace(PLAIN, text="55.0", source="I"))
    monkeypatch.setattr("fewshot_leaderboard.measured.published", lambda *about: numbers)
    monkeypatch.setattr("fewshot_leaderboard.page.published", lambda *about: numbers)
    for mode, text in (("separate", "61.0"), ("support", "55.0")):
        table, _ = shown(make_record(tmp_path, "maml", draw_scores("m", 0.55), test_normalisation=mode))
        [line] = [line for line in table.splitlines() if line.startswith("| maml |")]
        assert line.split("|")[2].strip() == text
