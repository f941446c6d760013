"""Random words of numpy's Philox-4x64, whose stream numpy guarantees, and the rules by which they become numbers.

The rules are our own, because numpy promises no stable stream for `Generator.choice` and its like. A stream can be entered
anywhere: each step of its counter gives four words.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.hashing import canonical_json

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


def key_of(*parts: Any) -> int:
    """The key of a stream: the first 128 bits, little-endian, of the sha256 of the canonical JSON of the list `parts`."""
    return int.from_bytes(hashlib.sha256(canonical_json(parts).encode()).digest()[:16], "little")


def words(key: int, count: int, counter: int | Sequence[int] = 0) -> Words:
    """The first `count` words of a stream from a counter on."""
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def whole_steps(count: int) -> int:
    """`count` rounded up to a multiple of 4: so many words end with a step of the counter."""
    return -(-count // 4) * 4


def word_rows(key: int, first: int, count: int, each: int) -> Words:
    """Rows `first` to `first + count - 1` [count, each] of a stream that is cut into rows of `each` words, whole steps."""
    return words(key, count * each, first * each // 4).reshape(count, each)


def below(drawn: Words, limit: int | Integers) -> Integers:
    """Integers in [0, limit), one for each word w: ((w >> 32) * limit) >> 32, whose bias is at most limit / 2^32."""
    scaled: Words = (drawn >> np.uint64(32)) * np.asarray(limit, np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)


def one_below(limit: int, key: int, counter: int) -> int:
    """The integer in [0, limit) that the first word at a counter gives."""
    return int(below(words(key, 1, counter), limit)[0])
