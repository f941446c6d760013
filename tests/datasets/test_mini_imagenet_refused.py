"""What is not mini-ImageNet, or not all of it, is refused with the difference."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mini_imagenet_forms import CACHE, CATEGORY, PHASES, SPLITS, Write, by_class, cache, category, named_by_class, refusal
from small_imagenet import NAMES, Tiny, cache_pickles, category_pickles, dump, images, write_ilsvrc, write_named

from fewshot_bench.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def without_a_class(folder: Path) -> None:
    """The class folders without one."""
    by_class(folder)
    shutil.rmtree(folder / "val" / "n00000003")


def with_another_class(folder: Path) -> None:
    """A class that is in no list in the place of one that is."""
    by_class(folder)
    (folder / "val" / "n00000003").rename(folder / "val" / "n00000009")


def with_another_split(folder: Path) -> None:
    """A test class among the training classes."""
    by_class(folder)
    (folder / "test" / "n00000004").rename(folder / "train" / "n00000004")


def with_too_few_images(folder: Path) -> None:
    """A class without one of its images."""
    by_class(folder)
    (folder / "test" / "n00000004" / "a.jpg").unlink()


def ilsvrc_with_too_few_images(folder: Path) -> None:
    """The last image that the lists name is not there."""
    write_ilsvrc(folder, count=1299)


def ilsvrc_without_one_of_its_images(folder: Path) -> None:
    """An image that the lists do not name, before one that they name: all after it would be another's."""
    write_ilsvrc(folder)
    (folder / "n00000001" / f"n00000001_{7 * 4 + 3}.JPEG").unlink()


def ilsvrc_with_an_image_more(folder: Path) -> None:
    """As all of ImageNet has."""
    write_ilsvrc(folder)
    (folder / "n00000002" / "n00000002_1.JPEG").write_bytes(b"")


def ilsvrc_without_a_class(folder: Path) -> None:
    """A class was not unpacked."""
    write_ilsvrc(folder)
    shutil.rmtree(folder / "n00000003")


def ilsvrc_with_a_short_class(folder: Path) -> None:
    """A class of which no more than a few images were unpacked."""
    write_ilsvrc(folder)
    for path in sorted((folder / "n00000001").iterdir())[2:]:
        path.unlink()


def with_a_class_twice(folder: Path) -> None:
    """Without a split's folder, and with it."""
    by_class(folder)
    shutil.copytree(folder / "test" / "n00000004", folder / "n00000004")


def named_of_another_list(folder: Path) -> None:
    """Images named in the same way, of other classes."""
    write_named(folder)
    for path in folder.glob("n00000003*"):
        path.rename(folder / path.name.replace("n00000003", "n00000009"))


def cache_with(change: Callable[[dict[str, Any]], object]) -> Write:
    """Pickles after a change."""

    def write(folder: Path) -> None:
        held = cache_pickles()
        change(held)
        dump(folder, CACHE, held, SPLITS)

    return write


def category_with(change: Callable[[dict[str, Any]], object], names: str | None) -> Write:
    """Pickles after a change."""

    def write(folder: Path) -> None:
        held = category_pickles(names)
        change(held)
        dump(folder, CATEGORY, held, PHASES)

    return write


def rename(held: dict[str, Any], split: str, old: str, new: str) -> None:
    """Call a class otherwise."""
    held[split]["class_dict"][new] = held[split]["class_dict"].pop(old)


def swap(held: dict[str, Any]) -> None:
    """The validation classes among the test classes, and the reverse, as one code base writes them."""
    held["val"], held["test"] = held["test"], held["val"]


