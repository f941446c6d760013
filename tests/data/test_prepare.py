"""A data set is prepared once, whole or not at all, whoever else prepares it and however that ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from command_line import environment

from fewshot_bench.data.bank import ImageBank, MemmapBank
from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.prepare import OnDemand, open_prepared, prepare, prepared_folder
from fewshot_bench.errors import DataError, FewshotError, UsageError


class Grey(Dataset):
    """Two classes of three images in `train`, one of three in `test`, none in `val`; image i is grey i."""

    defaults: ClassVar[dict[str, int]] = {"shade": 0}
    version = "1"

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel of 2 x 2."""
        return 1, 2, 2

    def identity(self) -> str:
        """Its version."""
        return f"grey-{self.version}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """Named by a letter."""
        a, b, c = (ImageClass(name, tuple(f"{name}{i}" for i in range(3))) for name in "abc")
        return {"train": [a, b], "val": [], "test": [c]}

    def images(self, progress: Progress) -> Iterator[Images]:
        """One at a time."""
        for i in range(9):
            progress(i + 1, 9)
            yield np.full((1, 1, 2, 2), i + self.options["shade"], np.uint8)


class Drawn(Grey):
    """Made when it is asked for."""

    on_demand = True

    def bank(self, split: str) -> ImageBank:
        """Three images."""
        return MemmapBank(np.zeros((3, 1, 2, 2), np.uint8), ("a",), np.array([0, 3]), "drawn")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path))
    return tmp_path


def pixels(dataset: Dataset) -> bytes:
    """What lies in the cache."""
    return (prepared_folder("grey", dataset) / "images.npy").read_bytes()


def test_images_lie_split_by_split_and_class_by_class() -> None:
    """A bank starts where its split does."""
    prepared = prepare("grey", Grey())
    assert prepared.bank("train").gather(np.array([0, 5]))[:, 0, 0, 0].tolist() == [0, 5]
    assert prepared.bank("test").gather(np.array([0, 2]))[:, 0, 0, 0].tolist() == [6, 8]
    assert prepared.shape == (1, 2, 2)


def test_a_split_without_classes_is_refused_with_those_that_have_some() -> None:
    """Whether it is named alone or with another."""
    prepared = prepare("grey", Grey())
    for split in ("val", "train+val", "other"):
        with pytest.raises(UsageError, match="it has train, test"):
            prepared.bank(split)


def test_what_is_prepared_is_opened_and_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is asked for."""
    first = prepare("grey", Grey())
    monkeypatch.setattr(Grey, "images", None)
    again = prepare("grey", Grey())
    assert (again.folder, again.fingerprint) == (first.folder, first.fingerprint)


