"""mini-ImageNet: its split, its resizing, and the refusal of sources that are missing or damaged, on a synthetic archive."""

import csv
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fewshot_bench.errors import DataError
from fewshot_datasets import mini_imagenet
from fewshot_datasets.mini_imagenet import MiniImagenet, prepare

Pixels = npt.NDArray[np.uint8]
LISTS = {"train": "n00000001 1-2 5\nn00000002 3-5", "val": "n00000003 1 3-4", "test": "n00000004 1298-1300"}
GREY, CMYK = "n0000000100000002.jpg", "n0000000200000004.jpg"


class Tiny(MiniImagenet):
    """mini-ImageNet with four classes of three images each."""

    def split_list(self, split: str) -> str:
        """The four classes."""
        return LISTS[split]


NAMES = [f"{image}.jpg" for members in Tiny().classes().values() for one in members for image in one.image_ids]


def photograph(name: str) -> bytes:
    """A JPEG of a size of its own: left half of a dark colour of its own, right half light; one grey, one CMYK."""
    number = NAMES.index(name)
    pixels = np.full((60 + 7 * number, 120 - 5 * number, 3), 220, np.uint8)
    pixels[:, : pixels.shape[1] // 2] = (10 * number, 60, 100)
    file = BytesIO()
    Image.fromarray(pixels).convert({GREY: "L", CMYK: "CMYK"}.get(name, "RGB")).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data root with the images in the folder `mini-imagenet/images`, and a stray file beside them."""
    images = tmp_path / "data" / "mini-imagenet" / "images"
    images.mkdir(parents=True)
    for name in NAMES:
        (images / name).write_bytes(photograph(name))
    (images / "n0000000100000003.jpg").write_bytes(b"not in the lists")
    return tmp_path / "data"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A data root with the same images in `mini-imagenet/images.zip`."""
    (tmp_path / "zipped" / "mini-imagenet").mkdir(parents=True)
    pack(tmp_path / "zipped" / "mini-imagenet" / "images.zip", "images/")
    return tmp_path / "zipped"


def pack(path: Path, inside: str) -> None:
    """Write an archive with the images in a folder of it, the last first."""
    with ZipFile(path, "w") as file:
        for name in reversed(NAMES):
            file.writestr(f"{inside}{name}", photograph(name))


def images(dataset: MiniImagenet) -> Pixels:
    """All images of a data set, [n, 3, 84, 84]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


def refusal(dataset: MiniImagenet) -> str:
    """What a data set says, in one to three lines, when it refuses its source."""
    with pytest.raises(DataError) as error:
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_every_class_has_six_hundred_images_sorted_by_name() -> None:
    """64, 16 and 20 classes."""
    classes = MiniImagenet().classes()
    assert {split: len(members) for split, members in classes.items()} == {"train": 64, "val": 16, "test": 20}
    members = [one for split in classes.values() for one in split]
    assert {len(one.image_ids) for one in members} == {600}
    assert all(list(one.image_ids) == sorted(one.image_ids) for one in members)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_split_is_the_published_one(split: str) -> None:
    """Ravi & Larochelle's lists, line for line."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    lists = Path(os.environ["FSBENCH_DATA"]) / "splits" / "mini-imagenet-ravi"
    with (lists / f"{split}.csv").open(newline="") as file:
        published = [(row["filename"], row["label"]) for row in csv.DictReader(file)]
    ours = [(f"{image}.jpg", one.name) for one in MiniImagenet().classes()[split] for image in one.image_ids]
    assert ours == published


def test_images_come_in_the_order_of_the_lists(folder: Path) -> None:
    """uint8 of the declared shape, in blocks however long, each image from its own file."""
    made = images(Tiny(root=folder))
    assert (made.dtype, made.shape) == (np.uint8, (12, 3, 84, 84))
    for name, image in zip(NAMES, made, strict=True):
        np.testing.assert_array_equal(image, prepare(photograph(name)))


@pytest.mark.parametrize("block", [1, 5, 12])
def test_blocks_of_any_size_hold_the_same_images(folder: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a block is held at once, and none is lost between two."""
    expected = images(Tiny(root=folder))
    monkeypatch.setattr(mini_imagenet, "BLOCK", block)
    blocks = list(Tiny(root=folder).images(lambda done, total: None))
    assert max(map(len, blocks)) == block
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_resized_as_a_whole(name: str) -> None:
    """Whatever its size, both its halves are there, without a border; colours are those of the photograph."""
    image = prepare(photograph(name))  # [3, 84, 84]
    dark = np.array([10 * NAMES.index(name), 60, 100])
    if name == GREY:
        dark = np.full(3, dark @ [0.299, 0.587, 0.114])  # ITU-R 601, as Pillow converts
    left, right = image[:, :, :36].reshape(3, -1), image[:, :, 48:].reshape(3, -1)
    np.testing.assert_allclose(left.mean(1), dark, atol=3)
    np.testing.assert_allclose(right.mean(1), 220, atol=3)


def test_the_filter_is_lanczos() -> None:
    """A sharp edge rings, which a bilinear filter's does not."""
    pixels = np.full((56, 56, 3), 50, np.uint8)
    pixels[:, 28:] = 200
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100)
    image = prepare(file.getvalue())
    assert image.min() < 45 and image.max() > 205


@pytest.mark.parametrize(
    "place", ["mini-imagenet.zip", "mini-imagenet/mini-imagenet.zip", "mini-imagenet/images.zip", "images.zip"]
)
@pytest.mark.parametrize("inside", ["", "images/", "mini-imagenet/images/"])
def test_an_archive_gives_the_same_pixels_wherever_it_lies(folder: Path, tmp_path: Path, place: str, inside: str) -> None:
    """In the root or its sub-folder, with or without folders inside."""
    path = tmp_path / "other" / place
    path.parent.mkdir(parents=True)
    pack(path, inside)
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "other")), images(Tiny(root=folder)))


