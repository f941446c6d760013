"""A record is a stranger's file: whatever stands in it makes no traceback, and no number that is silently wrong."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Said, call
from example_records import draw_scores, make_record
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.request import TestRequest
from fewshot_bench.results.parquet_sizes import column_chunks
from fewshot_bench.results.pooling import conflicts_of
from fewshot_bench.results.record_folders import Reading
from fewshot_bench.results.records import find_records, load_record
from fewshot_bench.results.tables import boards
from fewshot_bench.runs.retest import resolve_test
from fewshot_bench.table import render
from fewshot_leaderboard.comparison import comparison_tables
from fewshot_leaderboard.page import page_of

pytestmark = pytest.mark.usefixtures("records_of_any_length")

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
REAL = {name: next(RESULTS.glob(f"{name}-*")) for name in ("maml-omniglot", "maml-sinusoid", "prototypical-networks-glyphs")}
"""Records of two results, of functions, and of one whose data need no files."""

LONG = "a" * 10**6
BAD: list[Any] = [None, [], {}, "x", "", float("nan"), float("inf"), "\ud800", 0, -1, 0.5, True, 10**400, "\x1b[31m"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a JSON value stands."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield from places(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with another one in one place."""
    if not path:
        return new
    copied = copy.deepcopy(value)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copied


def plant(folder: Path, content: Any, scores: bytes) -> Path:
    """A record whose content is any JSON value, or any text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "record.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    (folder / "episodes.parquet").write_bytes(scores)
    return folder


def read_by_all(folder: Path) -> str:
    """What every reader of records does with one: `damaged` if it is left out, else `read`; whatever comes must be ours."""
    left_out: list[DataError] = []
    records = find_records([folder], left_out.append)
    for error in left_out:
        assert str(folder) in str(error) and len(str(error).splitlines()) == 1 and str(error).isprintable()
    if not records:
        return "damaged"
    found, conflicts = boards(records)
    tables = [board.table for board in found]
    for form in ("text", "markdown", "csv", "latex", "json"):
        assert all(character.isprintable() or character == "\n" for character in render(tables, form))
    page_of(found, conflicts).encode("utf-8")
    render(comparison_tables(records), "markdown")
    try:
        resolve_test(folder, TestRequest(device="cpu"))
    except FewshotError as error:
        assert str(error)
    return "read"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What a recipe gives today takes long to resolve, and is tested elsewhere."""
    monkeypatch.setattr("fewshot_leaderboard.measured.resolve", lambda request: pytest.fail("not to be resolved"))
    monkeypatch.setattr("fewshot_leaderboard.measured.made_by_another_version", lambda content: False)
    monkeypatch.setattr("fewshot_leaderboard.explained._paper_recipe", lambda row: "")
    if "ids" not in request.fixturenames:  # whoever changes a record can compute its ids again
        monkeypatch.setattr("fewshot_bench.results.record_checks._check_ids", lambda content: None)


@pytest.fixture
def ids() -> None:
    """Ids are checked."""


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("run_id",), "0" * 12, "run_id is not that of its training"),
        (("train", "seed"), 7, "run_id is not that of its training"),
        (("method", "source_sha256"), "0" * 64, "run_id is not that of its training"),
        (("data", "identity"), "another", "run_id is not that of its training"),
        (("engine",), 9, "run_id is not that of its training"),
        (("results", 0, "id"), "0" * 12, "is not that of its test"),
        (("results", 0, "test", "shots"), 2, "is not that of its test"),
        (("results", 0, "source_sha256"), "0" * 64, "is not that of its test"),
        (("results", 0, "engine"), 9, "is not that of its test"),
    ],
)
def test_an_id_that_is_not_of_what_the_record_says_is_refused(
    path: tuple[Any, ...], new: Any, said: str, ids: None, tmp_path: Path
) -> None:
    """Else one run counts as two seeds."""
    source = REAL["prototypical-networks-glyphs"]
    content = changed(json.loads((source / "record.json").read_text()), path, new)
    with pytest.raises(DataError, match=said):
        load_record(plant(tmp_path, content, (source / "episodes.parquet").read_bytes()))


