"""What mini-ImageNet and tiered-ImageNet are: parts of ILSVRC2012's training images, in whatever form people have them.

Their images are under ImageNet's terms, so nothing is downloaded: a source is found by its content, below a data root or
where `fsbench data import` was pointed, and what is found is compared with the published list of classes.

Legend: S the side of a prepared image (84), n images.
"""

import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, ClassVar

from fewshot_bench.dataset import Dataset, Images, Progress
from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.files import ARCHIVES, Files, is_archive, opened
from fewshot_bench.prepare import cache_folder
from fewshot_datasets.imagenet_source import SIDE, Classes, ImageFiles, Refused, Source, short
from fewshot_datasets.kept import kept, stamp

PICKLES = (".pkl", ".pickle")


class ImagenetSubset(Dataset):
    """A part of ILSVRC2012's training images at 84 x 84 RGB, in a published split.

    `root` may be the source itself (a folder, an archive, one of the pickles) or a folder that holds it, or its own folder
    below that. Where no source is, the one that was imported serves. Raises `DataError` where `root` is nothing of these.
    """

    title: ClassVar[str]
    lists: ClassVar[str]
    """The folder of its published lists."""
    wanted: ClassVar[str]
    """The forms that are read, for who has none."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        if root is not None and not (root.is_dir() or (root.is_file() and (is_archive(root) or root.suffix in PICKLES))):
            raise DataError(
                f"The data root {root} does not exist or is no folder, archive or pickle.\n"
                "It was given by --data-root or FSBENCH_DATA."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, 84 x 84."""
        return (3, SIDE, SIDE)

    @abstractmethod
    def listed(self) -> Classes:
        """The classes of the published lists."""

    @abstractmethod
    def recognise(self, files: Files, place: Path, *, pickles: bool) -> Source | None:
        """What a folder or an archive, which the user has at `place`, holds of this data set, or its `pickles` alone.

        Raises `DataError` where that is damaged, or another data set.
        """

    def split_list(self, split: str) -> str:
        """The published list of a split."""
        return (package_files("fewshot_datasets") / "splits" / self.lists / f"{split}.txt").read_text("utf-8")

    def places(self) -> list[Path]:
        """Where a source may lie; beside one pickle lie the others."""
        if self.root and self.root.is_file():
            return [self.root if is_archive(self.root) else self.root.parent]
        return super().places()

    @cached_property
    def source(self) -> Source | None:
        """The first source in its places; pickles, where the root is one."""
        pickles = self.root is not None and self.root.suffix in PICKLES and self.root.is_file()
        for path in self._candidates():
            try:
                if found := self.recognise(self._open(path), path, pickles=pickles):
                    return found
            except DataError as error:
                return Refused(error)
        return None

    def _candidates(self) -> Iterator[Path]:
        """What may be a source: an archive, or a folder, of the data set's name or called `images`; the place itself."""
        for place in self.places():
            names = [*(f"{self.folder}{suffix}" for suffix in ARCHIVES), "images.zip", "images.tar"]
            yield from (place / name for name in names if (place / name).is_file())
            yield from (path for path in (place / "images", place) if path.exists())

    def _open(self, path: Path) -> Files:
        """A folder or an archive; a compressed tar is unpacked into the cache for as long as this data set is in use."""
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        try:
            return stack.enter_context(opened(path, cache_folder()))
        except OSError as error:
            raise FewshotError(f"Cannot unpack {path}: {error.strerror}. Set FSBENCH_CACHE.") from error

    @cached_property
    def _from_import(self) -> Source:
        """What was imported; raises `DataError` where nothing was, or it is gone or another by now."""
        if self.imported is None:
            raise DataError(self._absent())
        path, again = self.imported.path, f"Import it again: fsbench data import {self.folder} PATH"
        if not path.exists():
            raise DataError(f"{self.title} was imported from {path}, which is gone.\n{again}")
        self._imported = type(self)(self.options, path)  # kept, since it may have been unpacked for it
        if self._imported.source is None or self._imported.identity() != self.imported.identity:
            raise DataError(f"{path} has changed since {self.title} was imported from it.\n{again}")
        return self._imported.source

    def found(self) -> Path | None:
        """Where its source lies; raises `DataError` for one that is refused."""
        if isinstance(self.source, Refused):
            raise self.source.error
        return self.root if self.source else self.imported.path if self.imported else None

    def identity(self) -> str:
        """Changes with the lists, the side, and the names and sizes of image files or the content of pickles."""
        return self._identity

    @cached_property
    def _identity(self) -> str:  # asked for several times in a run, and so many files take a moment
        lists = short("\n".join([*map(self.split_list, self.splits), str(SIDE)]))
        first = next(self._candidates(), None)
        if first is None or (first == self.root and first.is_dir()):  # all that lies in a data root takes longer to look at
            return self._found_identity(lists)
        return kept(
            "identities",
            [self.folder, lists, stamp(first)],
            lambda: self._found_identity(lists),
            worth=lambda: isinstance(self.source, ImageFiles) and self.source.place == first,
        )

    def _found_identity(self, lists: str) -> str:
        if self.source is None and self.imported:
            return self.imported.identity
        return f"{self.folder}-v1-{lists}-{self.source.identity() if self.source else 'absent'}"

    def variant(self) -> str:
        """Which form was found, or imported; "" without a source."""
        return self.source.variant() if self.source else self.imported.variant if self.imported else ""

    def classes(self) -> Classes:
        """Raises `DataError` where there is no source, or it is incomplete or another data set."""
        return (self.source or self._from_import).classes()

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks of images [n, 3, S, S]; raises `DataError` as `classes` does, and for damaged images."""
        return (self.source or self._from_import).images(progress)

    def _absent(self) -> str:
        """What to get and where to put it."""
        looked = f"No {self.title} in {' or '.join(map(str, self.places()))}" if self.root else f"{self.title} is not here"
        return (
            f"{looked}: {self.wanted}.\nImageNet's terms allow no download from here; "
            f"fsbench data import {self.folder} PATH takes what you have.\n"
            f"Or put it into DIR/{self.folder} and give DIR by --data-root or FSBENCH_DATA."
        )
