"""The page is right, safe, deterministic, and works in a real browser with no network."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from example_records import draw_scores, make_record
from typer.testing import CliRunner

from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.results.records import Record
from fewshot_leaderboard.commands import app
from fewshot_leaderboard.page import REPRODUCTION, page, write_page
from fewshot_leaderboard.plot import Axis
from fewshot_leaderboard.published import published

pytestmark = pytest.mark.usefixtures("records_of_any_length")

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Three methods under `standard` and one under `snell`; the names are in no order of the scores."""
    root = tmp_path / "runs"
    return [
        make_record(root, "maml", draw_scores("m", 0.95)),
        make_record(root, "prototypical-networks", draw_scores("p", 0.985), train_ways=60),
        make_record(root, "a-new-method", draw_scores("a", 0.9)),
        make_record(root, "prototypical-networks", draw_scores("s", 0.985), train_ways=60, test_protocol="snell"),
    ]


def test_the_same_records_in_any_order_and_place_give_the_same_bytes(records: list[Record], tmp_path: Path) -> None:
    """Neither the order of records nor the folder they lie in shows on the page."""
    moved = shutil.copytree(tmp_path / "runs", tmp_path / "elsewhere")
    again = [Record(moved / record.folder.name, record.content) for record in reversed(records)]
    assert page(again) == page(records)


def test_a_script_in_a_method_name_is_text(tmp_path: Path) -> None:
    """Text of a record is escaped wherever it stands."""
    name = "<script>alert(1)</script>\"'><img src=x>"
    html = page([make_record(tmp_path, name, draw_scores("x", 0.9))])
    assert "<script>alert" not in html
    assert "<img" not in html


def test_the_page_refers_to_nothing_outside_itself(records: list[Record]) -> None:
    """No script, style, font or image is fetched; one link leads to the page beside it."""
    links = re.findall(r"""(?:src|href|srcset|action)\s*=\s*["']?([^"'\s>]*)|(?:@import|url\()""", page(records))
    assert [link for link in links if not link.startswith(("#", "data:"))] == [REPRODUCTION]


def test_the_best_and_what_is_tied_with_it_are_marked(tmp_path: Path) -> None:
    """Two methods a hair apart are tied, the third is not; a table of one row marks nothing."""
    scores = draw_scores("m", 0.95)
    wiggled = scores.copy()
    wiggled[0] -= 1 / 75
    chance = make_record(tmp_path, "c", draw_scores("c", 0.2))
    html = page([make_record(tmp_path, "a", scores), make_record(tmp_path, "b", wiggled), chance])
    assert re.findall(r'<td class="left" data-value="(\w*)">\1</td>', html)[:3] == ["best", "tied", ""]
    assert 'data-value="best"' not in page([chance])


def test_nothing_was_published_of_episodes_that_vary(tmp_path: Path) -> None:
    """They stand in a table of their own, without a published number, which is of one size."""
    varying = make_record(tmp_path, "maml", draw_scores("v", 0.9), test_protocol="custom", test_max_ways=9)
    fixed = make_record(tmp_path, "maml", draw_scores("f", 0.9), test_protocol="custom")
    boards = re.split(r"<h3", page([varying, fixed]))[1:]
    assert ["5–9-way 1-shot" in board for board in boards] == [False, True]
    assert ["98.7 ± 0.4" in board for board in boards] == [True, False]


def test_the_measured_number_stands_beside_the_published_one(records: list[Record]) -> None:
    """The difference is measured minus published, in points."""
    measured = 100 * draw_scores("m", 0.95).mean()
    row = re.search(r'<th scope="row" data-value="maml">.*?</tr>', page(records), re.DOTALL)
    assert row is not None
    assert "98.7 ± 0.4" in row[0]
    assert f"{measured - 98.7:+.2f}".replace("-", "−") in row[0]


def test_a_first_order_run_is_compared_with_the_first_order_paper_row(tmp_path: Path) -> None:
    """First-order MAML is not set against the second-order number."""
    record = make_record(
        tmp_path, "maml", draw_scores("f", 0.95), train_hparams={"first_order": True}, test_dataset="mini-imagenet"
    )
    assert "48.07 ± 1.75" in page([record])


def test_protocols_stand_in_sections_of_their_own(records: list[Record]) -> None:
    """Each protocol has a heading and a sentence that explains it; the ranking one comes first."""
    assert re.findall(r"<h2>Protocol <em>(.*?)</em></h2>\n<p>.+</p>", page(records)) == ["standard", "snell"]


def test_perfect_scores_make_a_page_too(tmp_path: Path) -> None:
    """An asymmetric interval at the ceiling, alone on its axis, is drawn."""
    assert "100.00 (" in page([make_record(tmp_path, "oracle", np.ones(100), test_dataset="glyphs")])


