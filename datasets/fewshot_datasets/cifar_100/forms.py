"""The two forms in which CIFAR-100 is passed on: the CIFAR-FS authors' archive of PNGs, and its own archive of pickled
arrays.

Both have each image under its class and the name of its file, so either gives the images that the manifest lists.

Legend: I images of a class (600), S the side of an image (32).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files, is_archive
from fewshot_bench.data.images.decoding import attempted
from fewshot_bench.errors import DataError
from fewshot_datasets.cifar_100.manifest import FOLDER, SIDE, Listed, load_rgb, pixel_hash
from fewshot_datasets.cifar_100.pickles import BATCHES, META, PICKLES, open_pickles


@dataclass(frozen=True)
class Source:
    """Where the images lie."""

    path: Path
    """The archive, or the folder that holds `cifar100` or the three pickles."""
    pickled: bool

    @property
    def variant(self) -> str:
        """Which form it is, in words."""
        return "CIFAR-100's python archive" if self.pickled else "the CIFAR-FS authors' archive of PNGs"


class Form(Protocol):
    """A form of CIFAR-100, open."""

    def image(self, one: Listed, stem: str) -> Images:
        """An image [3, S, S]; raises FileNotFoundError, or an error of `UNREADABLE`."""
        ...

    def name(self, one: Listed, stem: str) -> str:
        """What an image is called in this form."""
        ...


@dataclass(frozen=True)
class Pngs:
    """The authors' archive of CIFAR-FS, `cifar100/data/<class>/<stem>.png`, or the folder that it was extracted in."""

    files: Files

    def image(self, one: Listed, stem: str) -> Images:
        """An image decoded."""
        return load_rgb(self.files.read(one.path(stem)))

    def name(self, one: Listed, stem: str) -> str:
        """Its file."""
        return one.path(stem)


def find_source(places: Iterable[Path]) -> Source | None:
    """The first place that is, or holds, `cifar100.zip`, `cifar-100-python.tar.gz` or the folder that either extracts to."""
    for place in places:
        if place.is_file() and is_archive(place):
            return Source(place, pickled=place.suffix.lower() != ".zip")
        if (place / "cifar100.zip").is_file():
            return Source(place / "cifar100.zip", pickled=False)
        for folder in (place, place.parent) if place.name == "cifar100" else (place,):
            if (folder / FOLDER).is_dir():
                return Source(folder, pickled=False)
        for folder in (place / PICKLES, place):
            if all((folder / name).is_file() for name in (*BATCHES, META)):
                return Source(folder, pickled=True)
        if (place / f"{PICKLES}.tar.gz").is_file():
            return Source(place / f"{PICKLES}.tar.gz", pickled=True)
    return None


def read_classes(source: Source, listed: Sequence[Listed]) -> Iterator[tuple[Images, list[str]]]:
    """The images of each class [I, 3, S, S], and what is wrong with them.

    Raises `DataError` where an archive is damaged, or is another one.
    """
    form: Form = open_pickles(source.path) if source.pickled else open_pngs(source.path)
    yield from (read_class(form, one) for one in listed)  # two processes cost more than they gain: files of 2 kB


def read_class(form: Form, one: Listed) -> tuple[Images, list[str]]:
    """The images of a class [I, 3, S, S], and what is wrong with them."""
    block = np.zeros((len(one.stems), 3, SIDE, SIDE), np.uint8)
    damaged: list[str] = []
    for i, stem in enumerate(one.stems):
        with attempted(form.name(one, stem), damaged):
            block[i] = form.image(one, stem)
    if not damaged and pixel_hash([block]) != one.pixels:
        damaged.append(f"class {one.name} (some images altered)")
    return block, damaged


def open_pngs(path: Path) -> Pngs:
    """The authors' archive or folder; raises `DataError` for an archive that is damaged, or another one."""
    files = Files(path)
    if path.is_file() and not any(name.startswith(f"{FOLDER}/") for name in files.names()):
        raise DataError(f"{path} is not the archive of CIFAR-FS: it holds no folder {FOLDER}.")
    return Pngs(files)
