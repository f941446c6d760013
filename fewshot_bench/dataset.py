"""What a data set is to the core: an identity, ordered classes by split, and images that are made once and cached."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from fewshot_bench.bank import ImageBank
    from fewshot_bench.imports import Import

Images = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` while images are made."""


@dataclass(frozen=True)
class ImageClass:
    """One class: its name and the ids of its source images, in the order in which the images are stored."""

    name: str
    image_ids: tuple[str, ...]


def checked_options(name: str, defaults: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """All options of data set `name`, its defaults unless given; raises `UsageError` for an unknown or ill-typed one."""
    for key, value in (given or {}).items():
        if key not in defaults:
            raise unknown(f"option of data set {name}", key, defaults)
        if type(value) is not type(defaults[key]):
            raise UsageError(f"data.{key} must be a {type(defaults[key]).__name__}, not {value!r}.")
    return {**defaults, **(given or {})}


class Dataset(ABC):
    """A data set of images. A plugin subclasses it, with a card (`<module>.yaml`) beside its file.

    `options` are the data set's own (`--set data.key=value`), checked against `defaults`; `root` is `--data-root` or
    `FSBENCH_DATA`, for data sets that read files.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    """Those that it has, in this order; one that is for tests alone has `("test",)`."""
    folder: ClassVar[str] = ""
    """Its own folder below a data root, and the name that its import is kept under."""
    on_demand: bool = False
    """Whether its images are made when they are asked for (`bank`), so that nothing is prepared."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        self.options = checked_options(self.folder or type(self).__name__, self.defaults, options)
        self.root = root

    def places(self) -> list[Path]:
        """Where its files may lie: the root's own folder for it, the root."""
        return [self.root / self.folder, self.root] if self.root and self.folder else [self.root] if self.root else []

    @cached_property
    def imported(self) -> "Import | None":
        """What `fsbench data import` was given for it, where its places have no files."""
        from fewshot_bench.imports import find_import

        return find_import(self.folder) if self.folder else None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of every image."""

    @abstractmethod
    def identity(self) -> str:
        """A short text that changes whenever the prepared pixels, classes or their order would. Reads no image."""

    @abstractmethod
    def classes(self) -> dict[str, list[ImageClass]]:
        """The classes of each split, ordered; the keys are `splits`. No class stands in two splits."""

    @abstractmethod
    def images(self, progress: Progress) -> Iterator[Images]:
        """All images as uint8 blocks [n, C, H, W] of any n, in the order of `classes()`: split by split, class by class.

        Runs once, before the first use; raises `DataError` naming any source image that is missing or damaged.
        """

    def bank(self, split: str) -> "ImageBank":
        """The images of a split, made when they are asked for; where `on_demand`."""
        raise NotImplementedError(f"{type(self).__name__} is not on demand")

    def variant(self) -> str:
        """Which of the forms in circulation its source has, in words; "" where there is but one."""
        return ""

    def source_files(self, split: str, classes: int, folder: Path) -> dict[str, list[Path]]:
        """The image files that the prepared images of a split were made from, for others to read (`fsbench bench`): of
        its first `classes` classes whose images are whole files, paper high, by class name; unpacked below `folder`
        where they lie in an archive. {} where there are none. Raises `DataError` where they are missing."""
        return {}
