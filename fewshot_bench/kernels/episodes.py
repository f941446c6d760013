"""The kernel of `sampling.cpp`."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt

from fewshot_bench.kernels.build import library


def draw_episodes(
    key_low: int,
    key_high: int,
    numbers: Sequence[int],
    classes: Iterable[npt.NDArray[Any]],
    into: Iterable[npt.NDArray[Any]],
) -> None:
    """Fill the arrays of a block of episodes; arguments in the order of `sampling.cpp`. Raises `Unavailable`."""
    keys = (ctypes.c_uint64(key_low), ctypes.c_uint64(key_high))
    addresses = (ctypes.c_void_p(array.ctypes.data) for array in (*classes, *into))
    if library().draw_episodes(*keys, *map(ctypes.c_int64, numbers), *addresses):
        raise MemoryError("not enough memory for a block of episodes")
