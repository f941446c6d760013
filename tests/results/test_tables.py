"""Results are pooled and printed rightly, in every form."""

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from example_records import draw_scores, make_record
from scipy import stats

from fewshot_bench.errors import DataError
from fewshot_bench.results.pooling import pool
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.statistics import Interval, score_interval
from fewshot_bench.results.tables import interval_text, results_tables
from fewshot_bench.storage import write_json
from fewshot_bench.table import Cell, Column, Table, render

pytestmark = pytest.mark.usefixtures("records_of_any_length")

pd = pytest.importorskip("pandas")


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Two methods and a floor under `standard`, one of them with three seeds, and one more protocol."""
    seeds = [make_record(tmp_path, "maml", draw_scores(f"maml {seed}", 0.95), train_seed=seed) for seed in range(3)]
    return [
        *seeds,
        make_record(tmp_path, "prototypical-networks", draw_scores("p", 0.985), train_ways=60),
        make_record(tmp_path, "nearest-centroid", draw_scores("n", 0.55), train_updates=0, train_backbone=None),
        make_record(tmp_path, "maml", draw_scores("t", 0.98), test_protocol="standard-transductive"),
    ]


def one(records: list[Record]) -> Table:
    """The only table of some records."""
    (table,) = results_tables(records)
    return table


def column(table: Table, key: str) -> list[object]:
    """The values of one column, from the first row to the last."""
    return [row[key].value for row in table.rows]


def test_results_of_different_protocols_never_share_a_table(records: list[Record]) -> None:
    """Each protocol has a table of its own."""
    assert [table.about["protocol"] for table in results_tables(records)] == ["standard", "standard-transductive"]


@pytest.mark.parametrize(
    "change",
    [
        *({"test_dataset": "glyphs"}, {"test_ways": 20}, {"test_shots": 5}, {"metric": "mse", "direction": "min"}),
        *({"test_max_ways": 9}, {"test_max_shots": 5}, {"test_unlabelled": 5}),
    ],
)
def test_results_of_another_size_data_set_or_metric_have_a_table_of_their_own(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Data set, ways, shots, all that varies, unlabelled images and metric separate tables too."""
    scores = draw_scores("a", 0.9)
    others = make_record(tmp_path, "maml", scores, train_seed=1, **change)
    assert len(results_tables([make_record(tmp_path, "maml", scores), others])) == 2


@pytest.mark.parametrize("change", [{"source": "b" * 64}, {"scored_by": "b" * 64}, {"engine": 2}])
def test_results_of_other_code_are_no_seeds_of_one_row(tmp_path: Path, change: dict[str, object]) -> None:
    """Another source in training or in the test, or another engine; the rows say in what they differ."""
    first = make_record(tmp_path, "maml", draw_scores("a", 0.8))
    (table,) = results_tables([first, make_record(tmp_path, "maml", draw_scores("b", 0.2), train_seed=1, **change)])
    assert [row["seeds"].value for row in table.rows] == [1, 1]
    assert all(row["settings"].text for row in table.rows)


def test_seeds_are_pooled_over_crossed_episodes(records: list[Record]) -> None:
    """The row of three seeds holds the interval of their scores together."""
    row = next(row for row in results_tables(records)[0].rows if row["method"].value == "maml")
    expected = score_interval([record.scores(record.results[0]["id"]) for record in records[:3]], trials=75)
    assert (row["seeds"].value, row["low"].value, row["high"].value) == (3, expected.low, expected.high)


def test_a_single_seed_shows_scipys_interval_in_percent(tmp_path: Path) -> None:
    """The text is the mean and the half-width of Student's interval, in percent."""
    scores = draw_scores("a", 0.9)
    half = stats.sem(scores) * stats.t.ppf(0.975, len(scores) - 1)
    text = one([make_record(tmp_path, "maml", scores)]).rows[0]["mean"].text
    assert text == f"{100 * scores.mean():.2f} ± {100 * half:.2f}"


@pytest.mark.parametrize(
    "change",
    [
        {"train_hparams": {"inner_lr": 0.1}},
        {"source": "b" * 64},
        {"digest": "e" * 64},
        {"train_ways": 20},
        {"test_normalisation": "running"},
    ],
    ids=str,
)
def test_results_that_differ_in_more_than_the_seed_are_not_pooled(tmp_path: Path, change: dict[str, object]) -> None:
    """Another setting, source, normalisation or set of test episodes makes another row."""
    scores = draw_scores("a", 0.9)
    first = make_record(tmp_path, "maml", scores, test_protocol="custom")
    other = make_record(tmp_path, "maml", scores, train_seed=1, test_protocol="custom", **change)
    assert len(one([first, other]).rows) == 2


