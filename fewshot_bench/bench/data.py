"""The data that the works use: the data set, and its images as files for learn2learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot_bench.bench.works import CLASSES, SIDE
from fewshot_bench.data.bank import ImageBank
from fewshot_bench.data.dataset import Dataset, Images, root_of
from fewshot_bench.data.prepare import Prepared, open_prepared, prepare
from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.plugins import registry

Say = Callable[[str], None]
Classes = list[list[Path]]
"""The image files of each class."""


def open_data(name: str | None, root: Path | None, say: Say) -> tuple[str, Dataset, Prepared]:
    """The named data set, prepared; without a name Omniglot where it is at hand, else glyphs.

    Raises `UsageError` for an unknown data set or one with images of another shape, `DataError` where it is missing.
    """
    name = name or _at_hand(root, say)
    dataset = _dataset(name, root)
    if dataset.shape != (1, SIDE, SIDE):
        raise UsageError(f"The standard works use grey images of {SIDE}x{SIDE}; those of {name!r} are {dataset.shape}.")
    return name, dataset, _prepared(name, dataset, say)


def image_files(dataset: Dataset, prepared: Prepared, split: str, folder: Path, say: Say) -> tuple[Classes, str]:
    """The files of the first classes of a split below `folder`, and what they are: the data set's own, or, where it has
    none, the prepared images as PNG files (with light paper, as drawings have)."""
    try:
        if files := dataset.source_files(split, CLASSES, folder):
            return list(files.values()), "source files"
    except DataError as error:  # prepared before, and its source is gone
        say(f"Its source files are missing: {str(error).splitlines()[0]}")
    return _written(prepared.bank(split), folder / split), "prepared images as PNG"


def _at_hand(root: Path | None, say: Say) -> str:
    try:
        omniglot = _dataset("omniglot", root)
        if open_prepared("omniglot", omniglot) is None:
            if omniglot.root is None:
                raise DataError("it is not prepared, and no --data-root or FSBENCH_DATA is given")
            _prepared("omniglot", omniglot, say)
    except DataError as error:
        say(f"Data set glyphs, because omniglot is not at hand: {str(error).splitlines()[0]}")
        return "glyphs"
    say("Data set omniglot.")
    return "omniglot"


def _dataset(name: str, root: Path | None) -> Dataset:
    loaded = registry.find("datasets", name).load()
    dataset: Dataset = loaded({}, root_of(loaded, root))
    return dataset


def _prepared(name: str, dataset: Dataset, say: Say) -> Prepared:
    if ready := open_prepared(name, dataset):
        return ready
    say(f"Preparing {name}, once.")
    return prepare(name, dataset)


def _written(bank: ImageBank, folder: Path) -> Classes:
    bounds = zip(bank.starts, bank.starts[1 : CLASSES + 1], strict=False)
    classes = [bank.gather(np.arange(first, last)).numpy() for first, last in bounds]
    return [_write(images, folder / f"{number:04}") for number, images in enumerate(classes)]


def _write(images: Images, folder: Path) -> list[Path]:
    """Images [n, 1, H, W] as grey PNG files."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:04}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(255 - image[0]).save(path)
    return paths
