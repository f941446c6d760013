"""Values as texts, for the hash of a source: numbers, texts, containers of them, arrays."""

import enum
import hashlib
from collections.abc import Iterable, Mapping, Set
from pathlib import PurePath
from typing import Any

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), PurePath, enum.Enum)


def plain_text(value: Any) -> str:
    """A text that equal values share, also dictionaries whose values are plain."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, PurePath):
        return value.name  # its folder is not part of a method
    if isinstance(value, PLAIN):
        return ascii(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{key!a}: {plain_text(one)}' for key, one in value.items()))}}}"
    return type(value).__name__


def children(value: Any) -> list[Any] | None:
    """What a container holds, in an order that equal containers share; None for anything else."""
    if isinstance(value, Mapping):
        return [one for pair in list(value.items()) for one in pair]
    if isinstance(value, Set):
        return sorted(value, key=_order)
    if isinstance(value, list | tuple):
        return list(value)
    if (array := _array(value)) is not None:
        return [array]
    return None


def _order(one: Any) -> tuple[str, str, str]:
    """The key by which members of a set are sorted: the order of sets differs from process to process."""
    if isinstance(one, tuple | frozenset):
        inner = [_order(each) for each in one]
        return type(one).__name__, "", repr(inner if isinstance(one, tuple) else sorted(inner))
    return type(one).__name__, getattr(one, "__qualname__", ""), plain_text(one)


def _array(value: Any) -> str | None:
    """The hash of an array or tensor; None for another value."""
    to_numpy: Any = getattr(value, "detach", lambda: value)()
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, Iterable) or dtype is None:
        return None
    try:
        numbers = to_numpy.cpu().numpy() if hasattr(to_numpy, "cpu") else to_numpy
        return f"{dtype} {list(shape)} {hashlib.sha256(numbers.tobytes()).hexdigest()}"
    except (AttributeError, TypeError, RuntimeError):
        return f"{dtype} {list(shape)}"
