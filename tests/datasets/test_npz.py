"""Arrays that do not fit are refused by what their headers say, and a pickle is never loaded."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt
import pytest

from fewshot_bench import memory
from fewshot_bench.errors import DataError
from fewshot_datasets.own import npz
from fewshot_datasets.own.arrays import Arrays

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
    "numbers that are none": (
        {"images": FLOATS * np.nan},
        "float32, not uint8. Some of their values are not finite",
    ),
    "text": ({"images": np.full((8, 6, 4), "a")}, "are <U1, not uint8. Some of their values are not finite"),
    "four channels": ({"images": np.zeros((8, 6, 4, 4), np.uint8)}, "of shape [8, 6, 4, 4] are not [n, H, W]"),
    "either way": ({"images": np.zeros((8, 3, 4, 3), np.uint8)}, "of shape [8, 3, 4, 3] could be read either way"),
    "two axes": ({"images": np.zeros((8, 6), np.uint8)}, "of shape [8, 6] are not [n, H, W]"),
    "five axes": ({"images": np.zeros((8, 6, 4, 3, 1), np.uint8)}, "are not [n, H, W]"),
    "nothing": ({"images": PIXELS[:0], "labels": LABELS[:0]}, "of shape [0, 6, 4, 3] are not [n, H, W]"),
    "no pixels": ({"images": np.zeros((8, 0, 4), np.uint8)}, "are not [n, H, W]"),
    "too few labels": ({"labels": LABELS[:7]}, "has 8 images and 7 labels"),
    "one-hot labels": (
        {"labels": np.eye(8, dtype=int)},
        "integers or texts [n], not int64 [8, 8].\nThey are one-hot: labels.argmax(1).",
    ),
    "multi-hot labels": (
        {"labels": np.eye(8) + np.eye(8, k=2)},
        "6 images belong to no class or to several (row 0: 2). Keep those of one class, labels.sum(1) == 1",
    ),
    "no label at all": ({"labels": np.zeros((8, 3), bool)}, "8 images belong to no class or to several (row 0: 0)"),
    "probabilities": ({"labels": np.full((8, 2), 0.5)}, "must be integers or texts [n], not float64 [8, 2]."),
    "labels of floats": ({"labels": LABELS.astype(float)}, "not float64 [8].\nThey are whole numbers: labels.astype(int)."),
    "measures": ({"labels": LABELS + 0.5}, "not float64 [8].\nThey are measurements, not classes."),
    "one label": ({"labels": np.array(3)}, "must be integers or texts [n], not int64 []."),
    "pickled images": ({"images": PICKLED}, "Array 'images' of {} holds pickled Python objects, which are not loaded"),
    "pickled labels": ({"labels": PICKLED}, "Array 'labels' of {} holds pickled Python objects"),
    "pickled names": ({"names": PICKLED}, "Array 'names' of {} holds pickled Python objects"),
    "labels of no UTF-8": ({"labels": np.array([b"\xff"] * 8)}, "{} is damaged"),
    "too few names": ({"names": ["a", "b", "c"]}, "must name each label: it has 3 names, and labels go from 0 to 10"),
    "names of no label": ({"names": ["a"] * 99, "labels": LABELS - 1}, "labels go from -1 to 9"),
    "names of images": ({"names": list("abcdefgh"), "labels": LABELS % 4}, "must name each label: it has 8 names"),
    "one name twice": ({"names": ["a"] * 11}, "gives several classes one name: 'a'"),
    "names of numbers": ({"names": np.arange(11)}, "Array 'names' of {} must be texts, not int64"),
    "too few splits": ({"splits": ["train"] * 7}, "There are 8 labels and 7 entries of array 'splits'"),
    "an unknown split": ({"splits": ["holdout"] * 8}, "do not exist: '0: holdout'"),
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
    "an empty archive": (
        lambda tmp: zipped(tmp / "a.npz", {}),
        "holds no arrays. For an archive of images: --dataset folder",
    ),
    "one array": (
        lambda tmp: saved(tmp / "a.npy"),
        "is one array (.npy), not an .npz of images and labels.\nIn Python: np.savez(",
    ),
    "arrays apart": (lambda tmp: saved(tmp / "a.npy").parent, "holds no .npz file. It has a.npy; in Python: np.savez("),
    "images": (lambda tmp: pictures(tmp), "holds no .npz file. For a folder of images: --dataset folder."),
    "another container": (
        lambda tmp: written(tmp / "a.npz", b"\x89HDF\r\n"),
        "is an HDF5 file, not an .npz of images and labels",
    ),
    "encrypted": (lambda tmp: locked(tmp / "a.npz"), "is encrypted ('images.npy'). Unpack it with its password"),
    "no array": (lambda tmp: zipped(tmp / "a.npz", {"images.npy": b"text"}), "a.npz is damaged or truncated"),
}


def touched(path: Path) -> Path:
    """An empty file."""
    path.touch()
    return path


def written(path: Path, content: bytes) -> Path:
    """A file of any content."""
    path.write_bytes(content)
    return path


def saved(path: Path) -> Path:
    """A sound file of one array."""
    np.save(path, PIXELS)
    return path


def pictures(folder: Path) -> Path:
    """A folder of images."""
    (folder / "cat").mkdir()
    written(folder / "cat" / "1.png", b"")
    return folder


def locked(path: Path) -> Path:
    """An archive that says that it is encrypted."""
    content = (
        save(path).read_bytes().replace(b"PK\3\4\x2d\0\0", b"PK\3\4\x2d\0\1").replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1")
    )
    place = content.index(b"PK\1\2") + 8
    return written(path, content[:place] + bytes([content[place] | 1]) + content[place + 1 :])


RAMP = np.arange(8 * 6 * 4).reshape(8, 6, 4) / (8 * 6 * 4 - 1)  # from 0 to 1
OTHER_NUMBERS = {
    "floats to 1": RAMP.astype(np.float32),
    "half precision": RAMP.astype(np.float16),
    "floats to 255": (255 * RAMP).astype(np.float32),
    "floats from -1": 2 * RAMP - 1,
    "standardised": (RAMP - RAMP.mean()) / RAMP.std(),
    "integers": (255 * RAMP).astype(np.int64),
    "10 bits": (1023 * RAMP).astype(np.uint16),
    "12 bits": (4095 * RAMP).astype(">u2"),
    "16 bits": (65535 * RAMP).astype(np.uint16),
    "12 bits as floats": (4095 * RAMP).astype(np.float32),
    "signed": (255 * RAMP - 128).astype(np.int8),
    "booleans": RAMP > 0.5,
}


@pytest.mark.parametrize("name", OTHER_NUMBERS)
def test_what_a_refusal_of_images_says_makes_them_what_they_should_be(name: str, path: Path) -> None:
    """Carried out, the images are accepted, and go from black to white in their order."""
    images = OTHER_NUMBERS[name]
    said = refusal(save(path, images=images))
    assert f"are {images.dtype}, not uint8. Their values go from" in said
    anew = eval(said.rpartition(": ")[2].rstrip("."), {"images": images})
    Arrays(root=save(path, images=anew)).identity()
    assert (anew.dtype, anew.min()) == (np.uint8, 0) and anew.max() >= 254
    assert np.all(np.diff(anew.reshape(-1).astype(int)) >= 0)


@pytest.mark.parametrize("channels", [2, 4])
def test_images_with_an_opacity_are_refused_with_what_lays_them_on_white(channels: int, path: Path) -> None:
    """Carried out, an invisible pixel is white, and an opaque one what it was."""
    images = np.full((8, 6, 5, channels), 100, np.uint8)
    images[..., -1] = 255
    images[:, 0, :, -1] = 0
    names = {"images": images}
    said = refusal(save(path, images=images)).partition("on white: ")[2]
    first, _, then = said.partition("; ")
    exec(first, names)
    anew = eval(then, names)
    Arrays(root=save(path, images=anew)).identity()
    assert set(anew[:, 0].reshape(-1)) == {255} and set(anew[:, 1:].reshape(-1)) == {100}


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


def test_an_array_larger_than_the_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is read: a system ends a process that fills the memory without a word."""
    monkeypatch.setattr(npz, "SURELY_FITS", 100)
    monkeypatch.setattr(memory, "memory_bytes", lambda: PIXELS.nbytes - 1)
    with pytest.raises(DataError, match=f"Array 'images' of .* has {PIXELS.nbytes} bytes, more than the memory"):
        list(Arrays(root=save(path)).images(lambda done, total: None))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(compressed: bool, path: Path) -> None:
    """By its name; none of its arrays counts."""
    save(path)
    if compressed:
        np.savez_compressed(path, images=PIXELS, labels=LABELS)
    whole = path.read_bytes()
    for place in {*range(0, len(whole), 31), *range(len(whole) - 25, len(whole))}:
        path.write_bytes(whole[:place])
        assert f"{path} is damaged or truncated" in refusal(path)
