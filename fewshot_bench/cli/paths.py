"""Paths that a command is given."""

from pathlib import Path
from typing import Any

import typer

from fewshot_bench.errors import UsageError
from fewshot_bench.inputs.plain_files import kind_at
from fewshot_bench.text.printable import printable


def named_path(text: str | Path) -> Path:
    """An option's or an argument's value. An empty one, from a variable that is not set, would mean the current folder."""
    if text == "":
        raise typer.BadParameter("it is empty: name a folder or a file; the current folder is '.'.")
    return Path(text)


PATH: dict[str, Any] = {"parser": named_path, "metavar": "<path>"}


def is_folder(out: Path) -> bool:
    """Whether there is a folder of records; raises `UsageError` if something else is there."""
    kind = kind_at(out)
    if kind not in (None, "a folder"):
        raise UsageError(f"{printable(str(out))} is {kind}, not a folder of records.")
    return kind is not None
