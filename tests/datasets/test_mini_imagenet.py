"""mini-ImageNet as images named as in the lists: its split, its resizing, and the refusal of what is missing or damaged."""

import csv
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from small_imagenet import GREY, NAMES, Tiny, images, photograph, write_named, zip_named

from fewshot_bench.errors import DataError
from fewshot_datasets.imagenet import forms
from fewshot_datasets.imagenet.forms import WHOLE
from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet
from fewshot_datasets.imagenet.mini_imagenet_forms import MOST


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data root with the images in the folder `mini-imagenet/images`, and a stray file beside them."""
    write_named(tmp_path / "data" / "mini-imagenet" / "images")
    (tmp_path / "data" / "mini-imagenet" / "images" / "n0000000100000003.jpg").write_bytes(b"not in the lists")
    return tmp_path / "data"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A data root with the same images in `mini-imagenet/images.zip`."""
    zip_named(tmp_path / "zipped" / "mini-imagenet" / "images.zip", "images/")
    return tmp_path / "zipped"


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


def test_the_lists_name_images_up_to_the_last_of_each_class_in_ilsvrc() -> None:
    """Of n images 600 are named, so the last of them is n or not far below: more than 15 below in one class of 20,000."""
    for members in MiniImagenet().listed().values():
        for one in members:
            last = int(one.image_ids[-1][-8:])
            assert 0 <= MiniImagenet.fewer.get(one.name, MOST) - last <= 15, one.name


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
        np.testing.assert_array_equal(image, WHOLE(photograph(name)))


@pytest.mark.parametrize("block", [1, 5, 12])
def test_blocks_of_any_size_hold_the_same_images(folder: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a block is held at once, and none is lost between two."""
    expected = images(Tiny(root=folder))
    monkeypatch.setattr(forms, "BLOCK", block)
    blocks = list(Tiny(root=folder).images(lambda done, total: None))
    assert max(map(len, blocks)) == block
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_an_image_is_resized_as_a_whole(folder: Path, number: int) -> None:
    """Whatever its size, both its halves are there, without a border; colours are those of the photograph."""
    image = images(Tiny(root=folder))[number]  # [3, 84, 84]
    dark = np.array([10 * number, 60, 100])
    if NAMES[number] == GREY:
        dark = np.full(3, dark @ [0.299, 0.587, 0.114])  # ITU-R 601, as Pillow converts
    left, right = image[:, :, :36].reshape(3, -1), image[:, :, 48:].reshape(3, -1)
    np.testing.assert_allclose(left.mean(1), dark, atol=3)
    np.testing.assert_allclose(right.mean(1), 220, atol=3)


def test_the_filter_is_lanczos(folder: Path) -> None:
    """A sharp edge rings, which a bilinear filter's does not."""
    pixels = np.full((56, 56, 3), 50, np.uint8)
    pixels[:, 28:] = 200
    Image.fromarray(pixels).save(folder / "mini-imagenet" / "images" / NAMES[0], "JPEG", quality=100)
    image = images(Tiny(root=folder))[0]
    assert image.min() < 45 and image.max() > 205


@pytest.mark.parametrize(
    "place", ["mini-imagenet.zip", "mini-imagenet/mini-imagenet.zip", "mini-imagenet/images.zip", "images.zip"]
)
@pytest.mark.parametrize("inside", ["", "images/", "mini-imagenet/images/"])
def test_an_archive_gives_the_same_pixels_wherever_it_lies(folder: Path, tmp_path: Path, place: str, inside: str) -> None:
    """In the root or its sub-folder, with or without folders inside; or the root itself."""
    zip_named(tmp_path / "other" / place, inside)
    expected = images(Tiny(root=folder))
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "other")), expected)
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "other" / place)), expected)


@pytest.mark.parametrize("place", ["images", "mini-imagenet", "."])
def test_a_folder_gives_the_same_pixels_wherever_it_lies(folder: Path, tmp_path: Path, place: str) -> None:
    """The root may hold the images itself, or in `images` or `mini-imagenet`."""
    (folder / "mini-imagenet" / "images").rename(tmp_path / "moved")
    target = tmp_path / "other" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "moved").rename(target.resolve())
    assert len(images(Tiny(root=tmp_path / "other"))) == 12


