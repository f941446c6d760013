"""A source that was found for a part of ImageNet: photographs as single files, or a source that is refused.

Legend: S the side of a prepared image (84), n images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from fewshot_bench.data.dataset import ImageClass, Images, Progress
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import Photo, decoded
from fewshot_bench.errors import DataError
from fewshot_bench.hashing import canonical_json
from fewshot_datasets.imagenet.class_folders import Sizes, from_class

SIDE = 84
BLOCK = 100  # images at once
WHOLE = Photo(SIDE, "squash", upright=False)
"""Photographs as Finn et al. prepare them: the whole image, whatever its aspect ratio, by Lanczos; EXIF is ignored."""

Classes = Mapping[str, Sequence[ImageClass]]
"""The classes of each split."""


class Source(Protocol):
    """One form of a data set, found."""

    def identity(self) -> str:
        """Changes with any image and with their order. Decodes no image."""
        ...

    def variant(self) -> str:
        """Which form it is, in words; raises `DataError` where it is another data set."""
        ...

    def classes(self) -> Classes:
        """Its classes and images, in order; raises as `variant` does."""
        ...

    def images(self, progress: Progress) -> Iterator[Images]:
        """All of them as blocks [n, 3, S, S]; raises as `variant` does, and for damaged images."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Photographs, each a file."""

    files: Files
    place: Path
    """Where the user has them."""
    form: str
    """What `variant` says."""
    named: Classes
    names: Sequence[str]
    """The file of each image, in the order of `named`."""
    key: str
    """What `identity` says."""

    def identity(self) -> str:
        """A hash of the names and sizes of the files."""
        return self.key

    def variant(self) -> str:
        """The form that was found."""
        return self.form

    def classes(self) -> Classes:
        """An image's id is what the list calls it, or the name of its file."""
        return self.named

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks of BLOCK images [n, 3, S, S]; raises `DataError` that names every file which is missing or unreadable."""
        blocks = [self.names[i : i + BLOCK] for i in range(0, len(self.names), BLOCK)]
        where = f"Read from {self.place}."  # not from where that was unpacked
        yield from decoded(self.files, blocks, WHOLE, progress, where)


@dataclass(frozen=True)
class Refused:
    """A source that is there, but damaged or of another data set: everything except its identity raises."""

    error: DataError

    def identity(self) -> str:
        """Nothing is ever prepared under it."""
        return "refused"

    def variant(self) -> str:
        """Raises `DataError`."""
        raise self.error

    def classes(self) -> Classes:
        """Raises `DataError`."""
        raise self.error

    def images(self, progress: Progress) -> Iterator[Images]:
        """Raises `DataError`."""
        raise self.error


def another(path: Path, title: str, faults: Sequence[str]) -> DataError:
    """The error for a source whose classes differ from the published lists."""
    return DataError(f"{path} is not {title} in its published split, or is incomplete:\n{'; '.join(faults)}.")


def short(text: str) -> str:
    """The first 12 hex digits of a text's sha256."""
    return sha256(text.encode()).hexdigest()[:12]


def class_folders(
    files: Files, place: Path, form: str, kind: str, listed: Classes, names: Mapping[str, Sequence[str]], sizes: Sizes
) -> ImageFiles:
    """The files of each class, in their order; their identity begins with `kind`."""
    named = {
        split: [ImageClass(one.name, tuple(from_class(one.name, name) for name in names[one.name])) for one in members]
        for split, members in listed.items()
    }
    ordered = [name for members in listed.values() for one in members for name in names[one.name]]
    return ImageFiles(files, place, form, named, ordered, f"{kind}-{key_of(named, ordered, sizes)}")


def key_of(named: Classes, names: Sequence[str], sizes: Sizes) -> str:
    """A hash of files' names, from the folders of their classes on, and sizes. It does not depend on where these folders
    lie."""
    wnids = (one.name for members in named.values() for one in members for _ in one.image_ids)
    return short_of({from_class(wnid, name): sizes[name] for wnid, name in zip(wnids, names, strict=True)})


def short_of(sizes: Sizes) -> str:
    """A hash of names and sizes."""
    return short(canonical_json(sorted(sizes.items())))
