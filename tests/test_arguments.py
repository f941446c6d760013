"""The Python interface takes what a person means: classes, paths, numpy's numbers, nested settings."""

import json
import linecache
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api_run import SETTINGS, tiny
from command_line import LINEAR, call, environment, finished, only_run
from linear_method import Linear

import fewshot_bench
from fewshot_bench import FewshotError, Method, UsageError, arguments, find_records, load_record
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_datasets.glyphs.glyphs import Glyphs
from fewshot_methods.maml import Maml

CELL = '''
import torch
from fewshot_bench import Method


class Mine(Method):
    """Of a notebook's cell."""

    needs_backbone = False
    trained = False

    def predict(self, tasks):
        return tasks.query_x.flatten(2).sum(2, keepdim=True).expand(-1, -1, tasks.ways) * FACTOR
'''


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> fewshot_bench.Record:
    """A finished run, asked for by plain values."""
    return tiny(tmp_path_factory.mktemp("plain"))


def from_cell(factor: float, monkeypatch: pytest.MonkeyPatch) -> type[Method]:
    """`Mine` as a notebook defines it: in no file, its text held by `linecache`."""
    source = CELL.replace("FACTOR", str(factor))
    name = f"<ipython-input-{factor}>"
    monkeypatch.setitem(linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), names)
    mine: type[Method] = names["Mine"]
    return mine


class Words(str, Enum):  # noqa: UP042 (as written before Python 3.11)
    """Names."""

    METHOD = LINEAR
    PROTOCOL = "custom"


SAME: dict[str, Callable[[Path], dict[str, object]]] = {
    "a class": lambda out: {"method": Linear},
    "a class of a data set": lambda out: {"dataset": Glyphs},
    "a list of one data set": lambda out: {"dataset": ["glyphs"]},
    "numbers of numpy": lambda out: {
        "ways": np.int64(5),
        "shots": np.uint8(1),
        "seed": np.int64(0),
        "episodes": np.int32(8),
        "queries": torch.tensor(5),
    },
    "settings of numpy": lambda out: {"settings": {k: np.int64(v) for k, v in SETTINGS.items()}},
    "settings in sections": lambda out: {
        "settings": {"train": {"updates": 6, "meta_batch_size": 2}, "validation": {"every": 2, "episodes": np.int64(4)}}
    },
    "settings as texts": lambda out: {"settings": [f"{k}={v}" for k, v in SETTINGS.items()]},
    "a device": lambda out: {"device": torch.device("cpu")},
    "a device with a number": lambda out: {"device": torch.device("cpu", 0)},
    "an empty list of steps": lambda out: {"settings": {**SETTINGS, "train.lr_steps": ()}},
    "an enumeration of texts": lambda out: {"method": Words.METHOD, "protocol": Words.PROTOCOL},
    "nothing": lambda out: {"settings": {**SETTINGS, "lr_halve_every": None}},
}


@pytest.mark.parametrize("name", SAME)
def test_what_a_person_means_is_the_same_run(name: str, record: fewshot_bench.Record, tmp_path: Path) -> None:
    """As under plain values: one run id, which is found and not made again."""
    changes = SAME[name](tmp_path)
    assert tiny(record.folder.parent, **changes).content == record.content


def test_folders_may_be_texts_or_paths(record: fewshot_bench.Record) -> None:
    """Of a record, of its file, of one folder of records or of several."""
    folder = record.folder
    for one in (folder, str(folder), folder / "record.json", str(folder / "record.json")):
        assert load_record(one).content == record.content
    for roots in (folder.parent, str(folder.parent), [str(folder.parent)], (folder, str(folder)), iter([folder])):
        assert [found.content for found in find_records(roots)] == [record.content]


def test_scores_are_had_by_a_result_or_its_id(record: fewshot_bench.Record) -> None:
    """Another id is refused with those that there are."""
    (result,) = record.results
    assert np.array_equal(record.scores(result), record.scores(result["id"]))
    assert record.scores(result).mean() == pytest.approx(result["mean"])
    for wrong in ("nothing", 0, {}, None):
        with pytest.raises(UsageError, match=f"There are: {result['id']}"):
            record.scores(wrong)  # type: ignore[arg-type]


def request(**changes: Any) -> None:
    """A request that goes no further than its arguments."""
    fewshot_bench.run(**{"method": LINEAR, "out": "/dev/null/never", **changes})


