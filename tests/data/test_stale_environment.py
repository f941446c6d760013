"""FSBENCH_DATA that leads to nothing: only a data set whose files lie there says so."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PIXELS, call, finished
from small_imagenet import Tiny as TinyImagenet
from small_imagenet import write_named
from tiny_omniglot import Tiny as TinyOmniglot
from tiny_omniglot import write_folders

from fewshot_bench.data import catalogue
from fewshot_bench.data.dataset import data_root, stale_environment
from fewshot_bench.data.imports import Import, remember
from fewshot_bench.data.prepare import open_prepared, prepare
from fewshot_bench.errors import DataError


def absent(tmp_path: Path) -> Path:
    """No folder."""
    return tmp_path / "gone"


def a_file(tmp_path: Path) -> Path:
    """A file that holds no data."""
    (tmp_path / "file.txt").write_text("")
    return tmp_path / "file.txt"


def below_a_file(tmp_path: Path) -> Path:
    """A path that goes through a file."""
    return a_file(tmp_path) / "data"


def too_long(tmp_path: Path) -> Path:
    """A name that no system has."""
    return tmp_path / ("x" * 400)


def a_lost_link(tmp_path: Path) -> Path:
    """A link to nothing."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    return tmp_path / "link"


def a_pipe(tmp_path: Path) -> Path:
    """What never ends."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture(params=[absent, a_file, a_pipe, below_a_file, too_long, a_lost_link])
def stale(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FSBENCH_DATA that leads to nothing."""
    root: Path = request.param(tmp_path)
    monkeypatch.setenv("FSBENCH_DATA", str(root))
    return root


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def test_what_needs_no_files_does_not_stop(stale: Path, tmp_path: Path) -> None:
    """A run on drawn images, lists, a table."""
    finished(*PIXELS, "--out", tmp_path / "runs")
    finished("list", "datasets")
    finished("table", tmp_path / "runs")
    finished("data", "get", "glyphs")
    finished("data", "verify", "sinusoid")


def test_the_data_sets_are_listed_and_the_stale_variable_is_told(stale: Path, cache: None) -> None:
    """On stderr, with none of them broken."""
    said = finished("data", "list", "--json")
    assert str(stale) in said.err and said.err.startswith("FSBENCH_DATA names ")
    assert {entry["state"] for entry in json.loads(said.out)} <= set(catalogue.STATES) - {"broken"}


COMMANDS = {
    "a run": ("run", "--method", "nearest-centroid", "--dataset"),
    "a download": ("data", "get"),
    "a verification": ("data", "verify"),
}


@pytest.mark.parametrize("stale", [absent, too_long], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["cifar-fs", "cub-200", "mini-imagenet", "omniglot", "tiered-imagenet"])
def test_a_data_set_whose_files_are_nowhere_says_so(
    command: str, name: str, stale: Path, cache: None, tmp_path: Path
) -> None:
    """Exit 3, naming the variable and the option; nothing is downloaded in its stead."""
    out = ("--out", tmp_path / "runs") if command == "a run" else ()
    said = call(*COMMANDS[command], name, *out)
    assert said.code == 3
    assert said.complaint.startswith("fsbench: FSBENCH_DATA names ") and str(stale) in said.complaint
    assert "--data-root" in said.complaint and len(said.complaint.splitlines()) == 2


@pytest.mark.parametrize("root", [absent, below_a_file, a_lost_link])
def test_a_data_set_that_was_prepared_or_imported_needs_no_root(
    root: Callable[[Path], Path], cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images are there, or lie elsewhere."""
    omniglot, imagenet = write_folders(tmp_path / "omniglot"), tmp_path / "imagenet"
    write_named(imagenet)
    prepare("tiny", TinyOmniglot({}, omniglot))
    remember("mini-imagenet", Import(imagenet, "", TinyImagenet({}, imagenet).identity()))
    monkeypatch.setenv("FSBENCH_DATA", str(root(tmp_path)))
    assert open_prepared("tiny", TinyOmniglot({}, data_root(None))) is not None
    assert prepare("tiny-imagenet", TinyImagenet({}, data_root(None))).meta["splits"]["train"]["classes"]


def test_a_root_that_may_not_be_entered_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's word; what needs no files goes on."""

    def refusing(path: str | Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("FSBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(os, "scandir", refusing)
    assert stale_environment() == f"FSBENCH_DATA names a folder that cannot be read ({tmp_path}: Permission denied)"
    assert data_root(None) == tmp_path


def test_a_root_that_is_named_must_be_there(stale: Path, tmp_path: Path) -> None:
    """Whatever the variable says: exit 3, by the option that named it."""
    for option in ("--data-root", "--test-data-root"):
        said = call(*PIXELS, option, tmp_path / "nowhere", "--out", tmp_path / "runs")
        assert said.code == 3
        assert f"No such folder or file: {tmp_path / 'nowhere'} ({option})." in said.complaint


def test_a_name_with_nul_is_no_root() -> None:
    """No system has one."""
    with pytest.raises(DataError, match="No such folder or file"):
        data_root(Path("a\0b"))


@pytest.mark.parametrize("name", ["folder", "arrays"])
@pytest.mark.parametrize("root", ["stale", "whole"])
def test_ones_own_images_are_not_looked_for_where_the_published_are(
    name: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folders would be taken for classes: exit 3 until --data-root names them."""
    (tmp_path / "data" / "cat").mkdir(parents=True)
    monkeypatch.setenv("FSBENCH_DATA", str(tmp_path / "data" if root == "whole" else tmp_path / "gone"))
    commands: list[tuple[object, ...]] = [
        (*PIXELS, "--dataset", name, "--out", tmp_path / "runs"),
        (*PIXELS, "--test-dataset", name, "--out", tmp_path / "runs"),
        ("data", "verify", name),
        ("data", "preview", name),
    ]
    for command in commands:
        said = call(*command)
        assert said.code == 3, said.err
        assert "--data-root" in said.complaint and "--test-data-root" in said.complaint
        assert "FSBENCH_DATA is for published data sets and is not read for yours" in said.complaint
        assert len(said.complaint.splitlines()) <= 3
