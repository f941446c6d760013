"""JSON that a stranger may have written: its size, depth, numbers and texts are bounded before anything looks at it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewshot_bench.errors import DataError
from fewshot_bench.inputs.plain_files import read_regular
from fewshot_bench.text.printable import printable

DEEPEST = 20
LONGEST_TEXT = 100_000
LARGEST_NUMBER = 2**53
"""Up to this every whole number is a float too, so that arithmetic on it neither overflows nor rounds."""


def read_json(path: Path, largest: int) -> Any:
    """The JSON in a file of at most `largest` bytes; raises `DataError` that names the path and what is wrong."""
    return parse_json(read_bounded(path, largest), str(path))


def read_bounded(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes; raises `DataError` for any other file, `FileNotFoundError`
    if there is none."""
    try:
        return read_regular(path, largest)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{printable(str(path), LONGEST_TEXT)} cannot be read: {error.strerror}.") from None


def parse_json(content: bytes | str, where: str) -> Any:
    """The value of a JSON text; raises `DataError` that names `where`."""
    where = printable(where, LONGEST_TEXT)
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else _reason(error)
        raise DataError(f"{where} is damaged, or not JSON: {reason}.") from None
    if wrong := outside_bounds(value):
        raise DataError(f"{where} is damaged: {wrong}.")
    return value


def outside_bounds(value: Any, longest: int = LONGEST_TEXT) -> str:
    """What makes a JSON value one that is not read back: too deep, too large a number, too long a text, half a character
    (`train.lr is no finite number`). Empty if nothing does."""
    return next((f"{printable(key) or 'it'} {wrong}" for key, wrong in _outside_bounds(value, longest)), "")


def _reason(error: ValueError) -> str:
    return printable(str(error).rstrip("."))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _not_a_number(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")


def _outside_bounds(value: Any, longest: int) -> Iterator[tuple[str, str]]:
    """Where a value is outside the bounds (`train.lr`), and how."""
    left: list[tuple[str, int, Any]] = [("", 0, value)]
    while left:
        key, depth, one = left.pop()
        if isinstance(one, dict | list | tuple):
            if depth >= DEEPEST:
                yield key[:100], "is nested too deep"
                return
            pairs = one.items() if isinstance(one, dict) else enumerate(one)
            for name, inner in pairs:
                if isinstance(name, str) and (wrong := _wrong_text(name, longest)):
                    yield f"a key of {key or 'it'}", wrong
                left.append((f"{key}.{name}" if key else str(name), depth + 1, inner))
        elif isinstance(one, str):
            if wrong := _wrong_text(one, longest):
                yield key, wrong
        elif isinstance(one, float):
            if not math.isfinite(one):
                yield key, "is no finite number"
        elif isinstance(one, int) and abs(one) > LARGEST_NUMBER:
            yield key, "is too large a number"


def _wrong_text(text: str, longest: int) -> str:
    if len(text) > longest:
        return f"has {len(text):,} characters"
    if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
        return "holds half a character (a lone surrogate)"
    return ""
