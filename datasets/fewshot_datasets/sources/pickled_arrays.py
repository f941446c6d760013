"""Arrays that others pickled, read without executing anything.

A pickle is a program: it names callables by module and name, and has them called. This reader looks none of them up. Each
name that an array, a number of numpy's, bytes or an ordered dictionary needs stands here for a function of this module,
which checks its arguments and makes the value itself. Every other name is refused. What is admitted, and why that is safe:

- `numpy.core.multiarray._reconstruct`, `numpy.core.numeric._frombuffer`, `numpy.ndarray` (also under `numpy._core`): an
  array of numbers, booleans or text whose declared shape and type need exactly the bytes that are there. It is a view of
  them that nobody can write to, and they are `bytes`, which nothing in the pickle can change or free.
- `numpy.dtype`: a plain number, boolean or text type. Types of objects and of records, whose memory a forged state would
  reinterpret as pointers, are refused.
- `numpy.core.multiarray.scalar`: one such number, as Python's own.
- `_codecs.encode`: text to bytes by Latin-1, as Python 3 pickles bytes for Python 2; no other codec. `bytes`: empty bytes.
- `collections.OrderedDict`: a plain dictionary.

Lists, tuples, dictionaries, text, bytes and numbers need no name; `unpickling` makes them. A forged file can waste
memory only in proportion to its size.
"""

import math
import pickle
import re
from io import BufferedReader, BytesIO
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.files.source_files import BROKEN
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.unpickling import KEYS, Admitted, Buildable, Machine

Array = npt.NDArray[Any]
UNREADABLE = (
    *BROKEN,
    pickle.UnpicklingError,
    AttributeError,
    TypeError,
    LookupError,
    ArithmeticError,
)
"""What reading a truncated or forged pickle raises."""
PLAIN = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5})")
MOST_DIMENSIONS = 32
LAST_CHARACTER = 0x10FFFF
DEFLATED = 2**16
"""The number of bytes that are read ahead, from a file whose single bytes are slow to get."""


def read_pickle(content: bytes | IO[bytes], name: str = "the pickle") -> Any:
    """What a pickle of Python 2 or 3 holds. Text of Python 2 comes as bytes, arrays as read-only `numpy.ndarray`.

    Raises `DataError` that calls it `name` if it is truncated, is not a pickle, or asks for anything but data.
    """

    def find(module: str, asked: str) -> Admitted:
        if (admitted := ADMITTED.get((module, asked))) is None:
            raise DataError(
                f"{name} is not read: it asks for {f'{module}.{asked}'[:80]!a}, which no pickle of arrays needs.\n"
                "It may be meant to run a program. It was not executed."
            )
        return admitted

    file = BytesIO(content) if isinstance(content, bytes) else content
    buffered = None if isinstance(file, BytesIO | BufferedReader) else BufferedReader(cast(Any, file), DEFLATED)
    try:
        return Machine(buffered or file, find).run()
    except MemoryError as error:
        raise DataError(f"{name} needs more memory than this machine has.") from error
    except UNREADABLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise DataError(f"{name} is truncated or not a pickle of arrays ({reason!a}). Copy or download it again.") from error
    finally:
        if buffered:
            buffered.detach()  # else it would close the file


def text(value: str | bytes) -> str:
    """Text that may come from Python 2."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _Type(Buildable):
    """A plain type of numbers or text; a pickle states its byte order after it was made."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def build(self, state: tuple[Any, ...]) -> tuple["_Type", int]:
        """The type in its byte order."""
        _version, order, *structure = state
        if any(part is not None for part in structure[:3]):  # subarray, names and fields
            raise TypeError("an array of records")
        if text(order) not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {text(order)!r}")
        own: Any = "|" if text(order) == "=" else text(order)
        return _Type(self.dtype.newbyteorder(own)), 0


class _Unbuilt(Buildable):
    """An array whose shape, type and content come in a second step."""

    needed = True

    def build(self, state: tuple[Any, ...]) -> tuple[Array, int]:
        """The array, in the byte order of this machine."""
        shape, kind, by_column, content = state[-4:]
        array = _array(shape, kind, content, "F" if by_column else "C")
        if array.dtype.isnative:
            return array, 0
        return array.astype(array.dtype.newbyteorder("=")), array.nbytes


def _array(shape: object, kind: object, content: object, order: Literal["C", "F"]) -> Array:
    """A read-only view of `content`; raises `ValueError` unless an array of such a shape and type has exactly this."""
    if not isinstance(kind, _Type) or type(content) is not bytes or type(shape) is not tuple:
        raise ValueError("an array of objects, or of no known type")
    if len(shape) > MOST_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        raise ValueError("an array of an impossible shape")
    if math.prod(shape) * kind.dtype.itemsize != len(content):
        raise ValueError(f"an array {kind.dtype} {shape} of {len(content):,} bytes")
    if kind.dtype.kind == "b" and content.strip(b"\0\1"):  # numpy relies on this when it looks for true ones
        raise ValueError("booleans that are neither true nor false")
    if not content:
        return np.empty(shape, kind.dtype)
    flat: Array = np.frombuffer(content, kind.dtype)
    if kind.dtype.kind == "U" and np.frombuffer(content, kind.dtype.byteorder + "u4").max() > LAST_CHARACTER:
        raise ValueError("text of no characters")
    return flat.reshape(shape, order=order)


def _refuse(*_values: object) -> Any:
    raise TypeError("an array without content")


ARRAY = Admitted(_refuse)
"""Stands for the class of arrays, which a pickle names but does not call."""


def _reconstruct(kind: object, shape: object, _type: object) -> tuple[_Unbuilt, int]:
    if kind is not ARRAY or shape != (0,):  # its own shape comes with its state
        raise TypeError("an array of a class or a shape of its own")
    return _Unbuilt(), 0


def _from_buffer(content: object, kind: object, shape: object, order: object = "C") -> tuple[Array, int]:
    return _array(shape, kind, content, "F" if order == "F" else "C"), 0


def _dtype(description: str | bytes, *_align_and_copy: object) -> tuple[_Type, int]:
    if not PLAIN.fullmatch(text(description)):
        raise TypeError(f"an array of type {text(description)}")
    return _Type(np.dtype(text(description))), 0


def _scalar(kind: object, content: object) -> tuple[Any, int]:
    return _array((1,), kind, content, "C")[0].item(), 0


def _encode(content: str, codec: str | bytes = "latin1") -> tuple[bytes, int]:
    if text(codec) not in ("latin1", "latin-1"):
        raise ValueError(f"codec {text(codec)!r}")
    encoded = content.encode("latin-1")
    return encoded, len(encoded)


def _no_bytes() -> tuple[bytes, int]:
    return b"", 0


def _dictionary(items: object = ()) -> tuple[dict[Any, Any], int]:
    """A dictionary of pairs, as Python 2 pickles an ordered one."""
    if not isinstance(items, list | tuple) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in items):
        raise TypeError("a dictionary of no pairs")
    if not all(isinstance(key, KEYS) for key, _ in items):
        raise TypeError("a dictionary with a key that is neither text nor a number")
    return dict(items), len(items)


ADMITTED = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Admitted(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Admitted(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Admitted(_from_buffer) for core in ("core", "_core")},
    ("numpy", "ndarray"): ARRAY,
    ("numpy", "dtype"): Admitted(_dtype),
    **{(builtins, "bytes"): Admitted(_no_bytes) for builtins in ("builtins", "__builtin__")},
    ("_codecs", "encode"): Admitted(_encode),
    ("collections", "OrderedDict"): Admitted(_dictionary),
}
