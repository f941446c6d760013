"""Whether two classes are the same, or two data sets share classes, as far as their names tell.

Two classes are the same where a reader sees one name, as in `Cat`, `cat` and `cat `. If a source does not name its classes,
they are called by split and label. Such a class may be any of ImageNet's, which other data sets call by the number of a noun
in WordNet (`n01532829`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from unicodedata import category, normalize

UNNAMED = re.compile(r"(?:train|val|test)-\d+")
SYNSET = re.compile(r"n\d{8}")
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Characters that show nothing, beside those of category Cf (zero-width spaces, marks of direction)."""


def unnamed(split: str, label: int) -> str:
    """The name of a class to which its source gives none: `train-0`."""
    return f"{split}-{label}"


def have_names(classes: Sequence[str]) -> bool:
    """Whether their source names the classes of a split."""
    return not all(map(UNNAMED.fullmatch, classes))


def may_hide_shared(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two data sets may share classes under different names: one has no names, the other has none or ImageNet's."""
    return any(
        not have_names(a) and (not have_names(b) or any(map(SYNSET.fullmatch, b))) for a, b in ((one, other), (other, one))
    )


def seen_as(name: str) -> str:
    """The form of a name by which names are compared. It is equal for two names that differ only in case, in spaces (of any
    kind, at an end or several in a row), in characters that show nothing, or in the form of a letter (full-width, an accent
    apart)."""
    if name.isascii():
        return " ".join(name.split()).casefold() or name
    shown = "".join(one for one in UNSEEN.sub("", normalize("NFKC", name)) if category(one) != "Cf")
    return normalize("NFKC", " ".join(shown.split()).casefold()) or name


def alike(names: Iterable[str]) -> list[list[str]]:
    """The groups of different names that a reader takes for one, in the order of the names."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        groups[seen_as(name)][name] = None
    return [list(group) for group in groups.values() if len(group) > 1]