def test_images_may_be_of_another_kind_of_file(folder: Path) -> None:
    """A PNG has its name without the suffix from the lists."""
    place = folder / "mini-imagenet" / "images"
    with Image.open(BytesIO(photograph(NAMES[0]))) as image:
        image.save(place / NAMES[0].replace(".jpg", ".png"))
    (place / NAMES[0]).unlink()
    np.testing.assert_array_equal(images(Tiny(root=folder))[0], WHOLE(photograph(NAMES[0])))


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


def test_it_says_that_it_found_images_named_as_in_the_lists(folder: Path) -> None:
    """With their number."""
    assert Tiny(root=folder).variant() == "12 images named as in Ravi & Larochelle's lists"


def test_a_missing_image_is_named(folder: Path) -> None:
    """By the name in the lists, with how many are missing."""
    (folder / "mini-imagenet" / "images" / NAMES[7]).unlink()
    said = refusal(Tiny(root=folder))
    assert f"1 of 12 images are missing or damaged: {NAMES[7]} (missing)." in said
    assert str(folder / "mini-imagenet" / "images") in said


def test_an_image_missing_from_an_archive_is_named(archive: Path) -> None:
    """An archive's members are checked like files."""
    with ZipFile(archive / "mini-imagenet" / "images.zip", "w") as file:
        file.writestr(f"images/{NAMES[0]}", photograph(NAMES[0]))
    assert f"11 of 12 images are missing or damaged: {NAMES[1]} (missing)" in refusal(Tiny(root=archive))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda old: old[: len(old) // 2], "unreadable"),
        (lambda old: b"", "unreadable"),
        (lambda old: b"GIF89a" + old[6:], "it is a GIF"),
        (lambda old: forged(old, 12_000, 9_000), "more than 100,000,000 pixels"),
        (lambda old: forged(old, 60_000, 60_000), "more than 100,000,000 pixels"),
    ],
    ids=["truncated", "empty", "no JPEG", "forged size", "forged larger size"],
)
def test_an_unreadable_image_is_named(folder: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    """A file that is no complete image of a sane size is refused by its name."""
    path = folder / "mini-imagenet" / "images" / NAMES[3]
    path.write_bytes(change(path.read_bytes()))
    assert f"{NAMES[3]} ({reason})" in refusal(Tiny(root=folder))


def forged(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says that it is of another size."""
    at = jpeg.index(b"\xff\xc0") + 5  # start of frame: length, precision, height, width
    return jpeg[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 4 :]


def test_many_damaged_images_are_counted_and_the_first_named(folder: Path) -> None:
    """Three names are enough for a reader, the rest is a number; a program gets them all."""
    for name in NAMES[1:]:
        (folder / "mini-imagenet" / "images" / name).write_bytes(b"")
    with pytest.raises(DataError) as error:
        images(Tiny(root=folder))
    said = str(error.value)
    assert "11 of 12" in said and NAMES[3] in said and NAMES[4] not in said and "and 8 more" in said
    assert error.value.damaged == tuple(f"{name} (unreadable)" for name in NAMES[1:])


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_archive_is_named(archive: Path, keep: int) -> None:
    """An archive that ends early is refused by its path, and asking for its identity is no error."""
    path = archive / "mini-imagenet" / "images.zip"
    path.write_bytes(path.read_bytes()[:keep])
    assert Tiny(root=archive).identity()
    assert f"{path} is damaged or truncated" in refusal(Tiny(root=archive))
    with pytest.raises(DataError, match="is damaged or truncated"):
        Tiny(root=archive).found()


@pytest.mark.parametrize("root", [None, "empty"])
def test_without_a_source_it_says_what_to_get_and_where_to_put_it(root: str | None, tmp_path: Path) -> None:
    """The names of the images, the command, the folder and the option."""
    (tmp_path / "empty").mkdir()
    said = refusal(MiniImagenet(root=tmp_path / root if root else None))
    for wanted in ("n0153282900000005.jpg", "images.zip", "fsbench data import mini-imagenet PATH", "--data-root"):
        assert wanted in said


@pytest.mark.parametrize("name", ["absent", "photo.jpg"])
def test_a_root_that_cannot_be_a_source_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    (tmp_path / "photo.jpg").write_bytes(photograph(NAMES[0]))
    with pytest.raises(DataError, match=f"{name} does not exist or is not a folder, archive or pickle"):
        MiniImagenet(root=tmp_path / name)
