"""The base of mini-ImageNet and tiered-ImageNet: parts of ILSVRC2012's training images, in whatever form people have them.

Their images fall under ImageNet's terms, so nothing is downloaded. A source is found by its content, below a data root or
where `fsbench data import` was pointed, and is compared with the published list of classes.

Legend: S the side of a prepared image (84), n images.
"""

import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.dataset import Dataset, Images, Progress, data_root, stale_environment
from fewshot_bench.data.files.source_files import ARCHIVES, Files, is_archive, is_compressed_tar, opened
from fewshot_bench.errors import DataError
from fewshot_datasets.imagenet.forms import SIDE, Classes, Refused, Source, short
from fewshot_datasets.sources.kept import find_kept, kept, stamp
from fewshot_datasets.sources.package_files import split_text
from fewshot_datasets.sources.places import check_root, not_found

PICKLES = (".pkl", ".pickle")
VERSION = "v1"
"""The version of how identities are made: another one makes kept identities anew."""


class ImagenetSubset(Dataset):
    """A part of ILSVRC2012's training images at 84 x 84 RGB, in a published split.

    `root` may be the source itself (a folder, an archive, one of the pickles) or a folder that holds it, or its own folder
    below that. Without a source there, the imported one is used. Raises `DataError` where `root` is none of these.
    """

    title: ClassVar[str]
    lists: ClassVar[str]
    """The folder of its published lists."""
    wanted: ClassVar[str]
    """The forms that are read, for an error where none was found."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        self._looked_at: dict[Path, Source | None] = {}
        if root is not None and root == data_root(None) and stale_environment():
            check_root(root)  # what does not exist holds nothing, and the images may lie elsewhere
        elif root is not None and not (root.is_dir() or (root.is_file() and (is_archive(root) or root.suffix in PICKLES))):
            raise DataError(
                f"{root} does not exist or is not a folder, archive or pickle.\n"
                f"Expected as the data root, or the path of an import: {self.wanted}."
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
        """The source that a folder or an archive, which the user has at `place`, holds of this data set; with `pickles` only
        pickles are looked for.

        Raises `DataError` where it is damaged, or another data set.
        """

    def split_list(self, split: str) -> str:
        """The published list of a split."""
        return split_text(self.lists, f"{split}.txt")

    def places(self) -> list[Path]:
        """Where a source may lie. The other pickles lie beside a pickle."""
        if self.root and self.root.is_file():
            return [self.root if is_archive(self.root) else self.root.parent]
        return super().places()

    @cached_property
    def source(self) -> Source | None:
        """The first source in its places; the pickles, if the root is one."""
        return next(filter(None, map(self._recognised, self._candidates())), None)

    def _recognised(self, path: Path) -> Source | None:
        """What a candidate holds. It is looked at only once."""
        if path not in self._looked_at:
            try:
                self._looked_at[path] = self.recognise(self._open(path), path, pickles=self._pickles_alone)
            except DataError as error:
                self._looked_at[path] = Refused(error)
        return self._looked_at[path]

    @property
    def _pickles_alone(self) -> bool:
        """Whether the root is a pickle."""
        return self.root is not None and self.root.suffix in PICKLES and self.root.is_file()

    @cached_property
    def _packed(self) -> Path | None:
        """The compressed tar that must be unpacked before it can be recognised, where no other candidate comes first."""
        for path in self._candidates():
            if is_compressed_tar(path):
                return path
            if self._recognised(path):
                return None
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
        return stack.enter_context(opened(path, cache_folder()))

    @cached_property
    def _from_import(self) -> Source:
        """The imported source; raises `DataError` where nothing was imported, or it is gone or has changed."""
        if self.imported is None:
            raise self._absent()
        path, again = self.imported.path, f"Import it again: fsbench data import {self.folder} PATH"
        if not path.exists():
            raise DataError(f"{self.title} was imported from {path}, which is gone.\n{again}")
        self._imported = type(self)(self.options, path)  # kept, since it may have been unpacked for it
        if self._imported.source is None or self._imported.identity() != self.imported.identity:
            raise DataError(f"{path} has changed since {self.title} was imported from it.\n{again}")
        return self._imported.source

    def found(self) -> Path | None:
        """Where its source lies; a compressed tar is known by its name only. Raises `DataError` for a source that is
        refused."""
        if self._packed:
            return self._packed
        if isinstance(self.source, Refused):
            raise self.source.error
        return self.root if self.source else self.imported.path if self.imported else None

    def identity(self) -> str:
        """Changes with the lists, the side, and the names and sizes of image files or the content of pickles."""
        return self._identity

    def identified(self) -> bool:
        """False if a compressed tar must be unpacked for it."""
        return self._packed is None or find_kept("identities", self._made_of(self._packed)) is not None

    @cached_property
    def _identity(self) -> str:  # asked for several times in a run, and so many files take time
        first = next(self._candidates(), None)
        if first is None or (first == self.root and first.is_dir()):  # all that lies in a data root takes longer to look at
            return self._found_identity()
        return kept("identities", self._made_of(first), self._found_identity, worth=lambda: self._is_whole(first))

    def _made_of(self, source: Path) -> list[object]:
        """The parts of the identity, if the first candidate is the source."""
        return [self._form, self._pickles_alone, stamp(source)]

    def _is_whole(self, path: Path) -> bool:
        """Whether a candidate is a source and not refused."""
        return not isinstance(self._recognised(path), Refused | None)

    @property
    def _form(self) -> str:
        lists = short("\n".join([*map(self.split_list, self.splits), str(SIDE)]))
        return f"{self.folder}-{VERSION}-{lists}"

    def _found_identity(self) -> str:
        if self.source is None and self.imported:
            return self.imported.identity
        return f"{self._form}-{self.source.identity() if self.source else 'absent'}"

    def variant(self) -> str:
        """Which form was found, or imported; "" without a source."""
        return self.source.variant() if self.source else self.imported.variant if self.imported else ""

    def classes(self) -> Classes:
        """Raises `DataError` where there is no source, or it is incomplete or another data set."""
        return (self.source or self._from_import).classes()

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks of images [n, 3, S, S]; raises `DataError` as `classes` does, and for damaged images."""
        return (self.source or self._from_import).images(progress)

    def _absent(self) -> DataError:
        """The error that says what to get and where to put it."""
        return not_found(
            self.title,
            self.root,
            self.places(),
            f"{self.wanted}.\nImageNet's terms allow no download from here. "
            f"Import the files that you have: fsbench data import {self.folder} PATH.\n"
            f"Or put them into DIR/{self.folder} and name DIR with --data-root or FSBENCH_DATA.",
        )
