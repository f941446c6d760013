"""The table of methods says what the methods declare and what the records measure, and notices when it is out of date."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_records import Scores, draw_scores, make_record
from typer.testing import CliRunner

from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.registry import Plugin
from fewshot_bench.request import Request
from fewshot_bench.results.records import Record, find_records, load_record
from fewshot_bench.results.statistics import score_interval
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_leaderboard import measured
from fewshot_leaderboard.commands import app
from fewshot_leaderboard.comparison import comparison_tables
from fewshot_leaderboard.measured import compared, made_by_another_version
from fewshot_leaderboard.methods_table import END, START, methods_table, renewed, short_paper, write_readme
from fewshot_leaderboard.published import Published, published

pytestmark = pytest.mark.usefixtures("records_of_any_length")

ROOT = Path(__file__).parents[2]
EMPTY = f"Before.\n\n{START}\n{END}\n\nAfter.\n"


@pytest.fixture(autouse=True)
def of_this_version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example records are of no recipe: what marks an earlier version stands aside, but where it is tested."""
    if "committed" not in request.node.name:
        monkeypatch.setattr(measured, "made_by_another_version", lambda content: False)


def compare(*records: Record) -> str:
    """The tables of measured beside published numbers, in Markdown."""
    return "\n".join(table.markdown() for table in comparison_tables(records))


def lines_of(record: Record, *words: str) -> list[str]:
    """The lines of those tables, made from one record, that hold all words."""
    return [line for line in compare(record).splitlines() if all(word in line for word in words)]


def asked_for(record: Record, **request: object) -> dict[str, Any]:
    """The results of a record, made by such a request."""
    return {"results": [result | {"request": {"by": "run", **request}} for result in record.content["results"]]}


def costly(record: Record, device: str = "cpu", recipe: str = "default") -> Record:
    """A record whose training took 90 seconds on 2 threads and 7,000 updates."""
    content = record.content | {
        "plan": {"device": device, "threads": 2, "train_chunk": 1, "test_chunk": 1},
        "cost": {"train_s": 90.0},
        **asked_for(record, recipe=recipe),
    }
    (record.folder / "record.json").write_text(json.dumps(content))
    return load_record(record.folder)


def test_every_registered_method_has_a_row_with_what_it_declares() -> None:
    """In the order of their names, as their classes say."""
    rows = {row["method"].text: row for row in methods_table().rows}
    assert list(rows) == list(registry.registered("methods"))
    for name, plugin in registry.registered("methods").items():
        try:
            method = plugin.load()
        except FewshotError:
            continue
        yes = {True: "yes", False: "no"}
        assert rows[name]["transductive"].text == yes[method.transductive]
        assert rows[name]["equivariant"].text == yes[method.way_equivariant]
        assert rows[name]["invariant"].text == yes[method.support_order_invariant]
        assert rows[name]["regression"].text == yes["regression" in method.kinds]
        assert (rows[name]["learns"].text == "nothing") == (not method.trained)
        assert ("ways" in rows[name]["built"].text) == method.fixed_ways


def test_parameters_are_counted() -> None:
    """Of Conv4-64 on 1 x 28 x 28: 9 (1 + 3 x 64) 64 weights, and a scale and a shift for each of 4 x 64 filters."""
    rows = {row["method"].text: row["parameters"].text for row in methods_table().rows}
    assert rows["prototypical-networks"] == f"{9 * (1 + 3 * 64) * 64 + 2 * 4 * 64:,}"
    assert rows["nearest-centroid"] == "0"