@pytest.mark.parametrize("name", REAL)
def test_every_field_replaced_by_anything_makes_no_traceback(name: str, tmp_path: Path) -> None:
    """Each field of a real record, by what stands in no record; the unharmed one is read."""
    content = json.loads((REAL[name] / "record.json").read_text())
    scores = (REAL[name] / "episodes.parquet").read_bytes()
    assert read_by_all(plant(tmp_path / "whole", content, scores)) == "read"
    everywhere = list(places(content))
    for number, path in enumerate(everywhere):
        new = [*BAD, LONG][number % (len(BAD) + 1)]
        read_by_all(plant(tmp_path / "bad", changed(content, path, new), scores))


JSON = st.recursive(
    st.integers() | st.floats() | st.text(st.characters(), max_size=20) | st.sampled_from(BAD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_json_document_makes_a_traceback(data: st.DataObject, tmp_path: Path) -> None:
    """A real record with anything in the place of any parts of it, keys removed, or no record at all."""
    source = REAL[data.draw(st.sampled_from(sorted(REAL)))]
    content = json.loads((source / "record.json").read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        content = changed(content, data.draw(st.sampled_from(list(places(content)))), data.draw(JSON))
    read_by_all(plant(tmp_path / "bad", content, (source / "episodes.parquet").read_bytes()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_a_traceback(content: bytes, tmp_path: Path) -> None:
    """In the place of either file."""
    folder = plant(tmp_path / "bad", "{}", content)
    (folder / "record.json").write_bytes(content)
    assert read_by_all(folder) == "damaged"
    source = REAL["prototypical-networks-glyphs"]
    assert read_by_all(plant(folder, (source / "record.json").read_text(), content)) == "damaged"


REAL_TEXT = (REAL["prototypical-networks-glyphs"] / "record.json").read_text()
TEXTS = {
    "empty": ("", "damaged, or not JSON"),
    "a list": ("[]", "no schema"),
    "deep": ("[" * 200_000 + "]" * 200_000, "nested too deep"),
    "deep inside": (REAL_TEXT.replace('"schema": 4', '"schema": 4, "more": ' + "[" * 50 + "]" * 50), "nested too deep"),
    "a number of 400 digits": (REAL_TEXT.replace('"seed": 0', '"seed": ' + "1" * 400), "too large a number"),
    "a number of 5,000 digits": (REAL_TEXT.replace('"seed": 0', '"seed": ' + "1" * 5000), "damaged"),
    "an infinite number": (REAL_TEXT.replace('"schema": 4', '"schema": 4, "more": 1e999'), "no finite number"),
    "a key twice": (REAL_TEXT.replace('"schema": 4', '"schema": 4, "schema": 4'), "'schema' is there twice"),
    "half a character": (REAL_TEXT.replace('"schema": 4', '"schema": 4, "\\ud800": 0'), "half a character"),
    "a long name": (REAL_TEXT.replace('"protocol": "standard"', f'"protocol": "{"x" * 10**6}"'), "characters"),
    "too many bytes": (" " * (5 * 2**20) + REAL_TEXT, "more than 4,194,304 bytes"),
    "a key that is not known": (REAL_TEXT.replace('"seed": 0', '"seed": 0, "sed": 1'), "sed is a key that this version"),
    "another direction": (REAL_TEXT.replace('"max"', '"min"'), "direction of accuracy is max"),
    "another metric": (REAL_TEXT.replace('"accuracy"', '"f1"'), "'accuracy' or 'mse'"),
    "another mean": (REAL_TEXT.replace('"mean": 0.', '"mean": 0.1'), "mean"),
    "a true schema": (REAL_TEXT.replace('"schema": 4', '"schema": true'), "no schema"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_record_that_cannot_be_is_named_with_its_fault(name: str, tmp_path: Path) -> None:
    """One line with folder and fault, whatever is wrong; nothing of it is counted."""
    text, fault = TEXTS[name]
    plant(tmp_path / "bad", text, (REAL["prototypical-networks-glyphs"] / "episodes.parquet").read_bytes())
    with pytest.raises(DataError, match=fault) as told:
        find_records([tmp_path])
    assert str(tmp_path / "bad") in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
def test_what_is_no_file_is_not_read(kind: str, tmp_path: Path) -> None:
    """A pipe would never end."""
    import os

    (tmp_path / "bad").mkdir()
    path = tmp_path / "bad" / "record.json"
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "loop": lambda: path.symlink_to(path)}[kind]()
    with pytest.raises(DataError):
        load_record(tmp_path / "bad")


SCORES = draw_scores("m", 0.9)


def episodes(tmp_path: Path, **columns: Any) -> DataError:
    """The fault of a record of 200 episodes whose `episodes.parquet` has these columns in place of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    rows = 200 if columns.get("score") is None else len(columns["score"])
    own = {"result": [record.results[0]["id"]] * rows, "episode": np.arange(rows, dtype=np.int32), "score": SCORES}
    written = {name: one for name, one in (own | columns).items() if one is not None}
    pq.write_table(pa.table(written), record.folder / "episodes.parquet", compression="zstd")
    with pytest.raises(DataError) as told:
        find_records([tmp_path])
    assert str(record.folder) in str(told.value) and len(str(told.value).splitlines()) == 1
    return told.value


COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "not a number": ({"score": np.where(np.arange(200) == 7, np.nan, SCORES)}, "not finite"),
    "infinite": ({"score": np.where(np.arange(200) == 7, np.inf, SCORES)}, "not finite"),
    "above one": ({"score": np.where(np.arange(200) == 7, 1.2, SCORES)}, "no accuracy"),
    "below zero": ({"score": np.where(np.arange(200) == 7, -0.2, SCORES)}, "no accuracy"),
    "no share of the queries": ({"score": np.where(np.arange(200) == 7, 0.123, SCORES)}, "no share of the queries"),
    "a missing score": ({"score": [None, *SCORES[1:]]}, "a value is missing"),
    "single precision": ({"score": SCORES.astype(np.float32)}, "not of DOUBLE"),
    "scores in lists": ({"score": [[one] for one in SCORES]}, "no column score"),
    "no scores": ({"score": None}, "no column score"),
    "texts for episodes": ({"episode": ["x"] * 200}, "not of INT32"),
    "episodes in another order": ({"episode": np.arange(200, dtype=np.int32)[::-1]}, "not in order"),
    "another result": ({"result": ["f" * 12] * 200}, "0 in place of 200 episodes"),
    "numbers for results": ({"result": np.arange(200)}, "not of BYTE_ARRAY"),
    "as many results as episodes": ({"result": [f"{i}" for i in range(200)]}, "not in order"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_scores_that_cannot_be_are_named(name: str, tmp_path: Path) -> None:
    """Folder and fault in one line."""
    columns, fault = COLUMNS[name]
    assert fault in str(episodes(tmp_path, **columns))


@pytest.mark.parametrize("rows", [199, 201])
def test_another_number_of_episodes_than_stated_is_named(rows: int, tmp_path: Path) -> None:
    """Fewer or more."""
    assert f"{rows} in place of 200 episodes" in str(episodes(tmp_path, score=np.ones(rows)))


def test_a_small_file_of_millions_of_rows_is_not_unpacked(tmp_path: Path) -> None:
    """Five million equal rows take a few kilobytes: what the file says of itself is compared with the record first."""
    import pyarrow as pa

    many = 5_000_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(many, dtype=np.int8)), pa.array(["x"]))
    told = episodes(tmp_path, result=texts, episode=np.zeros(many, dtype=np.int32), score=np.zeros(many))
    assert "5,000,000 rows, at most 200,200" in str(told)


def test_a_small_file_of_one_huge_text_is_not_unpacked(tmp_path: Path) -> None:
    """A text of 50 million letters takes some kilobytes, and stands in a dictionary once."""
    import pyarrow as pa

    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200, dtype=np.int8)), pa.array(["x" * 50_000_000]))
    assert "far more than its rows" in str(episodes(tmp_path, result=texts))


@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
@example(place=742, byte=0)  # in the name of column `result`
@example(place=409, byte=25)  # a column without a description, for which pyarrow ends the process
@example(place=717, byte=0)
def test_a_file_with_another_byte_is_read_or_named(place: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever it stands: in a page, its header, or what the file says of itself."""
    source = REAL["prototypical-networks-glyphs"]
    scores = bytearray((source / "episodes.parquet").read_bytes())
    scores[-1 - place % len(scores)] = byte
    folder = tmp_path_factory.mktemp("bad")
    plant(folder, (source / "record.json").read_text(), bytes(scores))
    left_out: list[DataError] = []
    find_records([folder], left_out.append)
    assert all(str(folder) in str(error) for error in left_out)


def test_columns_lie_where_pyarrow_says() -> None:
    """The footer is read by code of ours, because pyarrow ends the process where a column has no description."""
    from pyarrow import parquet

    for source in REAL.values():
        chunks, metadata = (
            column_chunks((source / "episodes.parquet").read_bytes()),
            parquet.read_metadata(source / "episodes.parquet"),
        )
        columns = [
            [metadata.row_group(g).column(i) for i in range(metadata.num_columns)] for g in range(metadata.num_row_groups)
        ]
        assert chunks == [
            [(one.total_compressed_size, one.data_page_offset, one.dictionary_page_offset) for one in group]
            for group in columns
        ]


def test_a_missing_file_of_scores_is_named_with_what_it_holds(tmp_path: Path) -> None:
    """`episodes.parquet`."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    (record.folder / "episodes.parquet").unlink()
    with pytest.raises(DataError, match=r"episodes\.parquet is missing: it holds the score of each test episode"):
        find_records([tmp_path])


READERS = {
    "table": lambda root, out: ("table", root),
    "list runs": lambda root, out: ("list", "runs", "--out", root),
    "leaderboard build": lambda root, out: ("leaderboard", "build", root, "--out", out),
    "leaderboard reproduction": lambda root, out: ("leaderboard", "reproduction", root, "--out", out / "reproduction.md"),
    "leaderboard methods": lambda root, out: ("leaderboard", "methods", root, "--out", readme(out)),
}


def readme(folder: Path) -> Path:
    """A text that tables can be written into."""
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text("<!-- table -->\n<!-- /table -->\n")
    return folder / "README.md"


@pytest.fixture
def some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two good records and three damaged ones."""
    monkeypatch.setattr("fewshot_leaderboard.methods_table.methods_table", lambda: comparison_tables([])[0])
    root = tmp_path / "runs"
    make_record(root, "maml", draw_scores("m", 0.9))
    make_record(root, "reptile", draw_scores("r", 0.8))
    for name, content in (("empty", ""), ("list", "[]"), ("cut", REAL_TEXT[:500])):
        plant(root / name, content, b"")
    return root


@pytest.mark.parametrize("command", READERS)
def test_damaged_records_are_left_out_and_named(command: str, some: Path, tmp_path: Path) -> None:
    """Exit 3 at the end; the good ones are on stdout or in the page all the same."""
    said = call(*READERS[command](some, tmp_path / "out"))
    assert said.code == 3, said.err
    for name in ("empty", "list", "cut"):
        assert str(some / name) in said.complaint
    written = said.out + "".join(path.read_text() for path in (tmp_path / "out").rglob("*.*"))
    assert "maml" in written or command == "list runs"
    assert said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize("command", READERS)
def test_where_no_record_can_be_read_nothing_is_printed(command: str, some: Path, tmp_path: Path) -> None:
    """Exit 3. `list runs` lists them as what they are."""
    for path in some.rglob("record.json"):
        path.write_text("{}")
    said = call(*READERS[command](some, tmp_path / "out"))
    others = [line for line in said.out.splitlines() if command != "list runs" or "  damaged  " not in line]
    assert (said.code, others) == (3, [])
    assert "No record can be read" in said.complaint


def two_of_one_run(root: Path) -> tuple[Path, Path]:
    """Two records of one run with different scores, one much better, beside a record of another method."""
    make_record(root / "c", "reptile", draw_scores("r", 0.8))
    honest = make_record(root / "a", "maml", draw_scores("honest", 0.9))
    forged = make_record(root / "b", "maml", draw_scores("forged", 0.99))
    assert honest.run_id == forged.run_id
    return honest.folder, forged.folder


@pytest.mark.parametrize("command", READERS)
def test_of_two_records_that_contradict_each_other_none_is_counted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3; both folders are named, and neither number is shown."""
    monkeypatch.setattr("fewshot_leaderboard.methods_table.methods_table", lambda: comparison_tables([])[0])
    root = tmp_path / "runs"
    folders = two_of_one_run(root)
    said = call(*READERS[command](root, tmp_path / "out"))
    assert said.code == 3
    for folder in folders:
        assert str(folder) in said.complaint
    written = said.out + "".join(path.read_text() for path in (tmp_path / "out").rglob("*.*"))
    numbers = [f"{100 * load_record(folder).scores(load_record(folder).results[0]['id']).mean():.2f}" for folder in folders]
    assert not any(number in written for number in numbers)


def test_the_page_names_what_it_does_not_count(tmp_path: Path) -> None:
    """By the folders' names, wherever they lie."""
    folders = two_of_one_run(tmp_path / "runs")
    html = page_of(*boards(find_records([tmp_path / "runs"])))
    assert "Not counted" in html and all(folder.name in html for folder in folders)
    assert str(tmp_path) not in html


def test_a_run_id_of_another_training_is_a_conflict(tmp_path: Path) -> None:
    """A record that takes the ids of an honest one, with a training of its own, does not stand beside it."""
    honest = make_record(tmp_path / "a", "maml", draw_scores("m", 0.9))
    other = make_record(tmp_path / "b", "maml", draw_scores("m", 0.9), train_updates=9)
    forged = json.loads((other.folder / "record.json").read_text())
    forged["run_id"], forged["results"][0]["id"] = honest.run_id, honest.results[0]["id"]
    (other.folder / "record.json").write_text(json.dumps(forged))
    reading = Reading.of([tmp_path])
    if not reading.left_out:
        assert len(conflicts_of(reading.records)) == 1


def test_a_stored_mean_that_is_not_that_of_the_scores_is_damage(tmp_path: Path) -> None:
    """`list runs` would show it; the recomputed one is the only one."""
    source = REAL["prototypical-networks-glyphs"]
    content = json.loads((source / "record.json").read_text())
    content["results"][0] |= {"mean": 0.999, "low": 0.99, "high": 1.0}
    plant(tmp_path / "bad", content, (source / "episodes.parquet").read_bytes())
    said = call("list", "runs", "--out", tmp_path)
    assert said.code == 3
    assert said.out.startswith("bad  damaged  ")
    assert said.out.count("\n") == 1
    assert "%" not in said.out
    assert "where the record says 0.999" in said.complaint


MISSING = ["mean", "low", "high", "level", "interval", "cost"]
STATED: dict[str, Any] = {"low": 0.01, "high": 0.99, "level": 0.5, "interval": "99% t-interval over 9 episodes"}


@pytest.mark.parametrize("key", MISSING)
def test_a_result_without_what_every_result_has_is_damage(key: str, tmp_path: Path) -> None:
    """Without its mean nothing would tell edited scores."""
    source = REAL["prototypical-networks-glyphs"]
    content = json.loads((source / "record.json").read_text())
    del content["results"][0][key]
    with pytest.raises(DataError, match=rf"results\.0\.{key} is missing"):
        load_record(plant(tmp_path, content, (source / "episodes.parquet").read_bytes()))


@pytest.mark.parametrize("key", STATED)
def test_a_stated_interval_that_is_not_that_of_the_scores_is_damage(key: str, tmp_path: Path) -> None:
    """Each part of it is computed again."""
    source = REAL["prototypical-networks-glyphs"]
    content = json.loads((source / "record.json").read_text())
    content["results"][0][key] = STATED[key]
    with pytest.raises(DataError, match="where the record says"):
        find_records(plant(tmp_path, content, (source / "episodes.parquet").read_bytes()))


@pytest.mark.parametrize("key", ["training", "cost"])
def test_a_record_without_what_every_record_has_is_damage(key: str, tmp_path: Path) -> None:
    """As its results."""
    source = REAL["prototypical-networks-glyphs"]
    content = json.loads((source / "record.json").read_text())
    del content[key]
    with pytest.raises(DataError, match=f"{key} is missing"):
        load_record(plant(tmp_path, content, (source / "episodes.parquet").read_bytes()))


def test_a_record_that_names_two_methods_is_damage(tmp_path: Path) -> None:
    """The id is of `train.method`, and a table shows `method.name`."""
    source = REAL["prototypical-networks-glyphs"]
    content = json.loads((source / "record.json").read_text())
    content["method"]["name"] = "maml"
    with pytest.raises(DataError, match=r"method\.name 'maml' is not train\.method"):
        load_record(plant(tmp_path, content, (source / "episodes.parquet").read_bytes()))


def test_runs_are_listed_with_the_mean_that_the_table_has(tmp_path: Path) -> None:
    """One number everywhere, recomputed from the scores."""
    record = make_record(tmp_path, "maml", draw_scores("m", 0.9))
    mean = f"{100 * record.scores(record.results[0]['id']).mean():.2f}"
    assert f"{mean} % omniglot standard" in call("list", "runs", "--out", tmp_path).out
    assert mean in call("table", tmp_path).out


EVIL = "\x1b[2J\u202eevil\u200b\n=cmd|x"


@pytest.mark.parametrize("style", ["text", "markdown", "csv", "latex", "json", "list", "list --json", "show", "page"])
def test_nothing_that_moves_a_terminal_leaves_a_record(style: str, tmp_path: Path) -> None:
    """Protocol, data set, method, backbone, options and folder's name."""
    changes: dict[str, Any] = {
        "train_backbone": EVIL,
        "train_hparams": {EVIL: EVIL},
        "test_protocol": EVIL,
        "test_dataset": EVIL,
        "test_data": {EVIL: EVIL},
    }
    record = make_record(tmp_path, EVIL, draw_scores("m", 0.9), **changes)
    make_record(tmp_path, EVIL, draw_scores("n", 0.9), **changes | {"train_hparams": {EVIL: 1}})
    record.folder.rename(tmp_path / EVIL)
    said = {
        "list": lambda: call("list", "runs", "--out", tmp_path),
        "list --json": lambda: call("list", "runs", "--json", "--out", tmp_path),
        "show": lambda: call("show", EVIL, "--out", tmp_path),
        "page": lambda: Said(0, page_of(*boards(find_records([tmp_path]))), ""),
    }.get(style, lambda: call("table", tmp_path, "--format", style))()
    assert said.code == 0, said.err
    assert "evil" in said.out
    assert all(character.isprintable() or character == "\n" for character in said.out + said.err)
    assert "\n=cmd" not in said.out


@pytest.mark.parametrize(
    "errors",
    [
        *([0.0, 0.0], [1e150, 1e150], [1e150, 0.0], [1e-300, 2e-300], [5e-324, 0.0], [1e16, 1e16 + 2], [0.5, 0.5 + 1e-16]),
        *([1e-12, 0.0], [1e-12, 3e-12], [1e100, 1.0, 1e-100]),
    ],
    ids=str,
)
def test_errors_of_any_size_make_a_table_and_a_page(errors: list[float], tmp_path: Path) -> None:
    """From the smallest float to what is still read, alone and beside an ordinary one."""
    changes: dict[str, Any] = {"metric": "mse", "direction": "min", "test_protocol": "custom", "test_ways": 1}
    make_record(tmp_path, "maml", np.array(errors), **changes)
    assert read_by_all(tmp_path) == "read"
    make_record(tmp_path, "reptile", np.linspace(0.1, 0.9, len(errors)), **changes)
    assert read_by_all(tmp_path) == "read"


def test_an_error_whose_square_is_no_number_is_named(tmp_path: Path) -> None:
    """Its interval would be none."""
    make_record(tmp_path, "maml", np.array([1e200, 1.0]), metric="mse", direction="min")
    with pytest.raises(DataError, match="one is no mse"):
        find_records([tmp_path])
