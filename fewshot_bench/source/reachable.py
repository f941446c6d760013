"""What can be reached from a method: its classes, its own modules, their functions and caches, and what these hold.

The code and state of libraries (torch, this package, whatever is installed) are left out. Objects of an installed library
that a method holds are included: a scikit-learn scaler keeps what it was fitted on.
"""

import array
import functools
import sys
from collections import deque
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from fewshot_bench.source.distributions import NOT_HASHED, is_own

MOST = 100_000
"""The contents of at most so many objects are noted. A container with more entries is not looked into."""
LARGEST = 2**26
"""The most bytes of a tensor or an array; a larger one is left as it is."""
ENGINES = frozenset({"training", "_conditions"})
"""Attributes that the engine sets between one test and the next."""
PLAIN = frozenset({"types", "_thread", "_threading_local", "queue"})
"""Python's modules whose objects hold what they are given."""


def contents_of(x: Any) -> Any:
    """What an object holds, to be put back later; None if it holds nothing or belongs to a library."""
    match x:
        case Tensor() | np.ndarray():
            if x.nbytes > LARGEST:
                return None
            return x.detach().clone() if isinstance(x, Tensor) else x.copy()
        case dict() | list() | set() | deque() | bytearray():
            return x.copy()
        case array.array():
            return x[:]
        case CellType():
            return (x.cell_contents,)
        case ModuleType():
            return dict(vars(x)) if is_own(x.__name__) else None
        case FunctionType():
            return dict(vars(x)) if is_own(x.__module__) else None
        case type():
            return dict(vars(x)) if is_own(x.__module__) else None
    if isinstance(x, nn.Module):
        return {name: value for name, value in vars(x).items() if name not in ENGINES}
    if not is_own(type(x).__module__) and not _holds(x):
        return None
    slots = {name for base in type(x).__mro__ for name in slots_of(base) if hasattr(x, name)}
    return {**getattr(x, "__dict__", {}), **{name: getattr(x, name) for name in slots}}


def _holds(x: object) -> bool:
    """Whether an object of a library's class has attributes that a method may set, also through the library's own
    functions."""
    module = str(type(x).__module__)
    return hasattr(x, "__dict__") and (module in PLAIN or module.partition(".")[0] not in NOT_HASHED)


def slots_of(base: type) -> tuple[str, ...]:
    """Names of the slots that a class adds."""
    named = vars(base).get("__slots__", ())
    return tuple(name for name in ((named,) if isinstance(named, str) else named) if name not in ("__dict__", "__weakref__"))


def parts_of(x: Any, contents: Any) -> list[object]:
    """The other objects that can be reached from an object."""
    match x:
        case FunctionType() if contents is not None:
            inner = [x.__defaults__, x.__kwdefaults__, getattr(x, "__wrapped__", None), *(vars(x).values())]
            if is_own(str(x.__globals__.get("__name__"))):
                inner += [*(x.__closure__ or ()), sys.modules.get(x.__module__)]
            return inner
        case MethodType():
            return [x.__self__, x.__func__]
        case functools.partial():
            return [x.func, *x.args, *x.keywords.values()]
        case staticmethod() | classmethod():
            return [x.__func__]
        case property():
            return [x.fget]
        case functools._lru_cache_wrapper():
            return [x.__wrapped__]
        case tuple() | frozenset():
            return list(x)
        case type() if contents is not None:
            return [*contents.values(), *x.__mro__, sys.modules.get(x.__module__)]
    if contents is None or isinstance(x, (Tensor, np.ndarray, bytearray, array.array)) or len(contents) > MOST // 10:
        return []
    held = list(contents.values() if isinstance(contents, dict) else contents)
    return held if isinstance(x, (dict, list, set, deque, CellType, ModuleType)) else [*held, type(x)]
