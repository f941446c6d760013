"""Images and labels of one .npz file: every layout, no pickle, and clear words for arrays that do not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.prepare import prepare
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_datasets.own.arrays import Arrays

LABELS = np.array([2, 0, 1, 2, 0, 10, 1, 10])
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 4, 3), np.uint8)  # [n, H, W, C]
SPLIT = b"class,split\n0,train\n1,train\n2,val\n10,test\n"


def save(path: Path, images: npt.ArrayLike = PIXELS, labels: npt.ArrayLike = LABELS, **arrays: npt.ArrayLike) -> Path:
    """Write an .npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=labels, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to lie."""
    return tmp_path / "mine" / "images.npz"


def made(root: Path | None, **options: Any) -> Arrays:
    """The data set of a file."""
    return Arrays(options, root=root)


def images(dataset: Arrays) -> Images:
    """All images of a data set, [n, C, H, W]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


def splits(dataset: Arrays) -> dict[str, list[str]]:
    """The class names of each split."""
    return {split: [one.name for one in members] for split, members in dataset.classes().items()}


def all_names(dataset: Arrays) -> list[str]:
    """All class names, in order."""
    return [one.name for one in dataset.members]


def rows(dataset: Arrays) -> list[int]:
    """The row of each image in the order of the classes, as the ids say."""
    return [
        int(image.rpartition("/")[2]) for members in dataset.classes().values() for one in members for image in one.image_ids
    ]


def refusal(act: Callable[[], object], kind: type[FewshotError] = DataError) -> str:
    """What is said, in one to three lines, where something is refused."""
    with pytest.raises(kind) as error:
        act()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


LAYOUTS: dict[str, tuple[Images, Images]] = {  # the array, and what it is as [n, C, H, W]
    "[n, H, W, 3]": (PIXELS, PIXELS.transpose(0, 3, 1, 2)),
    "[n, 3, H, W]": (PIXELS.transpose(0, 3, 1, 2), PIXELS.transpose(0, 3, 1, 2)),
    "[n, H, W]": (PIXELS[..., 0], PIXELS[:, None, :, :, 0]),
    "[n, H, W, 1]": (PIXELS[..., :1], PIXELS[:, None, :, :, 0]),
    "[n, 1, H, W]": (PIXELS[:, None, :, :, 0], PIXELS[:, None, :, :, 0]),
    "Fortran's order": (np.asfortranarray(PIXELS), PIXELS.transpose(0, 3, 1, 2)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout: str, path: Path) -> None:
    """The pixels of each image, channels first, in the order of the classes."""
    array, wanted = LAYOUTS[layout]
    dataset = made(save(path, array))
    pixels = images(dataset)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (8, *dataset.shape))
    np.testing.assert_array_equal(pixels, wanted[rows(dataset)])


def test_a_compressed_file_in_a_folder_is_the_same_run(path: Path, tmp_path: Path) -> None:
    """How it is packed and where it lies does not matter."""
    before = made(save(path))
    (tmp_path / "other").mkdir()
    np.savez_compressed(tmp_path / "other" / "x.npz", labels=LABELS, images=PIXELS)
    after = made(tmp_path / "other")
    assert (after.identity(), after.classes()) == (before.identity(), before.classes())


