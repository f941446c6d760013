"""What verification finds, and that it finds nothing where nothing is wrong."""

import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import squares
from hypothesis import given
from hypothesis import strategies as st
from squares import IMAGES, TAKEN, Squares

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.prepare import prepare
from fewshot_bench.data.verification import StoredImage, Verification, equal_rows, image_hashes, verify
from fewshot_bench.errors import DataError
from fewshot_bench.plugins import registry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with all squares."""
    return squares.write(tmp_path)


def verified(root: Path | None, dataset: type[Dataset] = Squares) -> Verification:
    """The verification of a data set at a data root."""
    return verify("squares", dataset({}, root), lambda done, total: None)


def prepared_at(root: Path) -> Path:
    """Prepare the squares; the folder of the cache."""
    return prepare("squares", Squares({}, root)).folder


def test_a_whole_data_set_is_whole(root: Path) -> None:
    """Prepared or not; the fingerprint is the sha256 of all pixels in order, and nothing is written."""
    pixels = b"".join(squares.pixels(name, number) for name in TAKEN for number in range(IMAGES))
    found = verified(root)
    assert found.whole
    assert (found.images, found.fingerprint) == (len(TAKEN) * IMAGES, sha256(pixels).hexdigest())
    assert found.cached.state == "not prepared"
    assert not found.cached.folder.exists()
    folder = prepared_at(root)
    again = verified(root)
    assert again.whole
    assert again.cached.state == "whole"
    assert again.cached.folder == folder
    assert (again.fingerprint, again.differing, again.duplicates) == (found.fingerprint, (), ())


def test_every_damaged_file_is_named(root: Path) -> None:
    """One that is cut, one that is gone: both, each with what is wrong."""
    folder = prepared_at(root)
    squares.file(root, "b", 3).write_bytes(b"cut")
    squares.file(root, "e", 0).unlink()
    found = verified(root)
    assert not found.whole
    assert found.damaged == ("b/3.bin (unreadable)", "e/0.bin (missing)")
    assert "2 squares are missing or damaged" in found.error
    assert found.fingerprint is None
    assert (found.cached.state, found.cached.folder) == ("whole", folder)


def test_a_source_that_changed_is_told_from_what_was_prepared_by_its_classes(root: Path) -> None:
    """Two images of one class and one of another, in the order of the data set; the cache is as it was made."""
    prepared_at(root)
    for name, number in (("e", 1), ("b", 0), ("b", 4)):
        squares.file(root, name, number).write_bytes(b"else")
    found = verified(root)
    assert found.differing == ("train b", "test e")
    assert found.cached.state == "whole"
    assert not found.whole


def flip(path: Path, place: int) -> None:
    """Change one byte of a file, counted from its end."""
    content = bytearray(path.read_bytes())
    content[-place] ^= 1
    path.write_bytes(content)


def test_a_byte_of_the_cache_that_changed_is_found_with_its_class(root: Path) -> None:
    """The last pixel of all is of the last class; the source is not blamed."""
    flip(prepared_at(root) / "images.npy", 1)
    found = verified(root)
    assert (found.cached.state, found.differing) == ("damaged", ("test f",))
    assert found.fingerprint
    assert not found.whole


def edit(folder: Path, **changes: object) -> None:
    """Change the cache's description of itself."""
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


def reshape(folder: Path) -> None:
    """Put an array of another shape in the cache, and say that it is whole."""
    np.save(folder / "images.npy", np.zeros((120, 1, 1, 1), np.uint8))
    edit(folder, bytes=(folder / "images.npy").stat().st_size)


CACHES: dict[str, Callable[[Path], object]] = {
    "another fingerprint": lambda folder: edit(folder, fingerprint="0" * 64),
    "no fingerprint": lambda folder: edit(folder, fingerprint=None),
    "other classes": lambda folder: edit(folder, splits={}),
    "an array cut short": lambda folder: (folder / "images.npy").write_bytes(b"cut"),
    "no array": lambda folder: (folder / "images.npy").unlink(),
    "no description": lambda folder: (folder / "meta.json").unlink(),
    "a damaged header": lambda folder: flip(folder / "images.npy", (folder / "images.npy").stat().st_size),
    "another shape": reshape,
}


@pytest.mark.parametrize("name", CACHES)
def test_a_damaged_cache_is_found_and_no_class_is_blamed(name: str, root: Path) -> None:
    """Where its pixels are right or cannot be compared."""
    CACHES[name](prepared_at(root))
    found = verified(root)
    assert (found.cached.state, found.differing) == ("damaged", ())
    assert not found.whole


