"""CUB-200-2011: its split, its preparation, and the refusal of sources that are missing, incomplete or damaged."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_cub import CLASSES, COUNTS, Few, images, jpeg, pack, write_folder

from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets.cub_200.cub_200 import Cub200


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing was imported or downloaded."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the folder that Caltech's archive extracts to."""
    write_folder(tmp_path / "data")
    return tmp_path / "data"


def refusal(dataset: Cub200) -> DataError:
    """The error, of one to three lines, with which a data set refuses its source."""
    with pytest.raises(DataError) as error:
        dataset.classes()
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return error.value


def test_the_split_is_that_of_chen_et_al() -> None:
    """Their code sorts the 200 classes: every second trains, and of the others one validates and the next tests."""
    lists = {split: Cub200().class_names(split) for split in Cub200.splits}
    everything = sorted(name for names in lists.values() for name in names)
    assert [int(name[:3]) for name in everything] == list(range(1, 201))
    assert lists == {"train": everything[0::2], "val": everything[1::4], "test": everything[3::4]}


def test_classes_come_in_the_order_of_the_list_and_images_in_that_of_their_names(root: Path) -> None:
    """An image's id is its class and file."""
    classes = Few(root=root).classes()
    assert {split: [one.name for one in members] for split, members in classes.items()} == CLASSES
    assert classes["train"][1].image_ids == ("001.Auk/Auk_0000_0", "001.Auk/Auk_0001_7")
    assert {one.name: len(one.image_ids) for members in classes.values() for one in members} == COUNTS


@pytest.mark.parametrize(("side", "wide", "edge"), [(84, 96, 6), (32, 36, 2), (224, 257, 16)])
def test_a_photograph_is_squashed_to_1_15_times_the_side_and_its_middle_kept(
    root: Path, side: int, wide: int, edge: int
) -> None:
    """Chen et al.'s `Resize(int(1.15 * side))` of both sides and `CenterCrop(side)`, as torchvision rounds them."""
    dataset = Few({"side": side}, root)
    ids = [image for members in dataset.classes().values() for one in members for image in one.image_ids]
    made = images(dataset)
    assert made.shape == (11, *dataset.shape) == (11, 3, side, side)
    for image, pixels in zip(ids, made, strict=True):
        with Image.open(root / "CUB_200_2011" / "images" / f"{image}.jpg") as photograph:
            square = photograph.resize((wide, wide), Image.Resampling.LANCZOS)
        middle = square.crop((edge, edge, edge + side, edge + side))
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), np.asarray(middle))


def test_a_grey_photograph_becomes_colour_and_none_is_turned(root: Path) -> None:
    """As the papers' code reads them, which does not ask EXIF."""
    folder = root / "CUB_200_2011" / "images" / "003.Wren"
    plain = images(Few(root=root))
    (folder / "Wren_0000_0.jpg").write_bytes(jpeg(1, mode="L"))
    (folder / "Wren_0001_7.jpg").write_bytes(jpeg(6, (45, 70), turned=6))
    made = images(Few(root=root))
    assert (made[0][0] == made[0][1]).all() and (made[0][1] == made[0][2]).all()
    np.testing.assert_array_equal(made[1], plain[1])


def test_the_identity_changes_with_a_file_and_with_the_side(root: Path) -> None:
    """It reads no photograph, but the sizes of their files."""
    before = Few(root=root).identity()
    assert Few({"side": 32}, root).identity() != before
    with (root / "CUB_200_2011" / "images" / "002.Jay" / "Jay_0000_0.jpg").open("ab") as file:
        file.write(b"\0")
    assert Few(root=root).identity() != before


def remove_a_class(images: Path) -> None:
    """All of its photographs."""
    shutil.rmtree(images / "002.Jay")


def add_a_class(images: Path) -> None:
    """With one photograph."""
    shutil.copytree(images / "004.Gull", images / "005.Emu")


def remove_a_photograph(images: Path) -> None:
    """One of three."""
    (images / "002.Jay" / "Jay_0002_14.jpg").unlink()


@pytest.mark.parametrize(
    ("change", "said", "damaged"),
    [
        (remove_a_class, "8 photographs of 3 classes, not 11 of 4", "002.Jay (class missing)"),
        (add_a_class, "13 photographs of 5 classes, not 11 of 4", "005.Emu (not a class of CUB-200-2011)"),
        (remove_a_photograph, "10 photographs of 4 classes, not 11 of 4", "002.Jay/Jay_0002_14.jpg (missing)"),
    ],
)
def test_what_is_missing_or_too_much_is_named(root: Path, change: Callable[[Path], None], said: str, damaged: str) -> None:
    """Classes by the list of the split, photographs by the authors' own list."""
    change(root / "CUB_200_2011" / "images")
    error = refusal(Few(root=root))
    assert said in str(error) and damaged in str(error)
    assert error.damaged[0] == damaged


def test_without_the_authors_list_photographs_are_counted(root: Path) -> None:
    """A folder of images alone."""
    (root / "CUB_200_2011" / "images.txt").unlink()
    remove_a_photograph(root / "CUB_200_2011" / "images")
    assert "has 10 photographs of 4 classes, not 11 of 4.\n" in str(refusal(Few(root=root)))


@pytest.mark.parametrize("packed", [False, True])
def test_every_photograph_that_cannot_be_read_is_named(root: Path, packed: bool) -> None:
    """And where it was read: the archive, not the folder that it was unpacked to."""
    for name in ("001.Auk/Auk_0001_7.jpg", "002.Jay/Jay_0000_0.jpg"):
        path = root / "CUB_200_2011" / "images" / name
        path.write_bytes(path.read_bytes()[:300])
    if packed:
        pack(root, root.parent / "CUB_200_2011.tgz")
    error = refusal(Few(root=root.parent / "CUB_200_2011.tgz" if packed else root))
    assert error.damaged == ("001.Auk/Auk_0001_7.jpg (unreadable)", "002.Jay/Jay_0000_0.jpg (unreadable)")
    assert str(error).startswith("2 of 11 images")
    assert f"Read from {root.parent / 'CUB_200_2011.tgz' if packed else root / 'CUB_200_2011' / 'images'};" in str(error)


@pytest.mark.parametrize("root", [None, "empty"])
def test_without_a_source_it_says_how_to_get_it(root: str | None, tmp_path: Path) -> None:
    """Its classes have no images then: their names stand in the files alone. The identity says so and does not fail."""
    (tmp_path / "empty").mkdir()
    dataset = Cub200(root=tmp_path / root if root else None)
    said = str(refusal(dataset))
    for wanted in ("CUB_200_2011.tgz", "fsbench data get cub-200", "--data-root"):
        assert wanted in said
    assert dataset.identity().endswith("-absent")
    assert dataset.found() is None


def test_a_root_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    with pytest.raises(DataError, match="absent does not exist"):
        Cub200(root=tmp_path / "absent")


@pytest.mark.parametrize("side", [0, -84, 1025])
def test_an_impossible_side_is_refused(side: int) -> None:
    """With the sides that are possible."""
    with pytest.raises(UsageError, match="from 1 to 1024 pixels"):
        Cub200({"side": side})


@pytest.mark.parametrize("split", Cub200.splits)
def test_the_committed_lists_are_the_published_ones(split: str) -> None:
    """Name for name."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    published = Path(os.environ["FSBENCH_DATA"]) / "splits" / "cub-200" / f"{split}.json"
    assert Cub200().class_names(split) == json.loads(published.read_text())
