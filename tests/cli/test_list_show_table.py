"""`fsbench list`, `show` and `table`: what is there, and what was measured."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import NAMED, PIXELS, TINY, call, finished, only_run

from fewshot_bench.plugins import registry
from fewshot_bench.results.records import find_records, load_record
from fewshot_bench.results.statistics import score_interval
from fewshot_methods.backbones.mlp import Mlp


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seeds of a trained method, one of them with a second result, and the pixels."""
    folder: Path = tmp_path_factory.mktemp("runs")
    finished(*TINY, "--seeds", "0-1", "--out", folder)
    finished(*PIXELS, "--queries", "5", "--out", folder)
    seed0 = next(record for record in find_records([folder]) if record.content["train"]["updates"])
    finished("test", seed0.folder, *NAMED, "--shots", "2")
    return folder


def tables_of(*folders: Path) -> list[dict[str, Any]]:
    """The tables of the records in some folders, as JSON gives them."""
    tables: list[dict[str, Any]] = json.loads(finished("table", *folders, "--json").out)["tables"]
    return tables


@pytest.mark.parametrize("group", ["methods", "datasets"])
def test_everything_registered_is_listed_with_its_title(group: str) -> None:
    """As text a line each (below it, indented, what is missing), as JSON with the distribution."""
    text, rows = finished("list", group).out, json.loads(finished("list", group, "--json").out)
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [row["name"] for row in rows] == sorted(registry.registered(group))
    for row, line in zip(rows, lines, strict=True):
        assert line.split()[0] == row["name"]
        assert row["title"]
        assert line.endswith(row["title"])
        assert row["distribution"]


@pytest.mark.parametrize("group", ["methods", "datasets"])
def test_every_installed_plugin_can_be_imported(group: str) -> None:
    """`list --check` imports them and finds no error."""
    assert not any("error" in row for row in json.loads(finished("list", group, "--check", "--json").out))


def test_every_backbone_is_listed_with_its_options_and_features() -> None:
    """Its name and what it is; below, the size of its embeddings and what `--set backbone.options` can set."""
    text, rows = finished("list", "backbones").out, json.loads(finished("list", "backbones", "--json").out)
    found = {row["name"]: row for row in rows}
    assert list(found) == sorted(registry.registered("backbones"))
    assert all(row["title"] and row["distribution"] for row in rows)
    assert found["conv4-64"]["features"] == {"28x28": 64, "84x84": 1600}
    assert found["conv4-64"]["options"]["filters"] == 64
    assert found["mlp-40"]["features"] == {"a point": 40}
    assert "features: 64 of 28x28, 1,600 of 84x84" in text


def test_an_option_that_is_listed_can_be_set() -> None:
    """The option's name and value are those of `--set backbone.options`."""
    setting = ("--backbone", "conv4-64", "--set", "backbone.options.filters=16")
    plan = json.loads(finished("run", "--method", "prototypical-networks", *setting, "--dry-run", "--json").out)[0]
    assert plan["train"]["backbone"] == {"name": "conv4-64", "options": {"filters": 16}}


