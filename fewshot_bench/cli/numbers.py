"""Numbers that a command is given."""

import re
from contextlib import suppress
from typing import Any

import typer


def whole_number(text: str | int) -> int:
    """An option's value; raises what typer reports, with the value that was given."""
    if isinstance(text, int) or re.fullmatch(r"[-+]?[0-9]{1,100}", text):
        return int(text)
    raise typer.BadParameter(f"{_short(str(text))!r} is not a whole number{_meant(str(text))}.")


NUMBER: dict[str, Any] = {"parser": whole_number, "metavar": "<int>"}


def _meant(text: str) -> str:
    """How a whole number that was written otherwise is written; "" where it is none."""
    with suppress(ValueError, OverflowError):
        if text.isascii() and (number := float(text.replace(",", ""))) == int(number) and abs(number) < 2**63:
            several = "; a run has one: for several give the command once for each" if "," in text else ""
            return f": write {int(number)}{several}"
    return ": a run has one; give the command once for each" if re.fullmatch(r"\d+(\s*[,-]\s*\d+)+", text) else ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
