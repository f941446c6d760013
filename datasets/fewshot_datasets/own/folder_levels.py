"""Which level of folders holds the classes: the first, or the second, below folders of splits; refused where either may be.

photos/cat/1.jpg                              the first
photos/train/cat/1.jpg, photos/test/dog/...   the second: each of the first is named as a split, and holds folders alone
photos/train/..., photos/unlabeled/3.jpg      refused: some of the first are named so, others are not
photos/birds/wren/..., photos/fish/cod/...    refused: data sets side by side, or classes of several folders each (most of
                                              them, or some where no image lies in one itself)

A split file that names all folders of one level as classes decides for that.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fewshot_bench.data.class_names import seen_as
from fewshot_bench.errors import DataError
from fewshot_bench.text.printable import printable
from fewshot_datasets.own.own_split import SPLIT_FILE, SPLITS, few, split_of

Parts = tuple[str, ...]
"""A path, folder by folder."""
LIST = f"list the classes in a file {SPLIT_FILE} there (class,split): this file decides"


@dataclass
class Top:
    """A folder of the first level."""

    direct: bool
    """Whether an image lies in it, not in a folder of it."""
    inner: list[str]
    """Its folders that hold images, sorted."""

    @property
    def holds_folders(self) -> bool:
        """Whether its images lie in folders, all of them."""
        return not self.direct


def class_level(images: Iterable[Parts], where: str, named: Collection[str]) -> int:
    """1 or 2, for images by their paths below the wrapping folders; `named` are the classes of a split file, if there is
    one.

    Raises `DataError` where the level cannot be told.
    """
    tops = _tops(images)
    if not tops:  # images in no folder, which are refused
        return 1
    if (level := _named_level(tops, named)) is not None:
        return level
    hint = f"name all folders that are classes in {SPLIT_FILE}, which decides" if named else LIST
    splits = {name for name in tops if split_of(name)}
    nested = {name for name in splits if tops[name].holds_folders}
    if len(splits) == len(tops):
        _check_once(splits, where)
        return 2
    if nested or len(splits) > 1:
        raise _mixed(tops, nested or splits, where, hint)
    _check_flat(tops, where, hint)
    return 1


def recognised(splits: Iterable[str]) -> str:
    """For which split each folder is taken, in words; "" if their names say it."""
    others = [f"{printable(name)} is {split_of(name)}" for name in sorted(set(splits)) if name not in SPLITS]
    return f" ({', '.join(others)})" if others else ""


def _tops(images: Iterable[Parts]) -> dict[str, Top]:
    inner: dict[str, set[str]] = defaultdict(set)
    direct = set()
    for parts in images:
        if len(parts) == 2:
            direct.add(parts[0])
        if len(parts) > 1:
            inner[parts[0]].update(parts[1:2] if len(parts) > 2 else ())
    return {name: Top(name in direct, sorted(found)) for name, found in sorted(inner.items())}


def _named_level(tops: dict[str, Top], named: Collection[str]) -> int | None:
    """The level whose folders a split file all names as classes."""
    known = set(map(seen_as, named))
    if known.issuperset(map(seen_as, tops)):
        return 1
    second = {seen_as(name) for top in tops.values() for name in top.inner}
    return 2 if second and known >= second and not any(top.direct for top in tops.values()) else None


def _check_once(splits: set[str], where: str) -> None:
    """Refuse several folders of one split; raises `DataError`."""
    by_split: dict[str, list[str]] = defaultdict(list)
    for name in sorted(splits):
        by_split[split_of(name) or ""].append(name)
    if twice := [f"{' and '.join(map(repr, names))} ({one})" for one, names in by_split.items() if len(names) > 1]:
        raise DataError(
            f"{where} holds several folders of one split: {', '.join(twice)}.\nMove them into one, remove one, or {LIST}."
        )


def _mixed(tops: dict[str, Top], splits: Collection[str], where: str, hint: str) -> DataError:
    """The error for folders of splits beside others; a split file helps where each image lies in a class's folder."""
    others = sorted(tops.keys() - splits)
    told = all(tops[name].holds_folders for name in others) or not any(tops[name].holds_folders for name in splits)
    return DataError(
        f"{where} holds folders of splits, {few(sorted(splits))}, and other folders with images: {few(others)}.\n"
        "Move these others out of it, or rename those that are splits (train, val, test)"
        + (f";\nor {hint}." if told else ".")
    )


def _check_flat(tops: dict[str, Top], where: str, hint: str) -> None:
    """Refuse folders that may each be a data set of its own; raises `DataError`."""
    if whole := [name for name, top in tops.items() if len(set(map(split_of, top.inner)) - {None}) > 1]:
        raise DataError(
            f"{where} holds folders that look like whole data sets, with folders of splits: {few(whole)}.\n"
            f"Name one of them with --data-root. If they are classes, {hint}."
        )
    nested = [name for name, top in tops.items() if top.holds_folders]
    several = [name for name in nested if len(tops[name].inner) > 1]
    if several and (len(nested) == len(tops) or 2 * len(several) > len(tops)):
        one = several[0]
        inner = few(f"{one}/{name}" for name in tops[one].inner)
        raise DataError(
            f"{where} may hold several data sets, or classes: no image lies in {few(nested)} itself, but in {inner}.\n"
            f"If {one!r} is a set of classes, name that folder with --data-root; if a split, call it train, val or test"
            f";\nif it is a class, or those in it are, {hint}."
        )