def test_an_axis_leaves_out_a_floor_far_below() -> None:
    """One distant row does not press the others into a corner."""
    axis = Axis.around([[98.6, 98.5, 98.7], [95.0, 94.8, 95.2], [55.0, 54.0, 56.0]])
    assert (axis.ends, axis.holds(55.0)) == (("94", "99"), False)


def test_no_results_is_a_usage_error() -> None:
    """An empty leaderboard is refused with the command that makes a record."""
    with pytest.raises(UsageError, match="fsbench run"):
        page([])


def test_a_folder_that_cannot_be_written_is_named(records: list[Record], tmp_path: Path) -> None:
    """A file in the way of the output folder is an error that names the path."""
    (tmp_path / "site").write_text("in the way")
    with pytest.raises(FewshotError, match=r"site.index\.html"):
        write_page(page(records), tmp_path / "site")


def test_the_command_prints_where_the_page_is(records: list[Record], tmp_path: Path) -> None:
    """`build` writes the page and says where."""
    result = CliRunner().invoke(app, ["build", str(tmp_path / "runs"), "--out", str(tmp_path / "site")])
    assert (result.exit_code, result.stdout.replace("\n", "")) == (0, str(tmp_path / "site" / "index.html"))
    assert (tmp_path / "site" / "index.html").read_text(encoding="utf-8") == page(records)


def test_published_numbers_carry_their_conditions() -> None:
    """A published number says how it was measured."""
    (found,) = published("maml", "omniglot", 5, 1)
    assert (found.value, found.conditions) == (
        0.987,
        "600 test episodes, 1 query a class, transductive, conv4-64-strided",
    )


def test_an_unknown_published_number_is_not_there() -> None:
    """Nothing is invented for a method without a checked number."""
    assert published("maml", "glyphs", 5, 1) == ()


@pytest.fixture
def browser_page(records: list[Record], tmp_path: Path) -> Iterator[object]:
    """The page in Chromium, offline; any message on its console, a refusal of its policy too, fails the test."""
    if CHROMIUM is None:
        assert os.environ.get("FSBENCH_REQUIRE_BROWSER") != "1", "FSBENCH_REQUIRE_BROWSER is set: install chromium"
        pytest.skip("no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    path = write_page(page(records), tmp_path / "site")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        context = browser.new_context(offline=True, viewport={"width": 390, "height": 844})
        tab, said = context.new_page(), []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(path.as_uri())
        yield tab
        browser.close()
    assert said == []


def shown(tab: object) -> tuple[list[str], str | None]:
    """Methods of the first table from top to bottom, and `aria-sort` of its method header."""
    table = tab.locator("table").first  # type: ignore[attr-defined]
    names = [row.get_attribute("data-value") for row in table.locator("tbody th").all()]
    return names, table.locator("thead th", has_text="method").get_attribute("aria-sort")


def test_a_click_on_a_header_sorts_and_says_so(browser_page: object) -> None:
    """The first click sorts from A, for the eye and for a screen reader."""
    browser_page.locator("table").first.get_by_role("button", name="method").click()  # type: ignore[attr-defined]
    assert shown(browser_page) == (["a-new-method", "maml", "prototypical-networks"], "ascending")


def test_the_keyboard_turns_the_order(browser_page: object) -> None:
    """Enter on a header sorts, and once more turns the order."""
    button = browser_page.locator("table").first.get_by_role("button", name="method")  # type: ignore[attr-defined]
    button.press("Enter")
    button.press("Enter")
    assert shown(browser_page) == (["prototypical-networks", "maml", "a-new-method"], "descending")


def test_only_the_sorted_column_says_so(browser_page: object) -> None:
    """The column that was sorted before says so no longer."""
    table = browser_page.locator("table").first  # type: ignore[attr-defined]
    table.get_by_role("button", name="method").click()
    assert table.locator("[aria-sort]").count() == 1


def test_rows_without_a_published_number_stay_last(browser_page: object) -> None:
    """A missing value is neither the best nor the worst."""
    button = browser_page.locator("table").first.get_by_role("button", name="published")  # type: ignore[attr-defined]
    button.click()
    descending = shown(browser_page)[0]
    button.click()
    assert [descending[-1], shown(browser_page)[0][-1]] == ["a-new-method", "a-new-method"]


def test_the_page_is_as_wide_as_a_phone(browser_page: object) -> None:
    """Wide tables scroll in their own box, not the page."""
    assert browser_page.evaluate("document.documentElement.scrollWidth") == 390  # type: ignore[attr-defined]