@pytest.mark.parametrize("place", ["images", "mini-imagenet", "."])
def test_a_folder_gives_the_same_pixels_wherever_it_lies(folder: Path, tmp_path: Path, place: str) -> None:
    """The root may hold the images itself, or in `images` or `mini-imagenet`."""
    (folder / "mini-imagenet" / "images").rename(tmp_path / "moved")
    target = tmp_path / "other" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "moved").rename(target.resolve())
    assert len(images(Tiny(root=tmp_path / "other"))) == 12


def test_the_identity_is_that_of_lists_and_file_sizes(folder: Path, archive: Path) -> None:
    """Folder and archive of the same files are one data set; another photograph, or none, is another."""
    same = Tiny(root=folder).identity()
    assert Tiny(root=archive).identity() == same
    path = folder / "mini-imagenet" / "images" / GREY
    path.write_bytes(path.read_bytes() + b"\0")
    assert len({same, Tiny(root=folder).identity(), Tiny().identity(), MiniImagenet().identity()}) == 4


def test_the_identity_reads_no_image(folder: Path) -> None:
    """Files that are no images have one too."""
    before = Tiny(root=folder).identity()
    for path in (folder / "mini-imagenet" / "images").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    assert Tiny(root=folder).identity() == before


def test_a_missing_image_is_named(folder: Path) -> None:
    """By the name in the lists, with how many are missing."""
    (folder / "mini-imagenet" / "images" / NAMES[7]).unlink()
    said = refusal(Tiny(root=folder))
    assert f"1 of 12 images of mini-ImageNet are missing or damaged: {NAMES[7]} (missing)." in said


def test_an_image_missing_from_an_archive_is_named(archive: Path) -> None:
    """An archive's members are checked like files."""
    with ZipFile(archive / "mini-imagenet" / "images.zip", "w") as file:
        file.writestr(f"images/{NAMES[0]}", photograph(NAMES[0]))
    assert f"11 of 12 images of mini-ImageNet are missing or damaged: {NAMES[1]} (missing)" in refusal(Tiny(root=archive))


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old[: len(old) // 2],
        lambda old: b"",
        lambda old: b"GIF89a" + old[6:],
        lambda old: resized(old, 12_000, 9_000),
        lambda old: resized(old, 60_000, 60_000),
    ],
    ids=["truncated", "empty", "no JPEG", "forged size", "forged larger size"],
)
def test_an_unreadable_image_is_named(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """A file that is no complete JPEG of a sane size is refused by its name."""
    path = folder / "mini-imagenet" / "images" / NAMES[3]
    path.write_bytes(change(path.read_bytes()))
    assert f"{NAMES[3]} (unreadable)" in refusal(Tiny(root=folder))


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says that it is of another size."""
    at = jpeg.index(b"\xff\xc0") + 5  # start of frame: length, precision, height, width
    return jpeg[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 4 :]


def test_many_damaged_images_are_counted_and_the_first_named(folder: Path) -> None:
    """Three names are enough; the rest is a number."""
    for name in NAMES[1:]:
        (folder / "mini-imagenet" / "images" / name).write_bytes(b"")
    said = refusal(Tiny(root=folder))
    assert "11 of 12" in said and NAMES[3] in said and NAMES[4] not in said and "and 8 more" in said


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_archive_is_named(archive: Path, keep: int) -> None:
    """An archive that ends early is refused by its path, and asking for its identity is no error."""
    path = archive / "mini-imagenet" / "images.zip"
    path.write_bytes(path.read_bytes()[:keep])
    assert Tiny(root=archive).identity()
    assert f"{path} is damaged or truncated" in refusal(Tiny(root=archive))


@pytest.mark.parametrize("root", [None, "empty"])
def test_without_a_source_it_says_what_to_get_and_where_to_put_it(root: str | None, tmp_path: Path) -> None:
    """The names of the images, the folder and the option."""
    (tmp_path / "empty").mkdir()
    said = refusal(MiniImagenet(root=tmp_path / root if root else None))
    for wanted in ("n0153282900000005.jpg", "images.zip", "mini-imagenet", "--data-root"):
        assert wanted in said


def test_a_root_that_is_no_folder_is_refused_at_once(tmp_path: Path) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    with pytest.raises(DataError, match="absent does not exist or is no folder"):
        MiniImagenet(root=tmp_path / "absent")