CHANGES: dict[str, dict[str, Any]] = {
    "a pixel": {"images": PIXELS ^ (np.arange(PIXELS.size).reshape(PIXELS.shape) == 0).astype(np.uint8)},
    "a label": {"labels": np.array([0, 2, *LABELS[2:]])},
    "names": {"names": [f"n{i}" for i in range(11)]},
    "a split": {"splits": np.where(LABELS == 10, "test", "train")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_arrays_are_another_run(change: str, path: Path) -> None:
    """Whichever of them changed."""
    before = made(save(path)).identity()
    assert made(save(path, **CHANGES[change])).identity() != before


def test_classes_are_sorted_by_label(path: Path) -> None:
    """Numbers as numbers, texts as texts; an image's id is its class and its row."""
    save(path)
    write_split(path)
    assert splits(made(path.parent)) == {"train": ["0", "1"], "val": ["2"], "test": ["10"]}
    assert made(path.parent).classes()["train"][1].image_ids == ("1/2", "1/6")


def write_split(path: Path) -> None:
    """A split file beside the arrays."""
    (path.parent / "split.csv").write_bytes(SPLIT)


TEXTS = np.array(["b", "a", "n\xe9e", "b", "a", "cats, dogs", "n\xe9e", "cats, dogs"])


@pytest.mark.parametrize("labels", [TEXTS, np.char.encode(TEXTS, "utf-8"), TEXTS[:, None]], ids=["U", "S", "column"])
def test_labels_may_be_texts(labels: npt.NDArray[Any], path: Path) -> None:
    """Of Unicode, of UTF-8 bytes, and in a column."""
    found = made(save(path, labels=labels)).classes()
    ids = {one.name: one.image_ids for members in found.values() for one in members}
    assert ids == {name: tuple(f"{name}/{row}" for row in np.flatnonzero(name == TEXTS)) for name in set(TEXTS.tolist())}


@pytest.mark.parametrize("kind", ["int8", "uint64", ">i4"])
def test_labels_may_be_any_integers(kind: str, path: Path) -> None:
    """Negative ones too."""
    found = made(save(path, labels=(LABELS if kind == "uint64" else LABELS - 3).astype(kind)))
    assert all_names(found) == (["0", "1", "2", "10"] if kind == "uint64" else ["-3", "-2", "-1", "7"])


def test_names_are_those_of_the_labels(path: Path) -> None:
    """By number; without option names they stay numbers, and texts need none."""
    names = [f"class {i}" for i in range(11)]
    found = made(save(path, names=names))
    assert all_names(found) == ["class 0", "class 1", "class 2", "class 10"]
    assert all_names(made(path, names="")) == ["0", "1", "2", "10"]
    save(path, labels=TEXTS, names=names)
    assert all_names(made(path)) == ["a", "b", "cats, dogs", "n\xe9e"]


def test_a_split_may_be_an_array(path: Path) -> None:
    """Of each image's class; a split file comes first."""
    of = {0: "test", 1: "Train", 2: "valid", 10: "train"}
    save(path, splits=[of[label] for label in LABELS])
    assert splits(made(path)) == {"train": ["1", "10"], "val": ["2"], "test": ["0"]}
    assert "array 'splits'" in made(path).variant()
    write_split(path)
    assert splits(made(path.parent))["test"] == ["10"]
    assert splits(made(path, split="split.csv"))["test"] == ["10"]


def test_labels_that_look_alike_stand_in_one_split(path: Path) -> None:
    """In two they are refused; in one they are two classes, which is said."""
    labels = np.array(["Cat", "cat ", "dog", "Cat", "cat ", "dog", "emu", "emu"])
    save(path, labels=labels, splits=["train" if label == "Cat" else "test" for label in labels])
    assert "'Cat' (train) and 'cat ' (test)" in refusal(made(path).classes)
    save(path, labels=labels, splits=["train"] * 8)
    assert splits(made(path))["train"] == ["Cat", "cat ", "dog", "emu"]
    assert made(path).variant().endswith("; names that a reader may take for one: 'Cat' and 'cat '")


def test_a_class_in_two_splits_is_named(path: Path) -> None:
    """Where its images say different things."""
    save(path, splits=["train"] * 7 + ["test"])
    assert "names classes more than once: '10: test, train'" in refusal(made(path).classes)


def test_the_arrays_may_have_other_names(path: Path) -> None:
    """As options say."""
    path.parent.mkdir()
    np.savez(path, x=PIXELS, y=LABELS, z=np.array(["train"] * 8))
    dataset = made(path, images="x", labels="y", splits="z")
    assert len(splits(dataset)["train"]) == 4
    assert len(images(dataset)) == 8


@pytest.mark.parametrize("layout", ["[n, H, W, 3]", "[n, 3, H, W]", "[n, H, W]"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_a_side_resizes(layout: str, resize: str, path: Path) -> None:
    """As Pillow's own functions do, to fill the square or to fit it."""
    array, channels_first = LAYOUTS[layout]
    dataset = made(save(path, array), side=3, resize=resize)
    assert dataset.shape == (channels_first.shape[1], 3, 3)
    for row, pixels in zip(rows(dataset), images(dataset), strict=True):
        whole = channels_first[row].transpose(1, 2, 0).squeeze()
        image, lanczos = Image.fromarray(whole), Image.Resampling.LANCZOS
        small = ImageOps.fit(image, (3, 3), lanczos) if resize == "crop" else image.resize((3, 3), lanczos)
        np.testing.assert_array_equal(pixels, np.atleast_3d(np.asarray(small)).transpose(2, 0, 1))


def test_it_is_prepared_as_any_other(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, with progress up to all images."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    calls: list[tuple[int, int]] = []
    labels = np.repeat([0, 1], 300)
    dataset = made(save(path, np.arange(600 * 4).astype(np.uint8).reshape(600, 2, 2), labels))
    prepared = prepare("arrays", dataset, lambda done, total: calls.append((done, total)))
    assert calls == [(256, 600), (300, 600), (556, 600), (600, 600)]
    assert prepared.describe("train")["train"]["images"] == 600


@pytest.mark.parametrize(("option", "value"), [("side", -1), ("side", 1025), ("resize", "stretch")])
def test_an_option_out_of_range_is_refused(option: str, value: object, path: Path) -> None:
    """By its name, with what it may be."""
    said = refusal(lambda: made(save(path), **{option: value}), UsageError)
    assert f"data.{option} must be" in said