@pytest.mark.parametrize("name", ["images.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_cache_is_made_again_and_that_is_said(name: str, damage: str) -> None:
    """Equal to the first to the byte."""
    dataset = Grey()
    path = prepare("grey", dataset).folder / name
    before = pixels(dataset)
    path.unlink() if damage == "missing" else os.truncate(path, path.stat().st_size // 2)
    notes: list[str] = []
    prepare("grey", dataset, note=notes.append)
    assert notes == ["The prepared images of grey are damaged: they are made again."]
    assert pixels(dataset) == before


@pytest.mark.parametrize("damage", [[], None, {"bytes": 164}])
def test_a_cache_whose_words_are_others_is_made_again_and_that_is_said(damage: object) -> None:
    """JSON that is no mapping, or lacks what a run needs; that of an older source too."""
    folder = prepare("grey", Grey()).folder
    assert (folder / "images.npy").stat().st_size == 164
    (folder / "meta.json").write_text(json.dumps(damage))
    older = folder.with_name("grey-of-old")
    older.mkdir()
    (older / "meta.json").write_text(json.dumps(damage))
    notes: list[str] = []
    assert prepare("grey", Grey(), note=notes.append).bank("test").class_names == ("c",)
    assert notes == ["The prepared images of grey are damaged: they are made again."]
    prepare("grey", Grey({"shade": 1}), note=notes.append)
    assert len(notes) == 1


def test_a_source_that_has_changed_is_prepared_anew_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the old one; other options alone are no change."""
    notes: list[str] = []
    old = prepare("grey", Grey(), note=notes.append)
    prepare("grey", Grey({"shade": 1}), note=notes.append)
    assert notes == []
    monkeypatch.setattr(Grey, "version", "2")
    new = prepare("grey", Grey(), note=notes.append)
    assert notes == [f"The files of grey have changed since {old.folder.name} was prepared: they are prepared anew."]
    assert old.folder.is_dir() and new.folder != old.folder


def test_a_failure_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops it."""

    def broken(self: Grey, progress: Progress) -> Iterator[Images]:
        yield np.zeros((4, 1, 2, 2), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(Grey, "images", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare("grey", Grey())
    assert [path.name for path in cache.iterdir()] == [".locks"]


def test_all_is_on_disk_before_the_folder_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no power cut leaves a folder that looks whole."""
    written: dict[int, int] = {}
    at_rename: dict[int, int] = {}
    sync, rename = os.fsync, Path.rename

    def synced(number: int) -> None:
        sync(number)
        status = os.fstat(number)
        written[status.st_ino] = status.st_size

    def renamed(source: Path, target: Path) -> Path:
        at_rename.update(written)
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    folder = prepare("grey", Grey()).folder
    assert at_rename == {status.st_ino: status.st_size for path in folder.iterdir() for status in [path.stat()]}
    assert len(at_rename) == 2


@pytest.mark.parametrize(("block", "said"), [((1, 1, 3, 3), "3, 3"), ((1, 1, 2, 2), "1 images where its classes name 9")])
def test_images_that_are_not_those_of_the_classes_are_refused(
    block: tuple[int, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By shape and by number."""
    monkeypatch.setattr(Grey, "images", lambda self, progress: iter([np.zeros(block, np.uint8)]))
    with pytest.raises(DataError, match=said):
        prepare("grey", Grey())


def test_a_cache_that_cannot_be_written_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name and the variable that names another."""
    (cache / "file").write_text("mine")
    monkeypatch.setenv("FSBENCH_CACHE", str(cache / "file" / "below"))
    with pytest.raises(FewshotError, match=r"Cannot write the cache.*FSBENCH_CACHE"):
        prepare("grey", Grey())


def test_images_on_demand_are_never_prepared(cache: Path) -> None:
    """Nothing is written; their splits are known."""
    prepared = prepare("drawn", Drawn())
    assert isinstance(prepared, OnDemand)
    assert prepared.bank("train").gather(np.array([1])).shape == (1, 1, 2, 2)
    assert prepared.describe("test") == {"test": {"structure_id": "drawn", "classes": 1, "images": 3}}
    with pytest.raises(UsageError, match="it has train, val, test"):
        prepared.bank("other")
    assert list(cache.iterdir()) == []


SLOWLY = """
import sys, time
from pathlib import Path
from fewshot_bench.data.prepare import prepare
from test_prepare import Grey

def slowly(self, progress, images=Grey.images):
    with Path(sys.argv[1]).open("a") as log:
        log.write("made ")
    for block in images(self, progress):
        time.sleep(float(sys.argv[2]))
        yield block

Grey.images = slowly
print(prepare("grey", Grey()).fingerprint)
"""


def maker(log: Path, pause: float) -> "subprocess.Popen[str]":
    """Another process that prepares the same data set, pausing after each image [s]."""
    arguments = [sys.executable, "-c", SLOWLY, str(log), str(pause)]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")])
    inherited = {**environment(), "FSBENCH_CACHE": os.environ["FSBENCH_CACHE"], "PYTHONPATH": path}
    return subprocess.Popen(arguments, env=inherited, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_that_prepare_the_same_one_waits_for_the_other(cache: Path, tmp_path: Path) -> None:
    """One made it; both have it."""
    makers = [maker(tmp_path / "log", 0.1) for _ in range(2)]
    outputs = [process.communicate(timeout=100)[0] for process in makers]
    assert [process.returncode for process in makers] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert (tmp_path / "log").read_text() == "made "
    assert open_prepared("grey", Grey()) is not None


def test_what_a_killed_process_left_is_cleared_by_the_next(cache: Path, tmp_path: Path) -> None:
    """The next prepares it whole."""
    killed = maker(tmp_path / "log", 100)
    while not list(cache.glob(".grey-*")):
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    assert len(list(cache.glob(".grey-*"))) == 1
    prepare("grey", Grey())
    assert list(cache.glob(".grey-*")) == []
    assert json.loads((prepared_folder("grey", Grey()) / "meta.json").read_text())["name"] == "grey"
