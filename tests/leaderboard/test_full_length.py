"""Which results are a paper's recipe at full length, once each; and what a stranger's record cannot do to the report."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from example_records import draw_scores, make_record
from typer.testing import CliRunner

from fewshot_bench.request import Request
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.tables import boards
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_leaderboard.commands import app
from fewshot_leaderboard.length import percent
from fewshot_leaderboard.report import files_of, report
from fewshot_leaderboard.reproduction import Reproduction, Row
from fewshot_leaderboard.reproduction_page import reproduction_page

pytestmark = pytest.mark.usefixtures("records_of_any_length")


def record_of(
    root: Path,
    recipe: str = "paper",
    mean: float = 0.988,
    asked: bool = True,
    method: str = "prototypical-networks",
    dataset: str = "omniglot",
    **changes: Any,
) -> Record:
    """A made-up record with the very training and test of a recipe, but for `changes` (`train_…`, `test_…`).

    `asked`: and that says so.
    """
    resolved = resolve(Request(method, dataset, 5, 1, recipe=recipe, device="cpu"))
    specs = {"train": resolved.train.model_dump(mode="json"), "test": resolved.test.model_dump(mode="json")}
    fields = {f"{part}_{name}": value for part, spec in specs.items() for name, value in spec.items()}
    del fields["train_method"]
    scores = draw_scores(
        f"{method} {recipe} {mean} {sorted(changes.items())}", mean, resolved.test.episodes, 5 * resolved.test.queries
    )
    record = make_record(root, method, scores, **{**fields, **changes})
    if asked:
        path = record.folder / "record.json"
        content = json.loads(path.read_text())
        content["results"][0]["request"] = {"by": "run", "recipe": recipe}
        path.write_text(json.dumps(content))
        record = load_record(record.folder)
    return record


def found(*records: Record) -> Reproduction:
    """What some records reproduce."""
    return Reproduction.of(boards(records)[0])


def others(*records: Record) -> list[Row]:
    """The rows that do not count."""
    return [row for group in found(*records).others for row in group.rows]


@pytest.mark.parametrize(("recipe", "dataset"), [("paper", "omniglot"), ("paddle", "cifar-fs"), ("lee", "cifar-fs")])
@pytest.mark.parametrize("asked", [True, False])
def test_a_training_and_test_of_a_papers_recipe_are_at_full_length(
    recipe: str, dataset: str, asked: bool, tmp_path: Path
) -> None:
    """By what was trained and tested, whatever the training was asked for by."""
    [row] = found(record_of(tmp_path, recipe, asked=asked, dataset=dataset)).full
    assert row.length_text == f"full, by the recipe {recipe}"


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"train_updates": 19_999}, "99 % of the images of the recipe paper"),
        ({"train_lr": 0.002}, "100 % of the images of the recipe paper"),
        ({"test_protocol": "standard"}, "full, by the recipe paper, in another test than the recipe's"),
    ],
)
def test_what_differs_from_the_recipe_does_not_count(changes: dict[str, Any], length: str, tmp_path: Path) -> None:
    """An update fewer, another rate, or another test of the same training."""
    [row] = others(record_of(tmp_path, **changes))
    assert row.length_text == length


def test_a_share_is_rounded_down() -> None:
    """Nothing that is cut short has 100 %."""
    assert [percent(one) for one in (0.9999, 0.25, 0.0748, 0.00257, 1.0)] == ["99 %", "25 %", "7.4 %", "0.25 %", "100 %"]


def test_a_training_counts_once_whatever_its_version_and_seed(tmp_path: Path) -> None:
    """Two records that do not pool, as other code made one, are one row; another setting is another."""
    first = record_of(tmp_path)
    again = record_of(tmp_path, source="b" * 64, train_seed=1)
    assert len(found(first, again).full) == 1
    [row] = others(first, again)
    assert row.counts


def test_a_test_of_the_other_kind_does_not_count(tmp_path: Path) -> None:
    """The published number of MAML on CIFAR-FS is transductive; the recipe that shows what that is worth is not."""
    inductive = record_of(tmp_path, "bertinetto-inductive", 0.5, method="maml", dataset="cifar-fs")
    transductive = record_of(tmp_path, "bertinetto", 0.589, method="maml", dataset="cifar-fs")
    counted = found(inductive, transductive)
    assert [row.recipe.split(",")[0] for row in counted.full] == ["bertinetto"]
    assert [row.verdict for group in counted.others for row in group.rows] == ["–"]


def test_a_number_that_was_quoted_does_not_count(tmp_path: Path) -> None:
    """Logistic regression's, on CIFAR-FS, was not checked."""
    [row] = others(record_of(tmp_path, "rfs", 0.627, method="logistic-regression", dataset="cifar-fs"))
    assert (row.verdict, row.without) == ("–", "the published number is quoted second-hand")


def test_intervals_that_overlap_agree(tmp_path: Path) -> None:
    """58.9 ± 1.9 was published: 57.2 is more than a point away, 52 is beyond both intervals."""
    for mean, verdict in ((0.572, "within"), (0.52, "outside")):
        [row] = found(record_of(tmp_path / verdict, "bertinetto", mean, method="maml", dataset="cifar-fs")).full
        assert row.verdict == verdict


def test_text_of_a_record_is_text(tmp_path: Path) -> None:
    """Neither the report nor the page has a tag, a heading or a link of a record, however its lines are wrapped."""
    name = '<img src=x>"\n# [a](http://b) ' + "<script> - " * 20
    record = record_of(tmp_path, "short", asked=True)
    record.content["results"][0]["request"]["recipe"] = name
    found_boards = boards([record])[0]
    text, html = report(Reproduction.of(found_boards), {}), reproduction_page(found_boards)
    assert "src=x" in text and "src=x" in html
    for one in (re.sub(r"(`+).*?\1", "", text), html):  # what is code is text
        assert "<img" not in one and "<script" not in one and '<a href="http' not in one
    assert "](http" not in re.sub(r"(`+).*?\1", "", text)
    assert not re.search(r"^\s*<", text, re.MULTILINE)
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Reproduction of published results"]


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    """Report, figures and page."""
    records = [record_of(tmp_path), record_of(tmp_path, "short"), record_of(tmp_path, "paper", method="maml")]
    one, other = boards(records)[0], boards(records[::-1])[0]
    assert files_of(tmp_path / "r.md", one) == files_of(tmp_path / "r.md", other)
    assert reproduction_page(one) == reproduction_page(other)


def test_the_page_is_beside_the_leaderboard_and_they_link(tmp_path: Path) -> None:
    """`build` writes both, where something was published."""
    record_of(tmp_path / "runs")
    CliRunner().invoke(app, ["build", str(tmp_path / "runs"), "--out", str(tmp_path / "site")], catch_exceptions=False)
    index, page = ((tmp_path / "site" / name).read_text(encoding="utf-8") for name in ("index.html", "reproduction.html"))
    assert 'href="reproduction.html"' in index and 'href="index.html"' in page


def test_no_page_without_a_published_number(tmp_path: Path) -> None:
    """And no link to it."""
    make_record(tmp_path / "runs", "maml", draw_scores("g", 0.9), train_dataset="glyphs", test_dataset="glyphs")
    CliRunner().invoke(app, ["build", str(tmp_path / "runs"), "--out", str(tmp_path / "site")], catch_exceptions=False)
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    assert "reproduction.html" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
