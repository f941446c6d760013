"""The reproduction report: what counts at full length, what explains a number outside, and texts that are safe and fresh."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from example_records import draw_scores, make_record

from fewshot_bench.errors import FewshotError
from fewshot_bench.request import Request
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.results.tables import boards
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_leaderboard import explained
from fewshot_leaderboard.curves import LINE, figure, spread
from fewshot_leaderboard.learning_curves import Curve, learning_curves
from fewshot_leaderboard.page import page
from fewshot_leaderboard.report import COLUMNS, files_of, write_report
from fewshot_leaderboard.reproduction import Reproduction
from fewshot_leaderboard.reproduction_page import reproduction_page

pytestmark = pytest.mark.usefixtures("records_of_any_length")

ROOT = Path(__file__).parents[2]
KEYS = {"for", "text", "experiment", "gave", "explains"}
SCRIPT = "<script>alert(1)</script>"


def of_recipe(root: Path, mean: float, recipe: str = "paper", **changes: Any) -> Record:
    """A record of prototypical networks on Omniglot, 5-way 1-shot, by a recipe."""
    resolved = resolve(Request("prototypical-networks", "omniglot", 5, 1, recipe=recipe, device="cpu"))
    train = {f"train_{key}": value for key, value in resolved.train.model_dump(mode="json").items() if key != "method"}
    test = {f"test_{key}": value for key, value in resolved.test.model_dump(mode="json").items()}
    scores = draw_scores("p", mean, resolved.test.episodes)
    record = make_record(root, "prototypical-networks", scores, **train | test | changes)
    asked = [result | {"request": {"by": "run", "recipe": recipe}} for result in record.content["results"]]
    return replace(record, content=record.content | {"results": asked})


def reproduced(*records: Record) -> Reproduction:
    """What some records reproduce."""
    return Reproduction.of(boards(records)[0])


def test_a_row_counts_at_the_recipes_full_length_under_its_own_test(tmp_path: Path) -> None:
    """And once, whatever else the training is tested on; a shorter one stands below with its share."""
    whole = reproduced(of_recipe(tmp_path / "a", 0.988), of_recipe(tmp_path / "b", 0.988, test_protocol="standard"))
    assert whole.headline == "1 row at full length: 1 within, 0 outside."
    assert [len(group.rows) for group in whole.others] == [1]
    short = reproduced(of_recipe(tmp_path / "c", 0.988, train_updates=5000))
    assert (list(short.full), short.others[0].rows[0].length_text) == ([], "25 % of the images of the recipe paper")
    ours = reproduced(of_recipe(tmp_path / "d", 0.988, recipe="short"))
    assert (list(ours.full), ours.others[0].rows[0].length_text) == ([], "14 % of the images of the recipe paper")


@pytest.mark.parametrize(("explains", "said"), [(True, "Explained by an experiment."), (False, "Not explained.")])
def test_below_a_verdict_outside_stands_what_was_tried(
    explains: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it gave; without an experiment the row is not explained."""
    record = of_recipe(tmp_path, 0.95)
    [bare] = reproduced(record).full
    assert (bare.verdict, bare.reason, bare.experiments) == ("outside", "Not explained.", [])
    tried = {"for": {"method": "prototypical-networks"}, "experiment": "twice the updates", "gave": "98.9 ± 0.1"}
    monkeypatch.setattr(explained, "explanations", lambda: [tried | {"explains": explains}])
    found = boards([record])[0]
    text = files_of(tmp_path / "report.md", found)[tmp_path / "report.md"]
    assert f"**outside**. {said}" in text and "Experiment: twice the updates: 98.9 ± 0.1" in text
    html = reproduction_page(found)
    assert said in html and "twice the updates: 98.9 ± 0.1" in html
    assert reproduced(record).explained == int(explains)


def test_an_explanation_says_what_was_run_and_what_it_gave() -> None:
    """Or it is a remark."""
    for entry in explained.explanations():
        assert entry.keys() <= KEYS and ("text" in entry) != ("experiment" in entry)
        assert "experiment" not in entry or {"gave", "explains"} <= entry.keys()


def logged(record: Record, *lines: str) -> Record:
    """A record with a `log.jsonl`."""
    (record.folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return record


VALIDATION = {"every": 10, "episodes": 4, "ways": 5, "shots": 1, "queries": 15, "normalisation": "support", "inner_steps": 3}


def test_a_curve_is_of_the_images_that_were_seen(tmp_path: Path) -> None:
    """Updates times the images of one: 16 tasks of 5 x (1 + 5); lines that are no validation are left out."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9), train_validation=VALIDATION)
    lines = ['{"update": 10, "validation": 0.5}', '{"update": 20, "validation": null}', '{"update": 30, "validation": 0.75}']
    [curve] = learning_curves(boards([logged(record, *lines)])[0], "omniglot", 5, 1)
    assert curve.points == ((10 * 16 * 30, 50.0), (30 * 16 * 30, 75.0))
    for damaged in ('{"update": 10, "validation": 7}', '{"update": -1, "validation": 0.5}', "[1]", "{", "7" * 400):
        [curve] = learning_curves(boards([logged(record, damaged)])[0], "omniglot", 5, 1)
        assert curve.points == () and curve.test is not None


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    """They stand a line apart, in order, within the plot."""
    places = spread([60.0, 61.0, 61.5, 250.0, 255.0, 256.0])
    assert all(after - before >= LINE - 1e-9 for before, after in itertools.pairwise(places))
    assert spread([100.0, 200.0]) == [100.0, 200.0]


def test_text_of_records_is_escaped(tmp_path: Path) -> None:
    """In the page, the report and the figures, which are well-formed."""
    names = [f"{SCRIPT}{number}" for number in range(30)]
    drawn = figure(SCRIPT, [Curve(name, ((10.0, 50.0), (100.0, 60.0))) for name in names])
    ElementTree.fromstring(drawn)
    record = of_recipe(tmp_path, 0.95)
    evil = [result | {"request": {"by": "run", "recipe": SCRIPT + "|*x*"}} for result in record.content["results"]]
    found = boards([replace(record, content=record.content | {"results": evil})])[0]
    for text in (drawn, reproduction_page(found), *files_of(tmp_path / "report.md", found).values()):
        assert "<script>" not in text


def test_the_board_links_the_report_where_there_is_one(tmp_path: Path) -> None:
    """Nothing was published of a method of one's own."""
    assert 'href="reproduction.html"' in page([of_recipe(tmp_path, 0.95)])
    assert "reproduction.html" not in page([make_record(tmp_path, "my-own", draw_scores("o", 0.9))])


def test_a_report_that_is_out_of_date_is_refused(tmp_path: Path) -> None:
    """With the command that makes it again."""
    found = boards([of_recipe(tmp_path / "runs", 0.988)])[0]
    with pytest.raises(FewshotError, match="fsbench leaderboard reproduction --out"):
        write_report(tmp_path / "report.md", found, check=True)
    write_report(tmp_path / "report.md", found)
    write_report(tmp_path / "report.md", found, check=True)


@pytest.mark.usefixtures("l2l")
def test_the_committed_report_is_up_to_date_and_fits_80_columns() -> None:
    """`fsbench leaderboard reproduction` changes nothing; only pictures have longer lines."""
    report = ROOT / "docs" / "reproduction.md"
    write_report(report, boards(find_records([ROOT / "leaderboard" / "results"]))[0], check=True)
    lines = report.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > COLUMNS and not line.startswith("![")] == []
