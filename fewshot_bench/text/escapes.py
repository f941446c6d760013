"""Texts as they stand in Markdown, LaTeX and CSV: what a record says is shown there and never acts."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_MARKDOWN = str.maketrans(
    {
        **{character: "\\" + character for character in "\\|*`[~$"},
        **{"<": "&lt;", ">": "&gt;", "&": "&amp;"},
    }
)
_EMPHASIS = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(r"^(?=[#+=-])|^(\d+)(?=[.)])")
_LINK = re.compile(r"://|\bwww\.|@|\b(?:mailto|xmpp):", re.IGNORECASE)
"""Text that GitHub turns into a link or a mention."""


def in_markdown(text: str, *, links: bool = False, begins: bool = False) -> str:
    """A text that GitHub's Markdown shows as it is: it makes no column, tag, emphasis or formula, and where it `begins` a
    block no heading or list. What would be a link is shown as code, unless the text is one of our own (`links`)."""
    if _LINK.search(text) and not links:
        return _code(text)
    escaped = _EMPHASIS.sub(r"\\_", text.translate(_MARKDOWN))
    return _BLOCK.sub(lambda found: f"{found[1] or ''}\\", escaped) if begins else escaped


def _code(text: str) -> str:
    """A text as code, in a fence of more backticks than it holds in a row. A pipe is escaped: it would end a table's
    cell."""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")


_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after the end of a row LaTeX would read it as a height
        "*": "{*}",
        "±": r"$\pm$",
        "–": "--",
        "·": r"$\cdot$",
        "×": r"$\times$",
    }
)


def in_latex(text: str) -> str:
    """A text with LaTeX's special characters as themselves."""
    return text.translate(_LATEX)


_FORMULA = re.compile(r"\s*[=@+\-\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""How a text begins that a spreadsheet takes for a formula, and that is not a number."""


def in_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under a header of all their keys, nested values as JSON; empty where there are none. A text that a spreadsheet
    would take for a formula gets an apostrophe in front."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines: list[list[Any]] = [list(keys), *([row.get(key) for key in keys] for row in rows)]
    return "".join(",".join(_field(value) for value in line) + "\n" for line in lines) if rows else ""


def _field(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else str(value)
    if isinstance(value, str) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    if any(character in text for character in ',;\t"\r\n'):  # some spreadsheets separate columns by semicolons or tabs
        return '"' + text.replace('"', '""') + '"'
    return text
