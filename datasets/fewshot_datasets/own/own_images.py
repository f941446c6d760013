"""What the data sets of a user's own images share: classes in a stated or drawn split, and an identity."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from fewshot_bench import errors
from fewshot_bench.data.class_names import alike
from fewshot_bench.data.dataset import Dataset, ImageClass
from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.hashing import canonical_json
from fewshot_bench.inputs.plain_files import read_regular
from fewshot_datasets.own.own_split import (
    SPLIT_FILE,
    check_apart,
    check_split,
    draw_split,
    few,
    read_split,
    renamed,
    split_text,
)
from fewshot_datasets.sources.kept import kept, stamp
from fewshot_datasets.sources.options import check_side

LARGEST_SIDE = 1024
"""Pixels: beyond it a block of images fills the memory."""
VERSION = "v1"
"""The version of how identities are made: another one makes kept identities anew."""
RULES = 2
"""The version of what is refused. Raise it when data that were accepted are refused: a kept identity would let them pass."""
NAMED = "\nFSBENCH_DATA is for published data sets and is not read for yours. For images of the test only: --test-data-root."
STATE_ONE = f"to state one: {SPLIT_FILE} in the folder, or --set data.split=FILE"


@dataclass(frozen=True)
class Split:
    """The split of each class, and `where` it comes from, in words."""

    of: Mapping[str, str]
    where: str


class OwnImages(Dataset):
    """A user's own images. Option `split` names a split file; where none is named or there, the split is drawn with
    `split_seed`. Options `side` and `resize` say how images are resized."""

    own_root = True
    smallest_side = 1

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_side(self.options["side"], self.smallest_side, LARGEST_SIDE)
        if self.options["resize"] not in ("crop", "squash"):
            raise UsageError(f"data.resize must be crop or squash, not {self.options['resize']!r}.")

    @property
    @abstractmethod
    def members(self) -> list[ImageClass]:
        """All classes, ordered; raises `DataError` where the images are not to be found."""

    @abstractmethod
    def stated_split(self) -> Split | None:
        """The split that the images come with, if any; raises `DataError` for one that cannot be used."""

    @abstractmethod
    def contents(self) -> list[Any]:
        """What the pixels are made from, for the identity: it changes with any of them, but not with where they lie."""

    def readable(self) -> bool:
        """Whether everything in `contents` could be read."""
        return True

    @cached_property
    def split(self) -> Split:
        """The split of each class; raises `DataError` if it does not name exactly the classes that there are."""
        split = self._stated() or self._alone() or self._drawn()
        check_apart(split.of, split.where)
        return split

    @cached_property
    def _names(self) -> list[str]:
        return [one.name for one in self.members]

    def _stated(self) -> Split | None:
        """The split that the images come with, for exactly the classes that there are."""
        if (stated := self.stated_split()) is None:
            return None
        of = renamed(stated.of, self._names, stated.where)
        check_split(of, self._names, stated.where)
        self._refuse_seed(f"this one is stated: {stated.where}")
        return Split(of, stated.where)

    def _alone(self) -> Split | None:
        """All classes for the test, if the images are given for nothing else."""
        if not self.tests_alone:
            return None
        self._refuse_seed("all these images are for the test")
        return Split(
            dict.fromkeys(self._names, "test"),
            f"all for the test, because the images are given only for it ({STATE_ONE})",
        )

    def _drawn(self) -> Split:
        seed = self.options["split_seed"]
        return Split(draw_split(self._names, seed), f"drawn with seed {seed} ({STATE_ONE})")

    def _refuse_seed(self, why: str) -> None:
        if self.options["split_seed"]:
            raise UsageError(f"data.split_seed applies only to a split that is drawn; {why}.")

    def classes(self) -> dict[str, list[ImageClass]]:
        """The classes of each split, in the order of `members`; a split may have none. Raises `DataError`."""
        found: dict[str, list[ImageClass]] = {split: [] for split in self.splits}
        for one in self.members:
            found[self.split.of[one.name]].append(one)
        return found

    def split_csv(self) -> str:
        """The split as the text of a file that option `split` can name."""
        return split_text({split: [one.name for one in members] for split, members in self.classes().items()})

    def identity(self) -> str:
        """Changes with the images, their classes, the split and the options; not with where they lie."""
        return self._identity

    @cached_property
    def _identity(self) -> str:  # asked for several times in a run, and looking at all files takes time
        if self.root is None or not self.root.exists():
            return self._made_identity()  # raises
        split = (self.root if self.root.is_dir() else self.root.parent) / self.options["split"]
        stamps = [stamp(path) for path in (self.root, split) if path == self.root or path.is_file()]
        made_of = [self._form, RULES, self.tests_alone, self.options, *stamps]
        return kept("identities", made_of, self._made_identity, self.readable)

    @property
    def _form(self) -> str:
        return f"{type(self).__name__.lower()}-{VERSION}"

    def _made_identity(self) -> str:
        text = canonical_json([self.shape, self.options["resize"], self.contents(), self.split_csv()])
        return f"{self._form}-{sha256(text.encode()).hexdigest()[:12]}"

    def variant(self) -> str:
        """How many classes and images, and whose split."""
        images = sum(len(one.image_ids) for one in self.members)
        twins = [" and ".join(map(repr, group)) for group in alike(self._names)]
        return f"{len(self.members):,} classes, {images:,} images; split: {self.split.where}" + (
            f"; names that a reader may take for one: {errors.few(twins)}" if twins else ""
        )


def split_beside(root: Path, option: str) -> Split | None:
    """The split in the file that `option` names, from `root` or the folder where that lies; without an option, in
    `split.csv` of a folder `root` that has one. Raises `DataError` for a file that is not there or cannot be used."""
    path = (root if root.is_dir() else root.parent) / (option or SPLIT_FILE)
    if not option and not (root.is_dir() and path.exists()):
        return None
    try:
        return Split(read_split(read_regular(path), str(path)), str(path))
    except OSError as error:
        stated = f" (data.split={option})" if option else ""
        raise DataError(f"Cannot read the split file {path}{stated}: {error.strerror}.") from None


def only_one(folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    """The file of a folder with one of these suffixes, if there is one; raises `DataError` where there are several."""
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(suffixes) and path.name[0] != ".")
    if len(found) > 1:
        named = few(path.name for path in found)
        raise DataError(f"{folder} holds {len(found)} files to choose from: {named}. Name one of them: --data-root FILE.")
    return found[0] if found else None
