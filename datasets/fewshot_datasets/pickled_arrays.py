"""Arrays that others pickled, read without executing anything.

A pickle is a program: it names callables by module and name, and has them called. This reader looks none of them up. Each
name that an array, a number of numpy's, bytes or an ordered dictionary needs stands here for a function of this module,
which checks its arguments and makes the value itself; every other name is refused. What is admitted, and why that is safe:

- `numpy.core.multiarray._reconstruct`, `numpy.core.numeric._frombuffer`, `numpy.ndarray` (also under `numpy._core`): an
  array of numbers, booleans or text whose declared shape and type need exactly the bytes that are there. numpy's own
  reading of a pickled array is reached with such values alone.
- `numpy.dtype`: a plain number, boolean or text type. Types of objects and of records, whose memory a forged state would
  reinterpret as pointers, are refused.
- `numpy.core.multiarray.scalar`: one such number, as Python's own.
- `_codecs.encode`: text to bytes by Latin-1, as Python 3 pickles bytes for Python 2; no other codec. `bytes`: none at all.
- `collections.OrderedDict`: a plain dictionary.

Lists, tuples, dictionaries, text, bytes and numbers need no name. What these functions return has no attribute that a
pickle can set to anything but a checked value. A forged file can waste memory, and no more.
"""

import math
import pickle
import re
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any

import numpy as np

from fewshot_bench.errors import DataError
from fewshot_bench.files import BROKEN

UNREADABLE = (
    *BROKEN,
    pickle.UnpicklingError,
    ImportError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
)
"""What reading a truncated or forged pickle raises."""
PLAIN = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|[SU]\d{1,6})")
MOST_DIMENSIONS = 32


def read_pickle(content: bytes | IO[bytes], name: str = "the pickle") -> Any:
    """What a pickle of Python 2 or 3 holds; text of Python 2 comes as bytes, arrays as `numpy.ndarray`.

    Raises `DataError` that calls it `name` where it is truncated, no pickle, or asks for anything but data.
    """
    try:
        return _Reader(BytesIO(content) if isinstance(content, bytes) else content, name).load()
    except MemoryError as error:
        raise DataError(f"{name} needs more memory than there is here.") from error
    except UNREADABLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise DataError(f"{name} is truncated, or no pickle of arrays ({reason!a}). Copy or download it again.") from error


def text(value: str | bytes) -> str:
    """Text that may come from Python 2."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], name: str) -> None:
        super().__init__(file, encoding="bytes")
        self.name = name

    def find_class(self, module: str, name: str) -> Any:
        if (admitted := ADMITTED.get((module, name))) is None:
            asked = f"{module}.{name}"[:80]
            raise DataError(
                f"{self.name} is not read: it asks for {asked!a}, which no pickle of arrays needs.\n"
                "It may be meant to run a program; it was not executed."
            )
        return admitted


class _Admitted:
    """A function that a pickle may call, and not alter."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *values: Any) -> Any:
        return self._function(*values)

    def __setstate__(self, state: object) -> None:
        raise TypeError("a function has no state")


class _Type:
    """A plain type of numbers or text; a pickle states its byte order after it was made."""

    __slots__ = ("dtype",)

    def __init__(self, description: str | bytes, *_align_and_copy: object) -> None:
        if not PLAIN.fullmatch(text(description)):
            raise TypeError(f"an array of type {text(description)}")
        self.dtype = np.dtype(text(description))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, *structure = state
        if any(part is not None for part in structure[:3]):  # subarray, names and fields
            raise TypeError("an array of records")
        if text(order) not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {order!r}")
        self.dtype = self.dtype.newbyteorder("|" if text(order) == "=" else text(order))  # type: ignore[arg-type]


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array that takes its state from a pickle only where shape, type and bytes agree."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, by_column, content = state[-4:]
        _check(shape, kind, content)
        checked: Any = (1, shape, kind.dtype, bool(by_column), bytes(content))
        super().__setstate__(checked)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)  # what other processes get is a plain array


def _check(shape: object, kind: object, content: object) -> None:
    """Raises `ValueError` unless an array of such a shape and type has exactly this content."""
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray) or not isinstance(shape, tuple):
        raise ValueError("an array of objects, or of no known type")
    if len(shape) > MOST_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        raise ValueError("an array of an impossible shape")
    if math.prod(shape) * kind.dtype.itemsize != len(content):
        raise ValueError(f"an array {kind.dtype} {shape} of {len(content):,} bytes")


def _refuse(*_values: object) -> Any:
    raise TypeError("an array without content")


ARRAY = _Admitted(_refuse)
"""Stands for the class of arrays, which a pickle names and does not call."""


def _reconstruct(kind: object, shape: object, _type: object) -> _Array:
    if kind is not ARRAY or shape != (0,):  # its own shape comes with its state
        raise TypeError("an array of a class or a shape of its own")
    return np.ndarray.__new__(_Array, (0,), np.uint8)


def _from_buffer(content: bytes | bytearray, kind: _Type, shape: tuple[int, ...], order: str = "C") -> _Array:
    _check(shape, kind, content)
    return np.ndarray.__new__(_Array, shape, kind.dtype, content, order="F" if order == "F" else "C")


def _scalar(kind: _Type, content: bytes) -> Any:
    _check((1,), kind, content)
    return np.frombuffer(content, kind.dtype)[0].item()


def _encode(content: str, codec: str | bytes = "latin1") -> bytes:
    if text(codec) not in ("latin1", "latin-1"):
        raise ValueError(f"codec {codec!r}")
    return content.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


ADMITTED = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Admitted(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Admitted(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Admitted(_from_buffer) for core in ("core", "_core")},
    ("numpy", "ndarray"): ARRAY,
    ("numpy", "dtype"): _Admitted(_Type),
    **{(builtins, "bytes"): _Admitted(_no_bytes) for builtins in ("builtins", "__builtin__")},
    ("_codecs", "encode"): _Admitted(_encode),
    ("collections", "OrderedDict"): _Admitted(dict),
}