class NoMethod:
    """No subclass of `Method`."""


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a truth value for ways": ({"ways": True}, "ways must be a whole number, got True"),
    "a decimal number of shots": ({"shots": 1.5}, "shots must be a whole number, got 1.5"),
    "a whole number as a decimal": ({"images": 1e5}, "images must be a whole number, got 100000.0: write 100000"),
    "one of numpy": ({"queries": np.float64(2)}, "queries must be a whole number, got"),
    "a set of settings": ({"settings": {"data.side=84"}}, "or a list of texts key=value"),
    "text for a number": ({"shots": "1"}, "shots must be a whole number, got '1'"),
    "several ways": ({"ways": [5, 10]}, "give one value, and make a run for each"),
    "several seeds": ({"seed": range(3)}, "give one value, and make a run for each"),
    "an array for a seed": ({"seed": np.arange(3)}, "seed must be a whole number"),
    "no seed": ({"seed": None}, "seed must be a whole number, got None"),
    "a number for a method": ({"method": 3}, "method must be a name or a class, got 3"),
    "no method": ({"method": None}, "method must be a name or a class, got None"),
    "an instance": ({"method": NoMethod()}, "method must be a name or a class"),
    "another class": ({"method": NoMethod}, "is not a Method"),
    "a class of Python's": ({"method": int}, "is not a Method"),
    "a base": ({"method": Method}, "must define predict"),
    "a method for a data set": ({"dataset": Linear}, "is not a Dataset"),
    "numbers for data sets": ({"dataset": [1, 2]}, "a name in dataset must be a name"),
    "a number for a protocol": ({"protocol": 3}, "protocol must be a name"),
    "a number for a recipe": ({"recipe": 3}, "recipe must be a path"),
    "a number for a device": ({"device": 0}, "device must be a name"),
    "half a path": ({"out": "a\0b"}, "out must be a path"),
    "a number for a folder": ({"out": 3}, "out must be a path"),
    "bytes for a folder": ({"data_root": b"x"}, "data_root must be a path"),
    "settings of numbers": ({"settings": [1]}, "settings must be a mapping"),
    "a number for settings": ({"settings": 3}, "settings must be a mapping"),
    "a number for a key": ({"settings": {3: 1}}, "a key of settings must be a name"),
    "a number for a key in a section": ({"settings": {"train": {3: 1}}}, "must be a name"),
    "an unknown section": ({"settings": {"trian": {"lr": 1.0}}}, "Unknown key 'trian'"),
    "a set": ({"settings": {"augment": {"crop"}}}, "settings['augment'] must be"),
    "an object": ({"settings": {"lr": object()}}, "settings['lr'] must be"),
    "a complex number": ({"settings": {"lr": 1j}}, "settings['lr'] must be"),
    "a date": ({"settings": {"lr": np.datetime64("2024-01-01")}}, "settings['lr'] must be"),
    "no number": ({"settings": {"lr": float("nan")}}, "settings['lr'] must be a finite number"),
    "infinity of numpy": ({"settings": {"lr": np.float32("inf")}}, "settings['lr'] must be a finite number"),
    "a key with an equals sign": ({"settings": {"lr=1": 2}}, "a key cannot hold '='"),
    "one key in two ways": ({"settings": {"lr": 0.1, "train": {"lr": 0.2}}}, "train.lr twice, as 0.1 and 0.2"),
    "half a character": ({"settings": {"dtype": "\ud800"}}, "UTF-8"),
    "text without a key": ({"settings": "lr"}, "--set needs key=value"),
    "an unknown protocol": ({"protocol": "Standard"}, "'standard'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused_with_the_name_of_the_argument(name: str) -> None:
    """No TypeError, AttributeError or KeyError."""
    changes, words = WRONG[name]
    with pytest.raises(FewshotError) as refused:
        request(**changes)
    assert isinstance(refused.value, UsageError)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 3


def test_a_list_within_itself_is_refused() -> None:
    """No RecursionError."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="nested more than"):
        request(settings={"augment": endless})


@pytest.mark.parametrize("wrong", [None, 3, b"runs", "", ["runs"]])
def test_what_is_no_folder_is_no_record(wrong: Any) -> None:
    """`UsageError`."""
    with pytest.raises(UsageError, match="must be a path"):
        load_record(wrong)
    with pytest.raises(FewshotError):
        find_records([wrong])


PLAIN = [
    (np.float64(0.5), 0.5),
    (np.float32(0.25), 0.25),
    (np.int8(3), 3),
    (np.bool_(True), True),
    (np.str_("crop"), "crop"),
    (np.array([[1, 2.5]]), [[1.0, 2.5]]),
    (torch.tensor([1, 2]), [1, 2]),
    (torch.tensor(0.5), 0.5),
    (torch.float64, "float64"),
    (torch.device("cpu"), "cpu"),
    (np.longdouble(0.5), 0.5),
    (Path("a b"), "a b"),
    ((1, ("x", None)), [1, ["x", None]]),
    (range(3), [0, 1, 2]),
    ({"a": (True,)}, {"a": [True]}),
]


@pytest.mark.parametrize(("value", "expected"), PLAIN, ids=[type(value).__name__ for value, _ in PLAIN])
def test_a_setting_of_any_such_type_reads_as_what_it_is(value: Any, expected: Any) -> None:
    """With JSON's type."""
    (setting,) = arguments.settings({"key": value})
    read = plain_yaml.read_setting("key", setting.removeprefix("key="))
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize("text", ["010", "off", "1e-3", "null", "a: b", "", "plain text", "[x]", "é\n", "🙂", "\x1b"])
def test_a_text_stays_a_text(text: str) -> None:
    """Whatever YAML would make of it."""
    (setting,) = arguments.settings({"key": text})
    assert plain_yaml.read_setting("key", setting.removeprefix("key=")) == text


@pytest.mark.parametrize(("one", "name"), [(Maml, "maml"), (Linear, LINEAR)])
def test_a_class_is_the_method_of_its_name(one: type[Method], name: str) -> None:
    """One run id, and for a registered one the registered name, recipes included."""
    by_name = resolve(Request(method=name))
    by_class = resolve(Request(method=name, classes={"method": one}))
    assert by_class.run_id == by_name.run_id if one is Maml else by_class.method_class is Linear
    assert by_class.source_sha256 == by_name.source_sha256


def test_a_class_of_an_imported_module_is_recorded_under_its_module(tmp_path: Path) -> None:
    """The command names it, and runs where that module can be imported."""
    record = tiny(tmp_path, method=Linear)
    assert record.content["method"]["reference"] == "linear_method:Linear"
    assert "--method linear_method:Linear" in record.content["provenance"]["command"]
    finished(*record.content["provenance"]["command"].split()[1:], "--dry-run")


def test_a_class_that_was_imported_from_a_file_is_recorded_under_its_file(tmp_path: Path) -> None:
    """The run is the one of the command."""
    loaded = resolve(Request(method=LINEAR)).method_class
    assert tiny(tmp_path, method=loaded).run_id == tiny(tmp_path, method=LINEAR).run_id


def test_a_class_of_a_notebook_is_identified_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another cell is another run; the same cell, executed again, the same."""
    runs = [
        fewshot_bench.run(from_cell(factor, monkeypatch), protocol="custom", episodes=8, out=tmp_path)
        for factor in (1.0, 2.0, 1.0)
    ]
    assert runs[0].run_id == runs[2].run_id != runs[1].run_id
    assert runs[0].content["method"]["name"] == "__main__:Mine"
    assert "no command can name" in runs[0].content["method"]["plugin"]


def test_the_command_of_a_class_of_a_notebook_says_why_it_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what to do: a class that was saved in a file can be run and tested again."""
    record = fewshot_bench.run(from_cell(3.0, monkeypatch), protocol="custom", episodes=8, out=tmp_path)
    for command in (record.content["provenance"]["command"].split()[1:], ["test", only_run(tmp_path), "--episodes", "9"]):
        said = call(*command)
        assert said.code == 2, said.err
        assert "FILE.py:Mine" in said.complaint
    saved = tmp_path / "saved.py"
    saved.write_text(CELL.replace("FACTOR", "3.0"))
    said = finished("test", only_run(tmp_path), "--episodes", "9", "--method", f"{saved}:Mine")
    assert len(load_record(record.folder).results) == 2, said.err
    assert json.loads((record.folder / "record.json").read_text())["method"]["reference"] == "__main__:Mine"


def test_a_class_of_a_script_is_recorded_under_the_scripts_file(tmp_path: Path) -> None:
    """Relative to the folder where it runs; the command with that name is the same run."""
    (tmp_path / "mine.py").write_text(
        CELL.replace("FACTOR", "2") + "\n\nif __name__ == '__main__':\n    import fewshot_bench\n"
        "    fewshot_bench.run(Mine, protocol='custom', episodes=8, out='runs')\n"
    )
    subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, env=environment(), check=True, timeout=300)
    record = load_record(only_run(tmp_path / "runs"))
    assert record.content["method"]["reference"] == "mine.py:Mine"
    assert resolve(Request(f"{tmp_path / 'mine.py'}:Mine")).run_id == record.run_id