def test_results_of_other_test_episodes_are_not_ranked_together(tmp_path: Path) -> None:
    """Under a protocol that ranks they stand in tables of their own, which name the data: one name, other images."""
    scores = draw_scores("a", 0.9)
    records = [
        make_record(tmp_path, "maml", scores, train_seed=seed, digest=letter * 64) for seed, letter in enumerate("de")
    ]
    tables = results_tables(records)
    title = "omniglot [omniglot-v1], 5-way 1-shot, protocol standard"
    assert [table.title for table in tables] == [f"{title}, episodes {digest * 8}" for digest in "de"]
    assert [[row["rank"].value for row in table.rows] for table in tables] == [[1], [1]]


def test_options_of_the_data_stand_in_the_title(tmp_path: Path) -> None:
    """And such results in a table of their own."""
    scores = draw_scores("a", 0.9)
    records = [make_record(tmp_path, "maml", scores, test_data=data, train_data=data) for data in ({}, {"split": "lake"})]
    assert [table.about["dataset"] for table in results_tables(records)] == ["omniglot", "omniglot (split=lake)"]


def test_different_test_episodes_are_said_in_a_note(tmp_path: Path) -> None:
    """A reader learns that rows were not tested on the same episodes."""
    scores = draw_scores("a", 0.9)
    of = {"test_protocol": "custom"}
    records = [make_record(tmp_path, "maml", scores, train_seed=i, digest=d * 64, **of) for i, d in enumerate("de")]
    assert "2 different sets" in one(records).notes[0]


def test_rows_that_look_alike_say_in_what_they_differ(tmp_path: Path) -> None:
    """Two trainings of one method are told apart by the setting that differs."""
    first = make_record(tmp_path, "maml", draw_scores("a", 0.9))
    second = make_record(tmp_path, "maml", draw_scores("b", 0.8), train_hparams={"inner_lr": 0.1})
    assert [row["settings"].text for row in one([first, second]).rows] == ["inner_lr=0.4", "inner_lr=0.1"]


def test_training_on_validation_classes_is_said(tmp_path: Path) -> None:
    """Beside the size of the training episodes; a row trained on `train` alone says nothing."""
    names = {"train": "matching-networks", "train+val": "prototypical-networks"}
    records = [make_record(tmp_path, name, draw_scores(name, 0.9), train_split=split) for split, name in names.items()]
    rows = {row["method"].value: row["trained"].text for row in one(records).rows}
    assert rows == {"matching-networks": "5-way 1-shot", "prototypical-networks": "5-way 1-shot of train+val"}


def test_one_training_under_several_seeds_counts_once(tmp_path: Path) -> None:
    """Two trainings never score alike in every episode; a method that is not trained does."""
    copied, untrained = draw_scores("copied", 0.9), draw_scores("untrained", 0.5)
    for seed in range(3):
        make_record(tmp_path, "maml", copied, train_seed=seed)
        make_record(tmp_path, "nearest-centroid", untrained, train_seed=seed, train_updates=0)
    table = one([load_record(path) for path in sorted(tmp_path.iterdir())])
    assert {row["method"].value: row["seeds"].value for row in table.rows} == {"maml": 1, "nearest-centroid": 3}
    assert any("seed 1, 2 has the weights, or the scores in every episode, of another seed" in note for note in table.notes)


def test_the_best_and_its_ties_are_marked(tmp_path: Path) -> None:
    """Compared in pairs: the second's own interval overlaps the first's, and yet it is not tied."""
    scores = draw_scores("a", 0.8)
    below, around = np.tile([0, 1], 100), np.repeat([-1, 1], [101, 99])
    for name, values in {"maml": scores, "anil": scores - below / 75, "reptile": scores + around / 75}.items():
        make_record(tmp_path, name, values)
    rows = {row["method"].value: row for row in one([*map(load_record, sorted(tmp_path.iterdir()))]).rows}
    assert {name: row["best"].value for name, row in rows.items()} == {"maml": "best", "anil": None, "reptile": "tied"}
    assert rows["anil"]["high"].value > rows["maml"]["low"].value


def test_a_run_that_is_found_twice_counts_once(tmp_path: Path) -> None:
    """A copy of a record is no second seed."""
    scores = draw_scores("a", 0.9)
    records = [make_record(tmp_path / folder, "maml", scores) for folder in ("here", "there")]
    assert column(one(records), "seeds") == [1]


def test_a_seed_that_is_found_under_two_run_ids_counts_once(tmp_path: Path) -> None:
    """The same training, recorded under two schemas, is no second seed."""
    first, second = (make_record(tmp_path / folder, "maml", draw_scores("a", 0.9)) for folder in ("here", "there"))
    renamed = replace(second, content=second.content | {"run_id": "0" * 12})
    assert column(one([first, renamed]), "seeds") == [1]


def test_the_order_of_records_changes_nothing(records: list[Record]) -> None:
    """Tables are the same whichever record is read first."""
    assert render(results_tables(records), "json") == render(results_tables(records[::-1]), "json")