def test_a_backbone_that_cannot_be_built_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are listed as ever, and the command fails."""

    def refuses(input_shape: tuple[int, ...]) -> None:
        raise RuntimeError("no weights here")

    broken = registry.Plugin("broken", "backbones", "broken:refuses", "broken 1.0")
    whole = registry.find("backbones", "mlp-40")
    every = registry.registered
    monkeypatch.setattr(registry, "registered", lambda g: {"broken": broken, "mlp": whole} if g == "backbones" else every(g))
    monkeypatch.setattr(registry.Plugin, "load", lambda self: refuses if self is broken else Mlp)
    said = call("list", "backbones")
    assert said.code == 1
    assert "no weights here" in said.out
    assert "features: 40 of a point" in said.out


def test_finished_runs_are_listed_with_their_results(out: Path) -> None:
    """Name, seed, and each result with its protocol and size."""
    rows = {row["run"]: row for row in json.loads(finished("list", "runs", "--out", out, "--json").out)}
    text = finished("list", "runs", "--out", out).out
    for record in find_records([out]):
        row = rows.pop(record.folder.name)
        assert row["seed"] == record.content["train"]["seed"]
        assert len(row["results"]) == len(record.results)
        for words, result in zip(row["results"], record.results, strict=True):
            assert words == f"{100 * result['mean']:.2f} % glyphs custom 5-way {result['test']['shots']}-shot"
            assert words in text
    assert rows == {}


def test_no_runs_are_said_to_be_none(tmp_path: Path) -> None:
    """An empty answer is an answer, in JSON too."""
    assert "No runs" in finished("list", "runs", "--out", tmp_path / "none").out
    assert json.loads(finished("list", "runs", "--out", tmp_path / "none", "--json").out) == []


def test_a_method_is_shown_with_what_it_declares_its_hyper_parameters_and_recipes() -> None:
    """Text and JSON say the same, but that the text names what each recipe is for and holds none of them whole."""
    shown = json.loads(finished("show", "maml", "--json").out)
    read = yaml.safe_load(finished("show", "maml").out)
    comments = {key: shown[key] for key in ("meanings", "types")}
    assert read | comments == shown | {"recipes": read["recipes"]}
    assert shown["types"]["inner_lr"] == "number > 0"
    assert read["recipes"]["short"] == ["omniglot"]
    assert {name: len(entries) for name, entries in read["recipes"].items()} == {
        name: len(entries) for name, entries in shown["recipes"].items()
    }
    assert "1703.03400" in shown["paper"]
    assert shown["hyper-parameters"]["first_order"] is False
    assert shown["declares"]["fixed ways"] is True
    assert {"default", "paper"} <= set(shown["recipes"])


def test_one_recipe_is_shown_whole() -> None:
    """Its entries as they stand in the card, without references among them."""
    entries = json.loads(finished("show", "maml", "--json").out)["recipes"]["paper"]
    text = finished("show", "maml", "--recipe", "paper").out
    assert yaml.safe_load(text)["entries"] == entries
    assert "&id" not in text
    assert "'paper'" in call("show", "maml", "--recipe", "papr").complaint
    assert "is not a method" in call("show", "omniglot", "--recipe", "paper").complaint


def test_a_data_set_is_shown_with_its_card() -> None:
    """Its splits and its licence."""
    shown = json.loads(finished("show", "omniglot", "--json").out)
    assert yaml.safe_load(finished("show", "omniglot").out) == shown
    assert shown["splits"] == {"train": 4112, "val": 688, "test": 1692}
    assert shown["license"]


def test_a_data_set_of_a_file_is_shown_with_its_card() -> None:
    """As a method of a file is: named by the file and the class."""
    file = Path(__file__).parents[1] / "support" / "plugin" / "fewshot_example" / "stripes.py"
    shown = json.loads(finished("show", f"{file}:Stripes", "--json").out)
    assert shown["title"] == "Stripes"
    assert shown["splits"] == {"train": 24, "val": 8, "test": 16}
    assert "is not a method" in call("show", f"{file}:Stripes", "--recipe", "paper").complaint


def test_a_run_is_shown_by_the_start_of_its_id(out: Path) -> None:
    """The whole record."""
    record = find_records([out])[0]
    said = finished("show", record.run_id[:6], "--out", out, "--json")
    assert json.loads(said.out) == record.content


def test_the_table_pools_seeds_and_shows_the_interval(out: Path) -> None:
    """One row an experiment; its mean and interval are those of the episode scores of all seeds."""
    tables = {table["title"]: table for table in tables_of(out)}
    rows = tables["glyphs, 5-way 1-shot, protocol custom"]["rows"]
    assert {(row["method"], row["seeds"]) for row in rows} == {("linear_method:Linear", 2), ("nearest-centroid", 1)}
    trained = [record for record in find_records([out]) if record.content["train"]["updates"]]
    scores = [record.scores(record.results[0]["id"]) for record in trained]
    interval = score_interval(scores, trials=25)
    row = next(row for row in rows if row["seeds"] == 2)
    assert (row["mean"], row["low"], row["high"]) == (interval.mean, interval.low, interval.high)
    assert "glyphs, 5-way 2-shot, protocol custom" in tables


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "csv"])
def test_every_format_says_the_same_numbers(style: str, out: Path) -> None:
    """All are made from one table."""
    text = finished("table", out, "--format", style).out
    for table in tables_of(out):
        for row in table["rows"]:
            assert (repr(row["mean"]) if style == "csv" else f"{100 * row['mean']:.2f}") in text, (style, row)


def test_the_csv_is_read_by_pythons_csv(out: Path) -> None:
    """One header, a line a row, as many as in JSON."""
    rows = list(csv.DictReader(io.StringIO(finished("table", out, "--format", "csv").out)))
    tables = tables_of(out)
    assert sorted(row["method"] for row in rows) == sorted(row["method"] for table in tables for row in table["rows"])


def test_a_command_of_the_table_makes_the_result_it_stands_beside(out: Path) -> None:
    """The second result of a run has a command of its own."""
    tables = {table["title"]: table for table in tables_of(out)}
    (row,) = tables["glyphs, 5-way 2-shot, protocol custom"]["rows"]
    assert "--shots 2" in row["commands"][0]


def test_a_table_of_several_folders_holds_the_records_of_all(out: Path, tmp_path: Path) -> None:
    """And a run found twice counts once."""
    finished(*PIXELS, "--episodes", "9", "--out", tmp_path)
    rows = [row for table in tables_of(out, tmp_path, out) for row in table["rows"]]
    assert sorted(row["episodes"] for row in rows if row["method"] == "nearest-centroid") == [8, 9]
    assert load_record(only_run(tmp_path)).results[0]["test"]["episodes"] == 9


def test_a_table_of_nothing_says_how_to_make_a_record(tmp_path: Path) -> None:
    """Exit 2."""
    said = call("table", tmp_path)
    assert said.code == 2
    assert "fsbench run" in said.complaint


def test_a_record_that_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    """A link to a device: no name is guessed."""
    (tmp_path / "record.json").symlink_to("/dev/zero")
    said = call("show", tmp_path)
    assert said.code == 3, said.err
    assert "record.json" in said.err
    assert "a device" in said.err
    assert "Did you mean" not in said.err


@pytest.mark.parametrize("named", ["folder", "name", "id"])
@pytest.mark.parametrize("command", ["show", "test"])
def test_an_unfinished_run_is_told_from_one_that_is_not_there(command: str, named: str, tmp_path: Path) -> None:
    """Its folder holds the state of the training alone."""
    folder = tmp_path / "maml-glyphs-0123456789ab"
    folder.mkdir()
    (folder / "state.safetensors").write_bytes(b"")
    name = {"folder": str(folder), "name": folder.name, "id": "012345"}[named]
    said = call(command, name, "--out", tmp_path)
    assert said.code == 2 and "unfinished run" in said.complaint and "fsbench run" in said.complaint


def test_a_name_like_no_other_is_answered_with_the_command_that_lists_all(tmp_path: Path) -> None:
    """Not with all names or keys."""
    shown = call("show", "qqqqqq", "--out", tmp_path)
    keyed = call("run", "--method", "maml", "--set", "foo.bar=3", "--dry-run")
    for said in (shown, keyed):
        assert said.code == 2 and "Valid:" not in said.complaint and "See: fsbench" in said.complaint