def test_without_a_source_the_cache_is_verified_alone(root: Path) -> None:
    """The error is the data set's own; where nothing was prepared there is nothing to verify."""
    with pytest.raises(DataError, match="they are not there"):
        verified(None)
    prepared_at(root)
    found = verified(None)
    assert found.error == "Squares need their files: they are not there."
    assert (found.damaged, found.cached.state, found.whole) == ((), "whole", False)


def test_duplicates_are_grouped_and_those_across_splits_are_told(root: Path) -> None:
    """Within a class, within a split, across splits, three at once; they are no damage."""
    for name, number, like in (("a", 1, ("a", 0)), ("c", 2, ("b", 2)), ("d", 4, ("a", 4)), ("f", 4, ("a", 4))):
        squares.file(root, name, number).write_bytes(squares.pixels(*like))
    found = verified(root)
    assert [[str(image) for image in group] for group in found.duplicates] == [
        ["train a/0", "train a/1"],
        ["train a/4", "val d/4", "test f/4"],
        ["train b/2", "train c/2"],
    ]
    assert found.across_splits == [found.duplicates[1]]
    assert found.whole


def test_an_image_id_that_has_its_class_in_it_is_not_named_twice() -> None:
    """As in most data sets."""
    assert str(StoredImage("train", "apple", "apple/000125")) == "train apple/000125"
    assert str(StoredImage("val", "apple", "000125")) == "val apple/000125"


@given(st.lists(st.integers(0, 9), max_size=60))
def test_groups_of_equal_rows_are_those_of_pythons_own_comparison(numbers: list[int]) -> None:
    """Whatever the order."""
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    hashes = np.array([[number % 3, number // 3] for number in numbers], np.uint64).reshape(-1, 2)
    assert list(equal_rows(hashes)) == [group for group in places.values() if len(group) > 1]


def test_images_of_one_other_pixel_have_other_hashes() -> None:
    """Each of 300 pixels, changed alone."""
    images = np.zeros((301, 3, 10, 10), np.uint8)
    images.reshape(301, -1)[np.arange(1, 301), np.arange(300)] = 1
    assert len(np.unique(image_hashes(images), axis=0)) == 301


class Large(Dataset):
    """200 MB in blocks of 2 MB."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, 84 x 84."""
        return 3, 84, 84

    def identity(self) -> str:
        """One of one."""
        return "large"

    def classes(self) -> dict[str, list[ImageClass]]:
        """One class of all images."""
        return {"train": [ImageClass("all", tuple(map(str, range(10_000))))], "val": [], "test": []}

    def images(self, progress: Progress) -> Iterator[Images]:
        """Each block its number."""
        for number in range(100):
            yield np.full((100, *self.shape), number, np.uint8)


def test_memory_holds_a_hash_of_each_image_and_no_copy_of_the_set(root: Path) -> None:
    """200 MB are verified in under 15, prepared or not; each block is 100 equal images."""
    prepare("squares", Large())
    tracemalloc.start()
    try:
        found = verified(None, Large)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.whole
    assert len(found.duplicates) == 100
    assert peak < 15e6


class Few(Squares):
    """It names an image more than it makes."""

    def classes(self) -> dict[str, list[ImageClass]]:
        """One more in the last class."""
        classes = super().classes()
        classes["test"][-1] = replace(classes["test"][-1], image_ids=(*map(str, range(IMAGES + 1)),))
        return classes


class Wide(Squares):
    """It makes images of another shape than it says."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Not that of its images."""
        return 1, 2, 3


@pytest.mark.parametrize("dataset", [Few, Wide])
def test_a_data_set_that_does_not_make_what_it_names_is_refused(dataset: type[Dataset], root: Path) -> None:
    """As it is when it is prepared."""
    with pytest.raises(DataError, match=dataset.__name__):
        verified(root, dataset)


def data_root() -> Path:
    """The folder of real data; skips where there is none."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "across"),
    [("fewshot_datasets.cifar_100.cifar_fs:CifarFs", 15), ("fewshot_datasets.cifar_100.fc100:Fc100", 3)],
)
def test_cifar_100_has_the_26_groups_of_duplicates_that_upstream_has(reference: str, across: int) -> None:
    """15 of them cross the splits of CIFAR-FS, 3 those of FC100; on the real archive."""
    found = verify("cifar", registry.find("datasets", reference).load()({}, data_root()), lambda done, total: None)
    assert found.whole
    assert found.images == 60_000
    assert (len(found.duplicates), len(found.across_splits)) == (26, across)