@pytest.mark.parametrize(("direction", "best"), [("max", 0.9), ("min", 0.1)])
def test_the_best_result_comes_first(tmp_path: Path, direction: str, best: float) -> None:
    """Rows are sorted by the direction of their metric."""
    metric = "accuracy" if direction == "max" else "mse"
    made = [
        make_record(tmp_path, f"m{mean}", draw_scores(f"{mean}", mean), metric=metric, direction=direction)
        for mean in (0.5, 0.9, 0.1)
    ]
    assert column(one(made), "mean")[0] == pytest.approx(best, abs=0.02)


def test_only_the_standard_protocol_ranks(records: list[Record]) -> None:
    """Ranks stand in the standard table alone."""
    standard, transductive = results_tables(records)
    assert (column(standard, "rank"), column(transductive, "rank")) == ([1, 2, 3], [None])


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.9534, 0.9519, 0.9549), "95.34 ± 0.15"),
        ((1.0, 0.9998, 1.0), "100.00 (99.98–100.00)"),
        ((0.99999, 0.99998, 1.0), "99.999 ± 0.001"),
    ],
)
def test_an_interval_is_never_printed_as_zero(interval: tuple[float, float, float], text: str) -> None:
    """Decimals grow with the need, and asymmetric intervals show their ends."""
    assert interval_text(Interval(*interval, method=""), "accuracy") == text


def test_the_text_fits_a_terminal_of_80_columns(records: list[Record]) -> None:
    """No line of the text form is longer than 80 characters."""
    assert max(map(len, render(results_tables(records), "text").splitlines())) <= 80


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json"])
def test_every_form_holds_every_method_run_and_protocol(records: list[Record], form: str) -> None:
    """No form loses a row or what it rests on."""
    text = render(results_tables(records), form)  # type: ignore[arg-type]
    wanted = ["nearest-centroid", "prototypical-networks", "maml", "standard-transductive", "200", records[3].run_id]
    assert [word for word in wanted if word not in text] == []


def test_pandas_reads_the_csv_back_as_numbers(records: list[Record]) -> None:
    """One tidy table: a header, a row a result, accuracies in [0, 1]."""
    frame = pd.read_csv(io.StringIO(render(results_tables(records), "csv")))
    assert frame["mean"].tolist() == [row["mean"].value for table in results_tables(records) for row in table.rows]


def test_json_holds_the_values_and_the_definitions(records: list[Record]) -> None:
    """The JSON form can be read by a machine and understood by a person."""
    table = json.loads(render(results_tables(records), "json"))["tables"][0]
    assert all(column["definition"] for column in table["columns"])
    assert all(first["mean"] > second["mean"] for first, second in pairwise(table["rows"]))


def strange(text: str) -> Table:
    """A table of one cell."""
    return Table("t", [Column("a", "a", "d", leads=True)], [{"a": Cell.of(text)}])


def test_latex_escapes_what_it_would_execute() -> None:
    """Every special character of LaTeX arrives as itself."""
    assert r"\textbackslash{}input\{x\}\_\%\&\#\$\textasciitilde{}\textasciicircum{}" in strange(r"\input{x}_%&#$~^").latex()


def test_markdown_keeps_a_cell_in_its_column() -> None:
    """A pipe in a name does not begin a new column, and a tag is no tag."""
    assert r"| a\|b&lt;i&gt; |" in strange("a|b<i>").markdown()


def test_control_characters_of_a_record_do_not_reach_the_terminal() -> None:
    """An escape sequence in a method's name is shown, not obeyed."""
    assert "\x1b" not in strange("\x1b[2Jx").text()


def test_a_table_without_rows_can_still_be_printed() -> None:
    """Header and title are enough."""
    assert Table("empty", [Column("a", "a", "d", leads=True)], []).text() == "empty\n\na\n-\n"


def test_no_records_give_no_csv() -> None:
    """Nothing to say is said with nothing."""
    assert render([], "csv") == ""


@pytest.mark.parametrize("part", ["train", "method", "data", "provenance"])
def test_a_record_without_a_part_is_named(tmp_path: Path, part: str) -> None:
    """A damaged record is refused with its folder and what it lacks."""
    record = make_record(tmp_path, "maml", np.ones(3))
    content = {name: value for name, value in record.content.items() if name != part}
    write_json(record.folder / "record.json", content)
    with pytest.raises(DataError, match=f"{record.folder.name}.*{part} is missing"):
        load_record(record.folder)


def test_a_record_of_the_first_schema_pools_with_one_of_this(tmp_path: Path) -> None:
    """It says nothing of the precision, which was then the highest: two seeds of one method stand in one row."""
    new = make_record(tmp_path, "maml", draw_scores("0", 0.9), train_seed=0, train_precision="highest")
    old = make_record(tmp_path, "maml", draw_scores("1", 0.9), train_seed=1)
    write_json(old.folder / "record.json", {**old.content, "schema": 1})
    ((pooled,), _) = pool([new, load_record(old.folder)])
    assert len(pooled.runs) == 2
