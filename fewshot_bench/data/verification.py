"""Verification of a data set: its whole source is read again and compared with what was prepared; duplicates are found.

Memory stays flat: a short hash of each image is kept, and never more pixels than those of a block. Nothing is written.

Legend: n images, C channels, H and W their size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.answers import checked_classes
from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.images.loss_notes import heard
from fewshot_bench.data.prepare import checked_images, open_prepared, prepared_folder, structure_id
from fewshot_bench.errors import DataError

Hashes = npt.NDArray[np.uint64]  # [n, 2]
HASH_BYTES = 16
"""Two of 10 million different images share a hash of so many bytes with a probability of 1e-25."""
AT_ONCE = 256
"""Prepared images that are hashed at once."""
CacheState = Literal["whole", "damaged", "not prepared"]


@dataclass(frozen=True)
class StoredImage:
    """Where an image stands."""

    split: str
    class_name: str
    image_id: str

    def __str__(self) -> str:
        own = self.image_id if self.class_name in self.image_id else f"{self.class_name}/{self.image_id}"
        return f"{self.split} {own}"


Duplicates = tuple[StoredImage, ...]
"""Images whose pixels are equal, in the order of the data set."""


@dataclass(frozen=True)
class Cached:
    """What was prepared: its folder, its state, its images [n, C, H, W] where they can be compared."""

    folder: Path
    state: CacheState
    images: Images | None = None


@dataclass(frozen=True)
class Verification:
    """What was found."""

    images: int
    """How many the data set has."""
    cached: Cached
    fingerprint: str | None = None
    """Hash of the source's prepared pixels; None where it cannot be read."""
    error: str = ""
    """What is wrong with the source."""
    damaged: tuple[str, ...] = ()
    """Each file of the source that is damaged, and how."""
    differing: tuple[str, ...] = ()
    """Classes whose prepared images are not those of the source."""
    duplicates: tuple[Duplicates, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the images lose when they become pixels; this is no damage."""

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged; duplicates are no damage."""
        return not self.error and self.cached.state != "damaged" and not self.differing

    @property
    def across_splits(self) -> list[Duplicates]:
        """The groups of duplicates that stand in more than one split."""
        return [group for group in self.duplicates if len({image.split for image in group}) > 1]


class Listing:
    """The classes of a data set in the order in which its images are stored."""

    def __init__(self, dataset: Dataset) -> None:
        self.splits = checked_classes(dataset)
        self.classes = [(split, one) for split, members in self.splits.items() for one in members]
        self.starts = np.cumsum([0, *(len(one.image_ids) for _, one in self.classes)])  # [classes + 1]

    @property
    def images(self) -> int:
        """How many there are."""
        return int(self.starts[-1])

    def class_of(self, image: int) -> tuple[str, ImageClass, int]:
        """Split and class of an image, and its place in the class."""
        row = int(np.searchsorted(self.starts, image, side="right")) - 1
        return *self.classes[row], image - int(self.starts[row])

    def stored(self, image: int) -> StoredImage:
        """Where an image stands."""
        split, one, place = self.class_of(image)
        return StoredImage(split, one.name, one.image_ids[place])


def verify(name: str, dataset: Dataset, progress: Progress) -> Verification:
    """Read the whole source again, and what was prepared of it, if it was.

    Raises `DataError` where there is neither a source nor anything prepared of it.
    """
    listing = Listing(dataset)
    cached = open_cached(name, dataset, listing)
    sha, hashes = sha256(), np.empty((listing.images, 2), np.uint64)
    differing: dict[str, None] = {}  # ordered, each once
    first = 0
    try:
        with heard() as remarks:
            for block in checked_images(dataset, listing.images, progress):
                sha.update(np.ascontiguousarray(block).data)
                hashes[first : first + len(block)] = image_hashes(block)
                for image in _other_pixels(block, cached, first):
                    split, one, _ = listing.class_of(image)
                    differing[f"{split} {one.name}"] = None
                first += len(block)
    except DataError as error:
        if cached.state == "not prepared" and not error.damaged:
            raise
        return Verification(listing.images, cached, error=str(error), damaged=error.damaged)
    duplicates = tuple(tuple(map(listing.stored, group)) for group in equal_rows(hashes))
    said = tuple(remarks.lines(listing.images, dataset.options))
    return Verification(listing.images, cached, sha.hexdigest(), "", (), tuple(differing), duplicates, said)


def open_cached(name: str, dataset: Dataset, listing: Listing) -> Cached:
    """What was prepared of a data set, held against its own fingerprint and against the data set's classes."""
    folder = prepared_folder(name, dataset)
    prepared = open_prepared(name, dataset)
    if prepared is None:
        return Cached(folder, "damaged" if folder.exists() else "not prepared")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        structure = {split: one["structure_id"] for split, one in prepared.meta["splits"].items()}
        fingerprint = prepared.fingerprint
    except (OSError, ValueError, EOFError, KeyError):
        return Cached(folder, "damaged")
    if images.shape != (listing.images, *dataset.shape) or images.dtype != np.uint8:
        return Cached(folder, "damaged")
    sha = sha256()
    for first in range(0, len(images), AT_ONCE):
        sha.update(images[first : first + AT_ONCE].data)
    meant = {split: structure_id(members) for split, members in listing.splits.items()}
    return Cached(folder, "whole" if (sha.hexdigest(), meant) == (fingerprint, structure) else "damaged", images)


def image_hashes(images: Images) -> Hashes:
    """A hash of each image's pixels: [n, C, H, W] -> [n, 2]."""
    digests = b"".join(blake2b(image.tobytes(), digest_size=HASH_BYTES).digest() for image in images)
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def equal_rows(hashes: Hashes) -> Iterator[list[int]]:
    """The groups of two and more rows that are equal, each in ascending order, by their first rows."""
    order = np.lexsort(hashes.T)  # stable
    ordered = hashes[order]
    twins = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))  # places whose next row is equal
    runs: Sequence[npt.NDArray[np.int64]] = np.split(twins, np.flatnonzero(np.diff(twins) > 1) + 1)
    yield from sorted(order[run[0] : run[-1] + 2].tolist() for run in runs if len(run))


def _other_pixels(block: Images, cached: Cached, first: int) -> list[int]:
    """Which images of a block [n, C, H, W], that starts with image `first`, were prepared as other pixels."""
    if cached.images is None:
        return []
    other = (block != cached.images[first : first + len(block)]).reshape(len(block), -1).any(axis=1)  # [n]
    return [first + int(row) for row in np.flatnonzero(other)]
