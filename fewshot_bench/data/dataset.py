"""What a data set is to the core: an identity, ordered classes by split, and images that are made once and cached."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.arguments import path as given_path
from fewshot_bench.data.files.source_files import ARCHIVES
from fewshot_bench.errors import DataError, UsageError, unknown
from fewshot_bench.inputs.plain_files import check_regular
from fewshot_bench.inputs.strict_json import LARGEST_NUMBER
from fewshot_bench.text.printable import printable

if TYPE_CHECKING:
    from fewshot_bench.data.bank import ImageBank
    from fewshot_bench.data.imports import Import

Images = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` while images are made."""


@dataclass(frozen=True)
class ImageClass:
    """One class: its name and the ids of its source images, in the order in which the images are stored."""

    name: str
    image_ids: tuple[str, ...]


KINDS = {bool: "true or false", int: "a whole number", float: "a decimal number, as 1.0", str: "a text"}
"""What an option must be, by the type of its default."""


def checked_options(defaults: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """All options of a data set, its defaults unless given; raises `UsageError` for an unknown or ill-typed one."""
    if not isinstance(given, Mapping | None):
        raise UsageError(f"Options of a data set must be a mapping of keys to values, got {given!r}.")
    for key, value in (given or {}).items():
        if key not in defaults:
            raise unknown("data option", key, defaults)
        if type(value) is not (kind := type(defaults[key])):
            whole = kind is int and type(value) is float and value.is_integer()
            write = f": write {int(value)}" if whole else ""
            raise UsageError(f"data.{key} must be {KINDS.get(kind, kind.__name__)}, not {value!r}{write}.")
        if kind is int and abs(value) > LARGEST_NUMBER:
            raise UsageError(f"data.{key} must be at most 2^53 ({LARGEST_NUMBER}), got {printable(str(value), 60)}.")
    return {**defaults, **(given or {})}


class Dataset(ABC):
    """A data set of images. A plugin subclasses it, with a card (`<module>.yaml`) beside its file.

    `options` are the data set's own (`--set data.key=value`), checked against `defaults`; `root` is `--data-root` or
    `FSBENCH_DATA`, for data sets that read files. Those report a folder that does not exist; nothing else checks
    `FSBENCH_DATA`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    """The splits that it has, in this order. A data set for tests alone has `("test",)`."""
    folder: ClassVar[str] = ""
    """Its own folder below a data root, and the name that its import is kept under."""
    making: ClassVar[int] = 0
    """The version of the preparation. Raise it when the same source gives other pixels than before: images that an older
    version prepared are then made anew."""
    own_root: ClassVar[bool] = False
    """Whether its files are looked for at `--data-root` only. `FSBENCH_DATA` is a folder of published data sets."""
    tests_alone: bool = False
    """Whether it is used for a test alone, after a training on other data. Then all its classes are test classes, unless it
    states a split. It is set before any other member is used."""
    unlike: Mapping[str, Any] = {}
    """The options that a request set for a test's images so that they are read otherwise than the training's."""
    on_demand: bool = False
    """Whether its images are made when they are asked for (`bank`), so that nothing is prepared."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        self.options = checked_options(self.defaults, options)
        self.root = None if root is None else given_path("root", root)

    @property
    def stated(self) -> dict[str, Any]:
        """The options as specs and caches state them: only those that differ from their defaults, so that an option added
        later changes no id."""
        return {key: value for key, value in self.options.items() if value != self.defaults[key]}

    @property
    def augment(self) -> tuple[str, ...]:
        """The augmentations that its options ask for. They come before those of the training."""
        return ()

    @property
    def related(self) -> int:
        """How many classes that follow each other in a split are made of one source: 4 where each turn of a character is a
        class. For the question of new classes they are one."""
        return 1

    def places(self) -> list[Path]:
        """Where its files may lie: the root's own folder for it, the root."""
        return [self.root / self.folder, self.root] if self.root and self.folder else [self.root] if self.root else []

    @cached_property
    def imported(self) -> "Import | None":
        """What `fsbench data import` was given for it, where its places have no files."""
        from fewshot_bench.data.imports import find_import

        return find_import(self.folder) if self.folder else None

    def found(self) -> Path | None:
        """Where its files lie, for a message before they are read; None if none were found."""
        own = [path for path in self.places() if path != self.root]
        own += [self.imported.path] if self.imported else []
        return next((path for path in own if path.exists()), None)

    def download(self) -> list[Path]:
        """Fetch its files into the cache (`fsbench data get`) and return their paths. Only some data sets can.

        Raises `DataError` where that fails, `UsageError` where there is nothing that a program may fetch.
        """
        raise UsageError(f"{self.folder or type(self).__name__} has no files that a program may download.")

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of every image."""

    @abstractmethod
    def identity(self) -> str:
        """A short text that changes whenever the prepared pixels, classes or their order would. Reads no image."""

    def identified(self) -> bool:
        """Whether `identity` is known at once: not if a large archive must be unpacked or read through for it."""
        return True

    @abstractmethod
    def classes(self) -> Mapping[str, Sequence[ImageClass]]:
        """The classes of each split, ordered; the keys are `splits`. No class stands in two splits."""

    @abstractmethod
    def images(self, progress: Progress) -> Iterator[Images]:
        """All images as uint8 blocks [n, C, H, W] of any n, in the order of `classes()`: split by split, class by class.

        Runs once, before the first use; raises `DataError` naming any source image that is missing or damaged.
        """

    def bank(self, split: str) -> "ImageBank":
        """The images of a split, made when they are asked for; where `on_demand`."""
        raise NotImplementedError(f"{type(self).__name__} is not on demand")

    def split_csv(self) -> str | None:
        """Its split as a file `class,split` where it is the user's own or was drawn: a run keeps that beside its record."""
        return None

    def variant(self) -> str:
        """Which of the forms in circulation its source has, in words; "" if there is only one."""
        return ""

    def source_files(self, split: str, classes: int, folder: Path) -> dict[str, list[Path]]:
        """The image files from which a split was prepared, by class name, for other programs to read (`fsbench bench`):
        those of its first `classes` classes whose images are whole files with light paper. They are unpacked below `folder`
        if they lie in an archive. {} if there are none. Raises `DataError` where they are missing."""
        return {}


def data_root(given: Path | None, option: str = "--data-root") -> Path | None:
    """The folder or archive that an option names, else the folder of `FSBENCH_DATA`. The latter need not exist, because some
    data sets need no files. Raises `DataError` where what the option names does not exist."""
    if given is None:
        return Path(os.environ["FSBENCH_DATA"]) if os.environ.get("FSBENCH_DATA") else None
    if (wrong := not_there(given)) is None:
        return given
    if isinstance(wrong, FileNotFoundError | NotADirectoryError):
        raise DataError(f"No such folder or file: {given} ({option}).")
    raise DataError(f"Cannot read {given} ({option}): {wrong.strerror}.")


def root_of(dataset: type, given: Path | None, option: str = "--data-root") -> Path | None:
    """The root for a data set; raises `DataError` as `data_root` does."""
    root = data_root(given, option)
    return given if issubclass(dataset, Dataset) and dataset.own_root else root


def not_there(root: Path) -> OSError | None:
    """Why nothing can be read at a path: it is neither a folder that can be entered nor a regular file. None if it can be
    read."""
    try:
        if not root.is_dir():
            check_regular(root)
        else:
            os.scandir(root).close()
    except OSError as error:
        return error
    return None


def stale_environment() -> str | None:
    """What is wrong with `FSBENCH_DATA`, in words; None where it is not set, or names something that may hold data."""
    if (root := data_root(None)) is None:
        return None
    if (wrong := not_there(root)) is not None:
        return f"FSBENCH_DATA names a folder that cannot be read ({root}: {wrong.strerror})"
    if root.is_dir() or root.name.lower().endswith((*ARCHIVES, ".pkl", ".pickle")):
        return None
    return f"FSBENCH_DATA names {root}, which is neither a folder nor an archive"


def absent(root: Path | None, text: str) -> DataError:
    """The error for files that were not found. It names FSBENCH_DATA if they were looked for there and it is wrong, else it
    is `text`."""
    stale = stale_environment() if root is not None and root == data_root(None) else None
    return DataError(f"{stale}.\nMend or unset it, or say where the files are: --data-root DIR." if stale else text)
