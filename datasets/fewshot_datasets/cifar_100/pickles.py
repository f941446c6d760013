"""CIFAR-100's own python archive: `train`, `test` and `meta`, which Python 2 pickled. They are read and never executed.

A batch has the pixels of its images, the number of each one's class, and the name of the file that it was made of; `meta`
has the names of the classes.

Legend: n images of a batch, S the side of an image (32).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files, opened
from fewshot_bench.errors import DataError
from fewshot_datasets.cifar_100.manifest import SIDE, Listed
from fewshot_datasets.sources.pickled_arrays import read_pickle, text

PICKLES = "cifar-100-python"
BATCHES = ("train", "test")
META = "meta"


@dataclass(frozen=True)
class Pickles:
    """The images of both batches, in memory."""

    images: Mapping[str, Images]
    """Pixels [3 * S * S] by `class/stem`: the red ones first, row by row, then the green and the blue ones."""

    def image(self, one: Listed, stem: str) -> Images:
        """An image [3, S, S]; raises FileNotFoundError."""
        if (pixels := self.images.get(f"{one.name}/{stem}")) is None:
            raise FileNotFoundError(stem)
        return pixels.reshape(3, SIDE, SIDE)

    def name(self, one: Listed, stem: str) -> str:
        """What an image is called here: its class, and the file that it was made of."""
        return f"{one.name}/{stem}.png"


def open_pickles(path: Path) -> Pickles:
    """The images of the archive, or of the folder with the three pickles.

    Raises `DataError` for one that is damaged, is another one, or has two images under one name.
    """
    with opened(path, below=cache_folder()) as files:
        inside = "" if path.is_dir() else f"{PICKLES}/"
        try:
            meta, *batches = (_fields(files, inside + name, path) for name in (META, *BATCHES))
            classes = [text(name) for name in meta["fine_label_names"]]
            named = [pair for batch in batches for pair in _images(batch, classes)]
        except FileNotFoundError as error:
            raise DataError(f"{path} is not CIFAR-100's python archive: it holds no {inside}train, test or meta.") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not CIFAR-100's python archive ({type(error).__name__}: {error}).") from error
    if shared := [name for name, times in Counter(name for name, _ in named).items() if times > 1]:
        raise DataError(f"{path} has several images under one name, {shared[0]}: it is unclear which is which.")
    return Pickles(dict(named))


def _fields(files: Files, name: str, path: Path) -> dict[str, Any]:
    """What a pickle holds, a dictionary."""
    with files.stream(name) as file:
        held = read_pickle(file, f"{name} of {path}")
    return {text(key): value for key, value in held.items()}


def _images(batch: Mapping[str, Any], classes: list[str]) -> Iterator[tuple[str, Images]]:
    """Each image of a batch, by its class and the stem of its file's name."""
    pixels = batch["data"]  # [n, 3 * S * S]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (3 * SIDE * SIDE,):
        raise ValueError(f"images {pixels.dtype} {pixels.shape}")
    for label, name, image in zip(batch["fine_labels"], batch["filenames"], pixels, strict=True):
        yield f"{classes[label]}/{text(name).removesuffix('.png')}", image