def test_a_method_that_cannot_be_imported_is_listed_by_name_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are none the worse for it."""
    broken = Plugin("broken", "methods", "no_such_module:Method", "somebody 1.0")
    found = {"broken": broken, "nearest-centroid": registry.find("methods", "nearest-centroid")}
    registered = registry.registered
    monkeypatch.setattr(registry, "registered", lambda group: found if group == "methods" else registered(group))
    table = methods_table()
    assert [row["learns"].text for row in table.rows] == ["", "nothing"]
    assert table.notes[-1].startswith("The method 'broken' (somebody 1.0) cannot be imported: ModuleNotFoundError")


@pytest.mark.parametrize(
    ("paper", "short"),
    [
        (
            "Snell, Swersky & Zemel 2017, Prototypical Networks, arXiv:1703.05175",
            "Snell et al. 2017, https://arxiv.org/abs/1703.05175",
        ),
        ("Ravi & Larochelle 2017, A Model, ICLR (their baseline)", "Ravi & Larochelle 2017"),
        (
            "Lake, Salakhutdinov & Tenenbaum (2015): Concept learning. Science. https://doi.org/10.1126/science.aab3050",
            "Lake et al. 2015, https://doi.org/10.1126/science.aab3050",
        ),
        ("folklore", "folklore"),
        ("", "–"),
    ],
)
def test_a_paper_is_cited_shortly_with_its_address(paper: str, short: str) -> None:
    """First author, year and link, however a card words it."""
    assert short_paper(paper) == short


def test_a_measured_number_stands_beside_the_published_one_and_both_conditions(tmp_path: Path) -> None:
    """MAML's, with protocol, normalisation, budget and both sources."""
    scores = draw_scores("m", 0.95)
    record = costly(make_record(tmp_path, "maml", scores, train_meta_batch_size=16), recipe="short")
    assert "### omniglot, 5-way 1-shot, protocol standard\n" in compare(record)
    [line] = lines_of(record, "| maml |", "98.7 ± 0.4", f"{100 * scores.mean():.2f} ±")
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert "600 test episodes, 1 query a class, transductive" in cells[2] and "Finn et al. 2017" in cells[2]
    assert cells[4:9] == ["support", "short", "5-way 1-shot", f"{8000 * 16 * 5 * (1 + 5):,}", "3.0"]


def test_the_difference_has_the_interval_of_both(tmp_path: Path) -> None:
    """The root of the sum of the squared half-widths, and a verdict."""
    scores = draw_scores("m", 0.95)
    interval = score_interval([scores], trials=75, metric="accuracy")
    half = math.hypot((interval.high - interval.low) / 2 * 100, 0.4)
    difference = f"{100 * scores.mean() - 98.7:+.2f} ± {half:.2f}".replace("-", "−")
    [line] = lines_of(make_record(tmp_path, "maml", scores), "| maml |", "98.7 ± 0.4", "support")
    assert f"| {difference} | outside |" in line


@pytest.mark.parametrize(
    ("mean", "half", "interval", "metric", "expected"),
    [
        (0.95, 0.003, 0.004, "accuracy", ("+5.00 ± 0.50", False)),
        (0.904, 0.003, 0.004, "accuracy", ("+0.40 ± 0.50", True)),
        (0.91, 0.003, 0.004, "accuracy", ("+1.00 ± 0.50", True)),  # one point; their intervals are apart
        (0.92, 0.015, 0.006, "accuracy", ("+2.00 ± 1.62", True)),  # two points; their intervals meet
        (0.92, 0.012, 0.005, "accuracy", ("+2.00 ± 1.30", False)),
        (0.891, 0.003, None, "accuracy", ("−0.90 ± 0.30 (ours alone)", True)),
        (0.889, 0.03, None, "accuracy", ("−1.10 ± 3.00 (ours alone)", False)),
        (1.0, 0.15, 0.2, "mse", ("+0.10 ± 0.25", True)),
        (1.5, 0.15, 0.2, "mse", ("+0.60 ± 0.25", False)),  # an error has no points
        (1.0, 0.15, None, "mse", ("+0.10 ± 0.15 (ours alone)", None)),
    ],
)
def test_numbers_agree_within_a_point_or_where_their_intervals_overlap(
    mean: float, half: float, interval: float | None, metric: str, expected: tuple[str, bool | None]
) -> None:
    """The difference with a 3-4-5 triangle of half-widths; what was not checked gives no verdict."""
    printed = Published(0.9, "90", interval, metric, None, None, "", False, None, "")
    assert compared(mean - half, mean, mean + half, printed) == expected
    assert compared(mean - half, mean, mean + half, replace(printed, verified=False)) == (expected[0], None)


