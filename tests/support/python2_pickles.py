"""Pickles as Python 2 wrote them (protocol 2, text as bytes, arrays by `numpy.core`): Python 3 writes none such."""

from struct import pack
from typing import Any

import numpy as np


def python2_pickle(value: Any) -> bytes:
    """A dictionary of text, lists, whole numbers and arrays of uint8, as Python 2's cPickle writes it."""
    return b"\x80\x02" + _written(value) + b"."


def _written(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_written(key) + _written(held) for key, held in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_written, value)) + b"e"
    if isinstance(value, str):
        return b"T" + pack("<i", len(value)) + value.encode("latin-1")
    if isinstance(value, int):
        return b"J" + pack("<i", value)
    return _array(value)


def _array(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Made empty by `_reconstruct`, then given version, shape, type, order and content."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * _written(-1) + b"K\x00tb"
    shape = b"(" + b"".join(map(_written, array.shape)) + b"t"
    content = array.tobytes()
    return empty + b"(K\x01" + shape + kind + b"\x89T" + pack("<i", len(content)) + content + b"tb"
