"""Arguments of a Python caller, turned into what the command line would give: paths, numpy's numbers, nested settings.

A value that makes no sense raises `UsageError`, which names the argument.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any

from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.plugins import registry

DEEPEST = plain_yaml.DEEPEST
MOST_SEEDS = 1000
"""Of one command or one grid."""


def path(name: str, value: Any) -> Path:
    """A path, from a text or a path-like object."""
    if not isinstance(value, str | os.PathLike) or not isinstance(text := os.fspath(value), str) or not text or "\0" in text:
        raise UsageError(f"{name} must be a path, as a text or a Path, got {shown(value)}.")
    return Path(text)


def paths(name: str, value: Any) -> list[Path]:
    """A list of paths, from one path or several."""
    if isinstance(value, str | bytes | os.PathLike):
        return [path(name, value)]
    try:
        return [path(name, one) for one in value]
    except TypeError:
        raise UsageError(f"{name} must be a path or several, got {shown(value)}.") from None


def whole(name: str, value: Any) -> int:
    """A whole number, Python's or numpy's, but no truth value."""
    try:
        if type(value).__name__ in ("bool", "bool_"):
            raise TypeError
        return index(value)
    except (TypeError, ValueError):
        if isinstance(value, float) and value.is_integer():
            raise UsageError(f"{name} must be a whole number, got {shown(value)}: write {int(value)}.") from None
        more = ": give one value, and make a run for each" if isinstance(value, Sequence | range) else ""
        more = "" if isinstance(value, str) else more
        raise UsageError(f"{name} must be a whole number, got {shown(value)}{more}.") from None


def word(name: str, value: Any) -> str:
    """A name."""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a name, as a text, got {shown(value)}.")
    return str.__str__(value)  # an Enum's own is its name


def one_of(*words: str) -> Callable[[str, Any], str]:
    """A reader of one of a few words."""

    def read(name: str, value: Any) -> str:
        if (given := word(name, value)) not in words:
            raise unknown(f"value of --{name}", given, words)
        return given

    return read


def device(name: str, value: Any) -> str:
    """The name of a device, of a text or torch's; there is one CPU, whatever number torch gives it."""
    if type(value).__module__ == "torch" and type(value).__name__ == "device":
        return str(value) if value.type == "cuda" else str(value.type)
    return word(name, value)


def reference(group: registry.Group) -> Callable[[str, Any], str]:
    """A reader of plugins: how a record names one that is given by its name, by `file.py:Class` or as a class."""

    def read(name: str, value: Any) -> str:
        if isinstance(value, type):
            plugin = registry.find(group, value)
            return plugin.reference if ":" in plugin.name else plugin.name
        if not isinstance(value, str | os.PathLike):
            raise UsageError(f"{name} must be a name or a class, got {shown(value)}.")
        return word(name, value) if isinstance(value, str) else str(value)

    return read


def settings(value: Any) -> tuple[str, ...]:
    """`--set` settings, from a mapping whose sections may be mappings too, or from texts `key=value`."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (str.__str__(value),)
    if not isinstance(value, Mapping):
        if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
            return tuple(map(str.__str__, value))
        raise UsageError(f"settings must be a mapping of keys to values, or a list of texts key=value, got {shown(value)}.")
    return tuple(_setting(key, one) for key, one in _flat(value))


def plain(name: str, value: Any, depth: int = 0) -> Any:
    """A value as JSON has it, from numpy's numbers and arrays, tensors, tuples, paths, torch's types and devices."""
    if depth > DEEPEST:
        raise UsageError(f"{name} is nested more than {DEEPEST} deep.")
    if isinstance(value, str) and not plain_yaml.is_text(value):
        raise UsageError(f"{name} must be a text that UTF-8 can encode, got {shown(value)}.")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {word(f"a key of {name}", key): plain(name, one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(name, one, depth + 1) for one in value]
    if isinstance(value, os.PathLike):
        return str(path(name, value))
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (bool, int, float):  # the plain value of a subclass, such as numpy's float64
        if isinstance(value, kind):
            return kind(value)
    if type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device"):
        return str(value).removeprefix("torch.")
    if callable(listed := getattr(value, "tolist", None)) and type(inner := listed()) is not type(value):
        return plain(name, inner, depth + 1)
    if isinstance(value, Real):  # numpy's longest, a fraction
        return float(value)
    raise UsageError(f"{name} must be a number, a text, true, false, None or a list of them, got {shown(value)}.")


def shown(value: Any) -> str:
    """A value as a message shows it, with its type if it is not a text or number."""
    if isinstance(value, str | int | float) or value is None:
        return plain_yaml.clipped(repr(value))
    return f"{plain_yaml.clipped(repr(value))} ({type(value).__name__})"


def parse_seeds(text: str, name: str = "--seeds") -> list[int]:
    """`3`, `0-4` or `0,2,5-7` as numbers; raises `UsageError` that begins with the name."""
    given, ranges = repr(plain_yaml.clipped(text)), []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)) or int(last or first) < int(first):
            raise UsageError(f"{name} takes numbers from 0 up, such as 3, 0-4 or 0,2,5; got {given}.")
        ranges.append(range(int(first), int(last or first) + 1))
    if sum(map(len, ranges)) > MOST_SEEDS or any(numbers[-1] >= 2**32 for numbers in ranges):  # counted before it is built
        raise UsageError(f"{name} takes at most {MOST_SEEDS:,} seeds below 2^32; got {given}.")
    seeds = [seed for numbers in ranges for seed in numbers]
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"{name} names a seed twice: {given}.")
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _flat(given: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Keys and values, those of a section as `section.key`."""
    from fewshot_bench.recipes import SECTIONS  # slow to import

    found: list[tuple[str, Any]] = []
    for name, value in given.items():
        key = word("a key of settings", name)
        if key in SECTIONS and isinstance(value, Mapping):
            found += [(f"{key}.{word(f'a key of settings[{key!r}]', inner)}", one) for inner, one in value.items()]
        else:
            found.append((key, value))
    return found


def _setting(key: str, value: Any) -> str:
    if "=" in key:
        raise UsageError(f"settings: a key cannot hold '=', got {shown(key)}.")
    said = plain(f"settings[{key!r}]", value)
    try:
        return plain_yaml.assignment(key, said)
    except ValueError:
        raise UsageError(f"settings[{key!r}] must be a finite number, got {shown(value)}.") from None
