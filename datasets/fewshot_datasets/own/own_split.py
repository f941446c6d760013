"""Splits of a user's own classes: read from a file `class,split`, or drawn with a seed.

A drawn split depends only on the names of the classes and the seed. Of n classes

    test  = (20 n + 50) // 100    val = (16 n + 50) // 100    train = the rest,

mini-ImageNet's 64, 16 and 20 %; from 3 classes on at least 1 each in val and test, from 15 on at least 5. Which class goes
where: the names, sorted, get a word each of the stream of `fewshot_bench.episodes.philox` whose key is that of [sorted
names, seed];
in the order of their words (a stable sort) the first are train, the next val, the last test.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from unicodedata import normalize

import numpy as np

from fewshot_bench import errors
from fewshot_bench.data.class_names import alike, seen_as
from fewshot_bench.episodes.philox import key_of, words
from fewshot_bench.errors import DataError

SPLITS = ("train", "val", "test")
WRITTEN = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset", "base", "metatrain"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validationset", "dev", "devset", "metaval"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "novel", "metatest"), "test"),
}
"""How a split's name may be written, in a file or as a folder; base, val and novel are Chen et al.'s (2019)."""
SPLIT_FILE = "split.csv"


def split_of(name: str) -> str | None:
    """The split that a name is for, in any case, with spaces, hyphens or underscores (`meta-train`), or None."""
    return WRITTEN.get(seen_as(name).translate(dict.fromkeys(map(ord, " -_"))))


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): some systems write an accent apart, which is the same name."""
    return normalize("NFC", name)


def few(names: Iterable[str]) -> str:
    """The first three names, in quotes, and how many more there are."""
    return errors.few(map(repr, names))


def read_split(content: bytes, where: str) -> dict[str, str]:
    """The split of each class that a file states, in its order; raises `DataError` that names `where` if it does not."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is not a CSV file in UTF-8 ({error}). Save it as CSV UTF-8.") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not {"class", "split"} <= set(header):
        found = ",".join(header)
        hint = "\nPut commas between the cells, not semicolons." if ";" in found else ""
        raise DataError(f"{where} must begin with the line class,split; it begins with {found or 'nothing'!r}.{hint}")
    name, split = header.index("class"), header.index("split")
    named: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise DataError(f"{where}, row {number}: {len(header)} cells expected, not {len(row)}: {','.join(row)!r}.")
        named[composed(row[name])].append(row[split].strip())
    return to_splits(named, where)


ONCE = "Name each class once, in one split."


def to_splits(named: Mapping[str, Sequence[str]], where: str, once: str = ONCE) -> dict[str, str]:
    """The split of each class, from all that `where` names for it; raises `DataError` if it does not exist or there are
    several, with `once` as what to do."""
    if wrong := [f"{name}: {split}" for name, splits in named.items() for split in splits if split_of(split) is None]:
        raise DataError(f"{where} puts classes into splits that do not exist: {few(wrong)}.\nSplits: {', '.join(SPLITS)}.")
    if twice := [f"{name}: {', '.join(splits)}" for name, splits in named.items() if len(splits) > 1]:
        raise DataError(f"{where} names classes more than once: {few(twice)}.\n{once}")
    return {name: found for name, splits in named.items() if (found := split_of(splits[0])) is not None}


def renamed(split: Mapping[str, str], classes: Iterable[str], where: str) -> dict[str, str]:
    """A split with the names that the classes have, if it writes them otherwise (`Cat ` for `cat`) and only one can be
    meant. Raises `DataError` if one class is then named twice."""
    known, by_look = set(classes), {}
    for name in known:
        by_look[seen_as(name)] = None if seen_as(name) in by_look else name
    named: dict[str, list[str]] = defaultdict(list)
    for name, of in split.items():
        named[name if name in known else by_look.get(seen_as(name)) or name].append(of)
    return to_splits(named, where)


def check_apart(split: Mapping[str, str], where: str) -> None:
    """Refuse classes in different splits that a reader takes for one; raises `DataError`."""
    split_up = (group for group in alike(split) if len({split[name] for name in group}) > 1)
    both = [" and ".join(f"{name!r} ({split[name]})" for name in group) for group in split_up]
    if both:
        raise DataError(
            f"Some classes are in several splits, under names that differ only in case, spaces or the form of letters:\n"
            f"{errors.few(both)}. The split: {where}.\n"
            "If they are one class, merge them; otherwise rename one."
        )


def check_split(split: Mapping[str, str], classes: Sequence[str], where: str) -> None:
    """Refuse a split that does not name just these classes; raises `DataError`."""
    if absent := sorted(split.keys() - set(classes)):
        raise DataError(f"{where} names classes that have no images: {few(absent)}.\nThere are {few(sorted(classes))}.")
    if left := [name for name in classes if name not in split]:
        raise DataError(
            f"{where} does not name all of the {len(classes):,} classes. It lacks {few(left)}.\n"
            "Add a line for each, or remove their images."
        )


def draw_split(classes: Iterable[str], seed: int) -> dict[str, str]:
    """The split of each class, drawn as this module says."""
    names = sorted(classes)
    n = len(names)
    least = 5 if n >= 15 else 1 if n >= 3 else 0
    test, val = (max(least, (percent * n + 50) // 100) for percent in (20, 16))
    drawn = ["train"] * (n - val - test) + ["val"] * val + ["test"] * test
    order = np.argsort(words(key_of(names, seed), n), kind="stable")
    return {names[i]: split for i, split in zip(order, drawn, strict=True)}


def split_text(splits: Mapping[str, Sequence[str]]) -> str:
    """The classes of each split as the text of a split file."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["class", "split"])
    rows.writerows([name, split] for split, names in splits.items() for name in names)
    return text.getvalue()
