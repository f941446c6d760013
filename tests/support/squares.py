"""A data set whose every image is known: few grey squares that lie, one a file, below a data root.

`write(root)` makes the files: image i of class c of a split is `squares/<class>/<i>.bin`, four bytes, one a pixel.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import DataError

CLASSES = {"train": ("a", "b", "c"), "val": ("d",), "test": ("e", "f")}
IMAGES = 5  # of a class
REFERENCE = f"{__file__}:Squares"
TAKEN = [name for names in CLASSES.values() for name in names]


def pixels(name: str, number: int) -> bytes:
    """The four pixels of an image; no two are equal."""
    return bytes([TAKEN.index(name), number, 7, 200])


def write(root: Path) -> Path:
    """All files, below `root`/squares; the root."""
    for name in TAKEN:
        (root / "squares" / name).mkdir(parents=True)
        for number in range(IMAGES):
            file(root, name, number).write_bytes(pixels(name, number))
    return root


def file(root: Path, name: str, number: int) -> Path:
    """Where an image lies."""
    return root / "squares" / name / f"{number}.bin"


class Squares(Dataset):
    """Squares of 2 x 2 pixels times `scale`."""

    defaults: ClassVar[Mapping[str, Any]] = {"scale": 1}
    folder = "squares"

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel."""
        return 1, 2 * self.options["scale"], 2 * self.options["scale"]

    def identity(self) -> str:
        """Whatever its files hold."""
        return "squares"

    def variant(self) -> str:
        """One of one."""
        return "four bytes a file"

    def classes(self) -> dict[str, list[ImageClass]]:
        """An image's id is its number alone, for all classes the same."""
        ids = tuple(map(str, range(IMAGES)))
        return {split: [ImageClass(name, ids) for name in names] for split, names in CLASSES.items()}

    def images(self, progress: Progress) -> Iterator[Images]:
        """A class at a time; once all were read, an error that names each file which is missing or of another size."""
        source = self._source()
        damaged = []
        for name in TAKEN:
            block = np.zeros((IMAGES, 1, 2, 2), np.uint8)
            for number in range(IMAGES):
                path = source / name / f"{number}.bin"
                content = path.read_bytes() if path.exists() else b""
                if len(content) == 4:
                    block[number] = np.frombuffer(content, np.uint8).reshape(1, 2, 2)
                else:
                    damaged.append(f"{name}/{number}.bin ({'unreadable' if content else 'missing'})")
            progress(IMAGES, IMAGES * len(TAKEN))
            yield block.repeat(self.options["scale"], 2).repeat(self.options["scale"], 3)
        if damaged:
            raise DataError(f"{len(damaged)} squares are missing or damaged: {damaged[0]}.\nRead from {source}.", damaged)

    def _source(self) -> Path:
        imported = [self.imported.path] if self.imported else []
        for place in [*self.places(), *imported]:
            if (place / TAKEN[0]).is_dir():
                return place
        raise DataError("Squares need their files: they are not there.")


class Fetched(Squares):
    """Squares that a program may download: into the cache, where they are found."""

    def places(self) -> list[Path]:
        """The downloads too."""
        return [*super().places(), cache_folder() / "downloads" / "squares"]

    def download(self) -> list[Path]:
        """They are made."""
        return [write(cache_folder() / "downloads") / "squares"]
