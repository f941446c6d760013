"""Numbers that a command is given."""

import re
from contextlib import suppress
from typing import Any

import typer

from fewshot_bench.errors import UsageError

MOST_SEEDS = 1000
"""Of one command."""


def whole_number(text: str | int) -> int:
    """An option's value; raises what typer reports, with the value that was given."""
    if isinstance(text, int) or re.fullmatch(r"[-+]?[0-9]{1,100}", text):
        return int(text)
    raise typer.BadParameter(f"{_short(str(text))!r} is not a whole number{_meant(str(text))}.")


NUMBER: dict[str, Any] = {"parser": whole_number, "metavar": "<int>"}


def parse_seeds(text: str) -> list[int]:
    """`3`, `0-4` or `0,2,5-7` as numbers; raises `UsageError`."""
    given, ranges = repr(_short(text)), []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)) or int(last or first) < int(first):
            raise UsageError(f"--seeds takes numbers from 0 up, such as 3, 0-4 or 0,2,5; got {given}.")
        ranges.append(range(int(first), int(last or first) + 1))
    if sum(map(len, ranges)) > MOST_SEEDS or any(numbers[-1] >= 2**32 for numbers in ranges):  # counted before it is built
        raise UsageError(f"--seeds takes at most {MOST_SEEDS:,} seeds below 2^32; got {given}.")
    seeds = [seed for numbers in ranges for seed in numbers]
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds names a seed twice: {given}.")
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _meant(text: str) -> str:
    """How a whole number that was written otherwise is written; "" where it is none."""
    with suppress(ValueError, OverflowError):
        if text.isascii() and (number := float(text.replace(",", ""))) == int(number) and abs(number) < 2**63:
            several = "; a run has one: for several give the command once for each" if "," in text else ""
            return f": write {int(number)}{several}"
    return ": a run has one; give the command once for each" if re.fullmatch(r"\d+(\s*[,-]\s*\d+)+", text) else ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
