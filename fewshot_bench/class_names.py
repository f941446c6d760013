"""What the names of classes tell of whether two data sets share some, and where they cannot tell.

Two classes are the same where their names are. Where a source does not name its classes, they are called by split and label,
and may be any of ImageNet's, which others call by the number of a noun in WordNet (`n01532829`).
"""

import re
from collections.abc import Sequence

UNNAMED = re.compile(r"(?:train|val|test)-\d+")
SYNSET = re.compile(r"n\d{8}")


def unnamed(split: str, label: int) -> str:
    """What a class is called that its source does not name: `train-0`."""
    return f"{split}-{label}"


def have_names(classes: Sequence[str]) -> bool:
    """Whether their source names the classes of a split."""
    return not all(map(UNNAMED.fullmatch, classes))


def may_hide_shared(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two data sets may share classes under different names: one's have none, the other's neither, or ImageNet's."""
    return any(
        not have_names(a) and (not have_names(b) or any(map(SYNSET.fullmatch, b))) for a, b in ((one, other), (other, one))
    )
