"""Arrays that do not fit are refused by what their headers say, and a pickle is never loaded."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt
import pytest

from fewshot_bench.errors import DataError
from fewshot_datasets.arrays import Arrays

LABELS = np.array([2, 0, 1, 2, 0, 10, 1, 10])
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 4, 3), np.uint8)  # [n, H, W, C]


def save(path: Path, images: npt.ArrayLike = PIXELS, labels: npt.ArrayLike = LABELS, **arrays: npt.ArrayLike) -> Path:
    """Write an .npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=labels, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to lie."""
    return tmp_path / "mine" / "images.npz"


def refusal(root: Path | None) -> str:
    """What is said, in one to three lines, where a file is refused."""
    with pytest.raises(DataError) as error:
        Arrays(root=root).identity()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


FLOATS = PIXELS.astype(np.float32) / 255
PICKLED = np.array([PIXELS[0], "a", *range(6)], object)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "floats": (
        {"images": FLOATS},
        "float32, not uint8. To save them anew, of values from 0 to 1: (255 * images).round()",
    ),
    "integers": ({"images": PIXELS.astype(np.int64)}, "are int64, not uint8. To save them anew, of values from 0 to 255"),
    "booleans": ({"images": PIXELS > 9}, "are bool, not uint8. To save them anew, 255 * images.astype('uint8')"),
    "four channels": ({"images": np.zeros((8, 6, 4, 4), np.uint8)}, "of shape [8, 6, 4, 4] are not [n, H, W]"),
    "either way": ({"images": np.zeros((8, 3, 4, 3), np.uint8)}, "of shape [8, 3, 4, 3] could be read either way"),
    "two axes": ({"images": np.zeros((8, 6), np.uint8)}, "of shape [8, 6] are not [n, H, W]"),
    "five axes": ({"images": np.zeros((8, 6, 4, 3, 1), np.uint8)}, "are not [n, H, W]"),
    "nothing": ({"images": PIXELS[:0], "labels": LABELS[:0]}, "of shape [0, 6, 4, 3] are not [n, H, W]"),
    "no pixels": ({"images": np.zeros((8, 0, 4), np.uint8)}, "are not [n, H, W]"),
    "too few labels": ({"labels": LABELS[:7]}, "has 8 images and 7 labels"),
    "one-hot labels": (
        {"labels": np.eye(8, dtype=int)},
        "integers or texts [n], not int64 [8, 8].\nIf they are one-hot",
    ),
    "labels of floats": ({"labels": LABELS.astype(float)}, "must be integers or texts [n], not float64 [8]."),
    "one label": ({"labels": np.array(3)}, "must be integers or texts [n], not int64 []."),
    "pickled images": ({"images": PICKLED}, "Array 'images' of {} is pickled Python objects, which are not loaded"),
    "pickled labels": ({"labels": PICKLED}, "Array 'labels' of {} is pickled Python objects"),
    "pickled names": ({"names": PICKLED}, "Array 'names' of {} is pickled Python objects"),
    "labels of no UTF-8": ({"labels": np.array([b"\xff"] * 8)}, "{} is damaged"),
    "too few names": ({"names": ["a", "b", "c"]}, "must name each label: it has 3 names, and labels go from 0 to 10"),
    "names of no label": ({"names": ["a"] * 99, "labels": LABELS - 1}, "labels go from -1 to 9"),
    "names of images": ({"names": list("abcdefgh"), "labels": LABELS % 4}, "must name each label: it has 8 names"),
    "one name twice": ({"names": ["a"] * 11}, "has several classes of one name: 'a'"),
    "names of numbers": ({"names": np.arange(11)}, "Array 'names' of {} must be texts, not int64"),
    "too few splits": ({"splits": ["train"] * 7}, "There are 8 labels and 7 entries of array 'splits'"),
    "an unknown split": ({"splits": ["training"] * 8}, "do not exist: '0: training'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_do_not_fit_are_refused(name: str, path: Path) -> None:
    """With what they are, what is expected, and what to do."""
    arrays, wanted = REFUSED[name]
    assert wanted.format(path) in refusal(save(path, **arrays))


def test_a_pickle_is_never_loaded(path: Path, tmp_path: Path) -> None:
    """One that would write a file writes none."""

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    trap = np.array([Trap()] * 8, object)
    for key in ("images", "labels", "names", "splits"):
        refusal(save(path, **{key: trap}))
    assert not (tmp_path / "sprung").exists()


def test_an_array_that_is_not_there_is_named(path: Path) -> None:
    """Beside those that are."""
    path.parent.mkdir()
    np.savez(path, x=PIXELS, labels=LABELS)
    said = refusal(path)
    assert f"{path} has no array 'images', but x, labels: --set data.images=NAME." in said


ROOTS: dict[str, tuple[Callable[[Path], Path | None], str]] = {
    "none": (lambda tmp: None, "--data-root images.npz"),
    "absent": (lambda tmp: tmp / "a.npz", "No such file or folder"),
    "no file": (lambda tmp: tmp, "holds no .npz file"),
    "no archive": (lambda tmp: touched(tmp / "a.npz"), "a.npz is damaged or truncated"),
    "several": (lambda tmp: touched(touched(tmp / "a.npz").with_name("b.npz")).parent, "choose from: 'a.npz', 'b.npz'"),
    "an empty archive": (lambda tmp: zipped(tmp / "a.npz", {}), "has no array 'images', but no arrays"),
    "no array": (lambda tmp: zipped(tmp / "a.npz", {"images.npy": b"text"}), "a.npz is damaged or truncated"),
}


def touched(path: Path) -> Path:
    """An empty file."""
    path.touch()
    return path


def zipped(path: Path, contents: dict[str, bytes]) -> Path:
    """Any files as a zip."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_without_arrays_is_refused(name: str, tmp_path: Path) -> None:
    """With what was found and what is expected."""
    root, wanted = ROOTS[name]
    assert wanted in refusal(root(tmp_path))


def test_a_forged_shape_is_refused_before_it_is_read(path: Path) -> None:
    """One that claims more bytes than there are would fill the memory."""
    save(path)
    with ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    contents["images.npy"] = contents["images.npy"].replace(b"(8, 6, 4, 3)", b"(8, 6, 4, 3000000)")
    assert "shape (8, 6, 4, 3000000) and" in refusal(zipped(path, contents))
