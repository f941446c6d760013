"""The Python interface: the command's records without the command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_origin

import numpy as np
import pytest
from api_run import tiny
from command_line import TINY, content, finished, only_run

import fewshot_bench
from fewshot_bench import DataError, FewshotError, UsageError


def test_it_returns_the_same_record_as_the_command(tmp_path: Path) -> None:
    """Equal but for times and costs, in specs, results, scores, weights and the command that reproduces it."""
    record = tiny(tmp_path / "api")
    finished(*TINY, "--out", tmp_path / "command")
    folder = only_run(tmp_path / "command")
    assert record.folder.name == folder.name
    assert content(record.folder) == content(folder)
    (result,) = record.results
    assert np.array_equal(record.scores(result["id"]), fewshot_bench.load_record(folder).scores(result["id"]))
    weights = "checkpoint.safetensors"
    assert (record.folder / weights).read_bytes() == (folder / weights).read_bytes()


def test_it_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A notebook shows what its user prints."""
    tiny(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_finished_run_is_returned_and_not_run_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under `reuse`, the default, the record on disk is the answer, and the log says so."""
    first = tiny(tmp_path)
    assert caplog.messages == []
    assert tiny(str(tmp_path)).content == first.content  # type: ignore[arg-type]
    assert [message.partition(":")[0] for message in caplog.messages] == ["Already done"]


def test_the_result_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """Of a run that holds another test already; a loaded record of several cannot know, and says what helps."""
    first = tiny(tmp_path)
    assert fewshot_bench.load_record(first.folder).result == first.result
    second = tiny(tmp_path, episodes=12)
    assert [first.result["test"]["episodes"], second.result["test"]["episodes"]] == [8, 12]
    assert len(second.results) == 2
    with pytest.raises(UsageError, match="holds 2 results") as error:
        _ = fewshot_bench.load_record(first.folder).result
    assert "record.results" in str(error.value)


def test_overwriting_keeps_the_other_results_where_the_weights_are_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of other weights they are dropped, and the commands that make them again are named."""
    tiny(tmp_path)
    second = tiny(tmp_path, episodes=12)
    again = tiny(tmp_path, on_existing="overwrite")
    assert sorted(one["id"] for one in again.results) == sorted(one["id"] for one in second.results)
    assert len(again.scores(second.result)) == 12
    path = again.folder / "record.json"
    path.write_text(path.read_text().replace(again.content["weights_sha256"], "0" * 64))
    assert len(tiny(tmp_path, on_existing="overwrite").results) == 1
    assert "Results of other tests dropped: 1, of other weights" in caplog.text
    assert "--episodes 12" in caplog.text


def test_settings_of_any_json_type_mean_what_they_mean_in_the_command(tmp_path: Path) -> None:
    """Numbers, booleans and text arrive with their type."""
    settings = {"updates": 0, "dtype": "float64", "lr": 1e-4, "features": 4}
    record = tiny(tmp_path, settings=settings)
    train = record.content["train"]
    assert (train["updates"], train["dtype"], train["lr"], train["hparams"]["features"]) == (0, "float64", 1e-4, 4)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"dataset": "glyph"}, UsageError),
        ({"ways": "5"}, UsageError),
        ({"shots": 0}, UsageError),
        ({"seed": -1}, UsageError),
        ({"episodes": 2.5}, UsageError),
        ({"on_existing": "ask"}, UsageError),
        ({"settings": {"updates": None}}, UsageError),
        ({"data_root": "/nowhere/at/all"}, DataError),
    ],
)
def test_a_wrong_argument_raises_the_error_that_the_command_prints(
    changes: dict[str, object], error: type[FewshotError], tmp_path: Path
) -> None:
    """All are `FewshotError`, and nothing is written."""
    assert issubclass(error, FewshotError)
    with pytest.raises(error):
        tiny(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_importing_the_package_does_not_import_torch() -> None:
    """Nor anything else that is slow; its names come when they are used."""
    script = "import sys, fewshot_bench; print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", fewshot_bench.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """And has a docstring, which an alias of a type of callables cannot have."""
    public = getattr(fewshot_bench, name)
    assert public.__doc__ or get_origin(public) is Callable


def test_no_module_has_the_name_of_a_function() -> None:
    """Importing `fewshot_bench.run`, were there such a module, would put it in the place of the function."""
    modules = {path.stem for path in Path(fewshot_bench.__file__).parent.iterdir()}
    assert modules & set(fewshot_bench.__all__) == set()


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fewshot_bench.nothing  # noqa: B018
