"""What a stranger wrote (a record, a file's name, a card) as it may reach a terminal or a page.

An escape sequence moves a cursor, a bidirectional control turns a line round, an invisible letter makes two names look the
same, and a long text floods the screen. Each such character is replaced by one that shows that something was there.
"""

import re
import unicodedata
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "…"
LONGEST = 10_000
"""The most characters of a text that was put together from others, such as a command."""

_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Python calls printable but that look like nothing or like a space."""
_MARKS_IN_A_ROW = 3
"""The most marks on one letter. No script needs more, and a pile of them covers the lines above."""


def printable(text: str, most: int = 200) -> str:
    """A text of one line without control characters, escape sequences, bidirectional controls, lone surrogates, invisible
    characters or line breaks, of at most `most` characters: what is longer is cut in its middle, so that its end (a file's
    suffix) is seen. It is safe to print and to encode, not to put into HTML."""
    cut = text if len(text) <= most else _cut(text, most)
    if cut.isascii() and cut.isprintable():
        return cut
    shown = "".join(one if one.isprintable() and not _BLANK.match(one) else REPLACEMENT for one in cut)
    return _without_piles(shown)


def cleaned(value: Any, most: int = LONGEST) -> Any:
    """A JSON value whose texts, keys included, are `printable`."""
    if isinstance(value, str):
        return printable(value, most)
    if isinstance(value, dict):
        return {cleaned(key, most): cleaned(one, most) for key, one in value.items()}
    return [cleaned(one, most) for one in value] if isinstance(value, list | tuple) else value


def _cut(text: str, most: int) -> str:
    tail = most // 3
    return text[: max(most - tail - 1, 0)] + ELLIPSIS + text[len(text) - tail :]


def _without_piles(text: str) -> str:
    """The text with at most a few combining marks on one character."""
    kept, marks = [], 0
    for one in text:
        marks = marks + 1 if unicodedata.category(one) in ("Mn", "Me") else 0
        if marks <= _MARKS_IN_A_ROW:
            kept.append(one)
    return "".join(kept)