def test_what_lies_outside_is_explained_by_an_experiment(tmp_path: Path) -> None:
    """The difference of conditions that is known, and the recipe `paper` with its length."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9), train_meta_batch_size=1)
    [note] = lines_of(record, "- maml, recipe default:")
    assert "the paper's test is transductive, this one inductive" in note
    assert re.search(r"the recipe paper, which sees [\d,]+ training images where this run saw 240,000", note)


def test_an_explanation_that_was_written_down_comes_first(tmp_path: Path) -> None:
    """By method, data set, recipe and protocol."""
    record = costly(make_record(tmp_path, "maml", draw_scores("m", 0.9)), recipe="transductive")
    [note] = lines_of(record, "- maml, recipe transductive:")
    assert "to show what that costs" in note


def test_what_lies_within_needs_no_explanation(tmp_path: Path) -> None:
    """No note about a number that agrees."""
    assert lines_of(make_record(tmp_path, "prototypical-networks", draw_scores("p", 0.988)), "- prototypical") == []


def test_results_of_two_protocols_stand_in_two_tables(tmp_path: Path) -> None:
    """As everywhere."""
    make_record(tmp_path, "maml", draw_scores("a", 0.95))
    make_record(
        tmp_path, "maml", draw_scores("b", 0.95), test_protocol="standard-transductive", test_normalisation="separate"
    )
    titles = re.findall("^### (.*protocol.*)$", compare(*find_records([tmp_path])), re.MULTILINE)
    assert titles == ["omniglot, 5-way 1-shot, protocol standard", "omniglot, 5-way 1-shot, protocol standard-transductive"]


def test_results_under_conditions_of_ones_own_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    """`custom` says neither episodes nor queries nor normalisation, so that the title does."""
    queries_and_modes = [(1, "separate"), (1, "support+1"), (19, "running")]
    for queries, mode in queries_and_modes:
        changes = {"test_protocol": "custom", "test_queries": queries, "test_normalisation": mode}
        make_record(tmp_path, "reptile", draw_scores(mode, 0.9, predictions=5 * queries), **changes)
    titles = re.findall("^### omniglot, 5-way 1-shot, (protocol.*)$", compare(*find_records([tmp_path])), re.MULTILINE)
    own = "protocol custom: test episodes 200, queries a class {}, normalisation {}"
    assert titles == [own.format(*condition) for condition in queries_and_modes]


@pytest.mark.parametrize(
    ("method", "episodes", "changes", "verdict"),
    [
        ("prototypical-networks", 1000, {}, "within"),
        ("prototypical-networks", 200, {}, ""),
        ("prototypical-networks", 1000, {"test_queries": 5}, ""),
        ("prototypical-networks", 1000, {"test_normalisation": "joint"}, ""),
        ("matching-networks", 200, {}, "within"),  # whose paper states neither episodes nor queries
    ],
)
def test_a_test_of_ones_own_has_a_verdict_under_the_papers_conditions_alone(
    method: str, episodes: int, changes: dict[str, object], verdict: str, tmp_path: Path
) -> None:
    """As far as the paper states them: Snell et al. 1,000 episodes of 15 queries a class, inductive."""
    scores = draw_scores("m", 0.985, episodes, 5 * int(str(changes.get("test_queries", 15))))
    [line] = lines_of(make_record(tmp_path, method, scores, **changes, test_protocol="custom"), f"| {method} |", "default")
    assert line.endswith(f"(ours alone) | {verdict} |".replace(" |  |", " |"))


def test_a_test_of_ones_own_is_transductive_where_its_normalisation_is(tmp_path: Path) -> None:
    """So that nothing is said of Reptile's transductive number beside a transductive measurement."""
    changes = {"test_protocol": "custom", "test_queries": 1, "test_normalisation": "separate"}
    record = make_record(tmp_path, "reptile", draw_scores("m", 0.9, 10_000, 5), **changes)
    [note] = lines_of(record, "- reptile, recipe default:")
    assert "to be run: the recipe paper" in note and "the paper's test is" not in note