REFUSED: list[tuple[Write, list[str]]] = [
    (without_a_class, ["1 of 4 classes are missing (n00000003)"]),
    (with_another_class, ["1 of 4 classes are missing (n00000003)", "1 other classes are there (n00000009)"]),
    (with_another_split, ["1 classes are in another split (n00000004 in train, not test)"]),
    (with_too_few_images, ["1 classes have another number of images (n00000004: 2 of 3)"]),
    (ilsvrc_with_too_few_images, ["1 classes have another number of images than in ILSVRC2012 (n00000004: 1,299 of 1,300)"]),
    (ilsvrc_with_a_short_class, ["1 classes have another number of images than in ILSVRC2012 (n00000001: 2 of 11)"]),
    (ilsvrc_without_one_of_its_images, ["1 classes have another number of images", "(n00000001: 10 of 11)"]),
    (ilsvrc_with_an_image_more, ["1 classes have another number of images", "(n00000002: 12 of 11)"]),
    (with_a_class_twice, ["1 classes are there twice (n00000004)"]),
    (ilsvrc_without_a_class, ["1 of 4 classes are missing (n00000003)"]),
    (named_of_another_list, ["1 of 4 classes are missing (n00000003)", "1 other classes are there (n00000009)"]),
    (cache_with(lambda held: rename(held, "val", "n00000003", "n00000009")), ["n00000003", "1 other classes", "n00000009"]),
    (cache_with(swap), ["2 classes are in another split (n00000004 in val, not test, n00000003 in test, not val)"]),
    (cache_with(lambda held: held["val"]["class_dict"]["n00000003"].pop()), ["n00000003: 2 of 3"]),
    (category_with(lambda held: held["val"]["labels"].__setitem__(0, 7), None), ["2 val classes, not 1", "val-7: 1 of 3"]),
]


@pytest.mark.parametrize(("write", "reasons"), REFUSED)
def test_another_or_an_incomplete_data_set_is_refused_with_the_difference(
    tmp_path: Path, write: Write, reasons: list[str]
) -> None:
    """Which classes, how many, and where."""
    write(tmp_path / "data")
    said = refusal(Tiny(root=tmp_path / "data"))
    assert str(tmp_path / "data") in said
    assert all(reason in said for reason in reasons), said


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"image_data": np.zeros((6, 84, 84, 3))}, "images float64 (6, 84, 84, 3)"),
        ({"image_data": np.zeros((6, 84, 84), np.uint8)}, "images uint8 (6, 84, 84)"),
        ({"image_data": np.zeros((5, 84, 84, 3), np.uint8)}, "an image of several classes, or one that is not there"),
        ({"image_data": "none"}, "AttributeError"),
        ({"class_dict": [1, 2]}, "AttributeError"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    """With what was expected and what is there."""
    held = cache_pickles()
    held["train"] |= changed
    dump(tmp_path / "data", CACHE, held, SPLITS)
    said = refusal(Tiny(root=tmp_path / "data"))
    assert "mini-imagenet-cache-train.pkl does not hold mini-ImageNet: expected image_data [n, 84, 84, 3]" in said
    assert expected in said


@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}, {"data": np.zeros((2, 84, 84, 3), np.uint8), "labels": [1]}])
def test_a_pickle_without_the_fields_is_refused(tmp_path: Path, content: object) -> None:
    """A list, other keys, another number of labels."""
    category(tmp_path / "data")
    (tmp_path / "data" / CATEGORY.format("val")).write_bytes(pickle.dumps(content))
    assert "miniImageNet_category_split_val.pickle does not hold mini-ImageNet" in refusal(Tiny(root=tmp_path / "data"))


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_pickle_is_named(tmp_path: Path, keep: int) -> None:
    """And its identity is no error."""
    cache(tmp_path / "data")
    path = tmp_path / "data" / CACHE.format("test")
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is truncated or not a pickle of arrays" in refusal(Tiny(root=tmp_path / "data"))


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path: Path) -> None:
    """It is named, and so is what it asked for."""
    cache(tmp_path / "data")
    path = tmp_path / "data" / CACHE.format("val")
    path.write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "ran").encode())
    said = refusal(Tiny(root=tmp_path / "data"))
    assert f"{path} is not read: it asks for 'os.system'" in said
    assert not (tmp_path / "ran").exists()


def test_a_missing_pickle_is_named(tmp_path: Path) -> None:
    """With one that is there."""
    cache(tmp_path / "data")
    (tmp_path / "data" / CACHE.format("val")).unlink()
    assert "only a part of mini-ImageNet: mini-imagenet-cache-val.pkl missing" in refusal(Tiny(root=tmp_path / "data"))


def test_damage_in_a_compressed_archive_is_named_by_the_archive(tmp_path: Path) -> None:
    """And not by the folder that it was unpacked to."""
    named_by_class(tmp_path / "made" / "mini")
    (tmp_path / "made" / "mini" / "train" / "n00000001" / NAMES[0]).write_bytes(b"")
    path = Path(shutil.make_archive(str(tmp_path / "data"), "gztar", tmp_path / "made"))
    with pytest.raises(DataError, match=rf"{NAMES[0]} \(unreadable\)\.\nRead from {path}\.") as error:
        images(Tiny(root=path))
    assert error.value.damaged == (f"mini/train/n00000001/{NAMES[0]} (unreadable)",)