def test_other_conditions_are_said_of_what_lies_within_too(tmp_path: Path) -> None:
    """A transductive measurement that agrees with an inductive number is no confirmation of it."""
    changes = {"test_protocol": "standard-transductive", "test_normalisation": "joint"}
    record = make_record(tmp_path, "prototypical-networks", draw_scores("p", 0.988), **changes)
    assert lines_of(record, "| prototypical-networks |", "| within |")
    [note] = lines_of(record, "- prototypical-networks")
    assert note == "- prototypical-networks, recipe default: the paper's test is inductive, this one transductive."


def test_episodes_that_vary_are_not_compared_with_what_was_published(tmp_path: Path) -> None:
    """All published numbers are of one size and without unlabelled images."""
    for change in ({"test_max_ways": 9}, {"test_unlabelled": 5}):
        record = make_record(tmp_path, "maml", draw_scores("m", 0.9), **change)
        assert lines_of(record, "| omniglot, 5-way 1-shot | maml |")  # still to be measured
        assert not re.findall("^### .*protocol.*$", compare(record), re.MULTILINE)


def test_a_recipe_that_was_changed_says_so(tmp_path: Path) -> None:
    """A trial of a few updates does not stand as the recipe."""
    record = make_record(tmp_path, "maml", draw_scores("short", 0.9))
    changed = replace(record, content=record.content | asked_for(record, recipe="short", settings=["train.updates"]))
    assert "| short, changed |" in compare(changed)
    assert "changed" not in compare(record)


def test_of_one_recipe_the_longest_training_is_shown(tmp_path: Path) -> None:
    """However much better the shorter one."""
    make_record(tmp_path, "maml", draw_scores("short", 0.99), train_updates=10)
    make_record(tmp_path, "maml", draw_scores("long", 0.9), train_updates=9000, train_meta_batch_size=1)
    text = compare(*find_records([tmp_path]))
    assert len(re.findall("^.* maml .* 98.7 ± 0.4 .*$", text, re.MULTILINE)) == 1
    assert f"{9000 * 5 * 6:,}" in text


def test_a_published_number_without_a_measured_one_is_listed(tmp_path: Path) -> None:
    """Until a record stands beside it."""
    assert lines_of(make_record(tmp_path, "nearest-centroid", draw_scores("n", 0.5)), "| omniglot, 5-way 1-shot | maml |")
    assert not lines_of(make_record(tmp_path, "maml", draw_scores("m", 0.9)), "| omniglot, 5-way 1-shot | maml |")


@pytest.mark.parametrize(
    ("method", "changes", "printed"),
    [
        ("maml", {"train_hparams": {"first_order": True}, "test_dataset": "mini-imagenet"}, "48.07 ± 1.75"),
        ("matching-networks", {"train_hparams": {"fce": True}, "test_dataset": "mini-imagenet"}, "43.56 ± 0.84"),
        ("reptile", {"test_normalisation": "separate"}, "97.68 ± 0.04"),
        ("reptile", {"test_normalisation": "support+1"}, "95.39 ± 0.09"),
        ("l2l-maml", {}, "98.7 ± 0.4"),
    ],
)
def test_a_variant_is_compared_with_its_own_published_number(
    method: str, changes: dict[str, object], printed: str, tmp_path: Path
) -> None:
    """First-order MAML, matching networks with FCE, Reptile with and without transduction, learn2learn's MAML."""
    assert lines_of(make_record(tmp_path, method, draw_scores("v", 0.9), **changes), f"| {method}", printed, "outside")


def test_regression_is_compared_without_ways(tmp_path: Path) -> None:
    """Lower is better, and the unit is its own."""
    scores: Scores = np.random.default_rng(0).gamma(2.0, 0.8, 200)
    changes = {
        "test_dataset": "sinusoid-varying-frequency",
        "test_ways": 1,
        "test_shots": 5,
        "train_ways": 1,
        "train_shots": 5,
    }
    record = make_record(
        tmp_path, "meta-sgd", scores, **changes, test_protocol="standard-regression", metric="mse", direction="min"
    )
    assert "### sinusoid-varying-frequency, 5 points, protocol standard-regression" in compare(record)
    assert lines_of(record, "| meta-sgd |", "0.90 ± 0.16", f"{scores.mean():.2f} ±")
    assert lines_of(record, "| points |")
    assert lines_of(record, "- meta-sgd, recipe default:", "points in training where this run saw")
    assert published("meta-sgd", "sinusoid-varying-frequency", 1, 5, "mse", train_shots=5)
    assert published("meta-sgd", "sinusoid-varying-frequency", 1, 5, "mse", train_shots=10) == ()


def test_a_record_that_this_version_would_not_make_is_marked(tmp_path: Path) -> None:
    """The recipe, or the method's code, is another by now; what cannot be said is not."""
    content = resolve(Request("prototypical-networks", "glyphs", device="cpu"))
    made = {
        "train": content.train.model_dump(mode="json"),
        "method": {"source_sha256": content.source_sha256},
        "data": {"identity": "glyphs"},
        "results": [{"test": content.test.model_dump(mode="json"), "metric": "accuracy", "request": {}}],
    }
    assert not made_by_another_version(made)
    assert made_by_another_version(made | {"method": {"source_sha256": "0"}})
    assert made_by_another_version(made | {"train": made["train"] | {"updates": 7}})
    assert not made_by_another_version(made | {"train": made["train"] | {"method": "my_own.py:Method", "updates": 7}})


def test_minutes_on_an_accelerator_are_not_those_of_a_processor(tmp_path: Path) -> None:
    """The device is named."""
    assert lines_of(costly(make_record(tmp_path, "maml", draw_scores("m", 0.9)), "cuda"), "| 1.5 min on cuda |")


def test_the_text_around_the_markers_stays(tmp_path: Path) -> None:
    """And what is made twice is the same."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    text = renewed(EMPTY, [record])
    assert text.startswith("Before.\n\n" + START) and text.endswith(END + "\n\nAfter.\n")
    assert renewed(text, [record]) == text


def test_a_text_without_markers_is_refused() -> None:
    """Saying which lines it needs."""
    with pytest.raises(UsageError, match=START):
        renewed("# Methods\n", [])


def test_check_fails_until_the_table_is_made_again(tmp_path: Path) -> None:
    """A record that came since makes it out of date; `--check` writes nothing."""
    make_record(tmp_path / "runs", "maml", draw_scores("m", 0.9))
    readme = tmp_path / "README.md"
    readme.write_text(EMPTY, encoding="utf-8")
    command = ["methods", str(tmp_path / "runs"), "--out", str(readme)]
    refused = CliRunner().invoke(app, [*command, "--check"])
    assert isinstance(refused.exception, FewshotError) and "out of date" in str(refused.exception)
    assert readme.read_text(encoding="utf-8") == EMPTY
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--check"]).exit_code == 0
    make_record(tmp_path / "runs", "maml", draw_scores("n", 0.8), train_seed=1)
    assert isinstance(CliRunner().invoke(app, [*command, "--check"]).exception, FewshotError)


@pytest.mark.usefixtures("l2l")
def test_the_committed_table_is_up_to_date() -> None:
    """`fsbench leaderboard methods` changes nothing in methods/README.md, which has rows of the peer's methods."""
    write_readme(ROOT / "methods" / "README.md", find_records([ROOT / "leaderboard" / "results"]), check=True)
