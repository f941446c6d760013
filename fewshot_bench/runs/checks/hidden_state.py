"""What a method keeps outside itself, noted and put back.

A copy of a method shares all that (`reachable`). So the check of a test (`inductive`) notes it before the test, puts it back
for each question that it asks a copy, and then brings the present back, so that the test goes on as if nothing had been
asked.

Nothing is copied deeply: of each list, dict, tensor or object that can be reached its contents are noted, and put back into
it.
"""

import array
import functools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import CellType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.learning.base import Method
from fewshot_bench.source.reachable import MOST, contents_of, parts_of, slots_of


class Surroundings:
    """The state outside a method at the time this was made; `method` is a copy of the tested one, which nobody asks."""

    def __init__(self, method: Method) -> None:
        self.roots = [method, *(type(module) for module in method.modules())]
        self.own = [*method.parameters(), *method.buffers()]
        self.before = _Noted(self.roots, self.own)
        self.inside = False

    @contextmanager
    def present(self) -> Iterator[None]:
        """Behind this all is as it is now, whatever happens within."""
        now, self.inside = _Noted(self.roots, self.own), True
        try:
            yield
        finally:
            self.inside = False
            now.put_back()

    @contextmanager
    def as_before(self) -> Iterator[None]:
        """Within this all is as it was, and caches are empty; behind it all is as it is now, or behind the `present` that
        this is within."""
        with nullcontext() if self.inside else self.present():
            self.before.put_back(emptied=True)
            yield


class _Noted:
    """The contents of all that can be reached from `roots`, except `left`."""

    def __init__(self, roots: Iterable[object], left: Iterable[object]) -> None:
        self.held: dict[int, tuple[Any, Any]] = {}
        waiting, seen = list(roots), {id(one): one for one in left}
        while waiting and len(seen) < MOST:
            one = waiting.pop()
            if id(one) in seen or isinstance(one, (str, bytes, int, float, complex, type(None))):
                continue
            seen[id(one)] = one
            with suppress(Exception):  # whatever a plugin holds
                contents = contents_of(one)
                if contents is not None:
                    self.held[id(one)] = one, contents
                waiting += parts_of(one, contents)

    def put_back(self, *, emptied: bool = False) -> None:
        """Put all contents back; with `emptied` caches are replaced by empty ones."""
        empty: dict[int, Any] = {}
        for one, contents in self.held.values():
            with suppress(Exception):
                _put(one, {name: _empty(x, empty) for name, x in contents.items()} if emptied and _named(one) else contents)


def _named(x: object) -> bool:
    """Whether its contents are attributes."""
    return not isinstance(x, (dict, list, set, deque, bytearray, array.array, Tensor, np.ndarray, CellType))


def _empty(x: Any, known: dict[int, Any]) -> Any:
    """The same cache without entries; anything else is given back."""
    if isinstance(x, (staticmethod, classmethod)):
        inner = _empty(x.__func__, known)
        return x if inner is x.__func__ else type(x)(inner)
    if not isinstance(x, functools._lru_cache_wrapper):
        return x
    if id(x) not in known:
        known[id(x)] = functools.lru_cache(**x.cache_parameters())(x.__wrapped__)
    return known[id(x)]


def _put(x: Any, contents: Any) -> None:
    """Put contents back where they are others by now."""
    match x:
        case Tensor():
            if x.shape != contents.shape or x.dtype != contents.dtype:
                x.data = contents.clone()
            elif not torch.equal(x, contents):
                with torch.inference_mode(x.is_inference()), torch.no_grad():
                    x.detach().copy_(contents)
        case np.ndarray():
            if not np.array_equal(x, contents):
                x[...] = contents
        case bytearray() | list() | array.array():
            x[:] = contents
        case deque():
            x.clear()
            x.extend(contents)
        case dict() | set():
            if len(x) != len(contents) or not _same(x, contents):
                x.clear()
                x.update(contents)
        case CellType():
            if x.cell_contents is not contents[0]:
                x.cell_contents = contents[0]
        case _:
            _put_attributes(x, contents)


def _same(x: Any, contents: Any) -> bool:
    """Whether two dicts, or sets, of one length hold the same objects."""
    if isinstance(x, set):
        return bool(x == contents)
    return all(key in x and dict.__getitem__(x, key) is value for key, value in contents.items())


def _put_attributes(x: Any, contents: dict[str, Any]) -> None:
    present = contents_of(x)
    for name in present.keys() - contents.keys():
        with suppress(Exception):
            delattr(x, name) if isinstance(x, type) or name not in vars(x) else vars(x).pop(name)
    for name, value in contents.items():
        if name not in present or present[name] is not value:
            with suppress(Exception):
                if not isinstance(x, type) and hasattr(x, "__dict__") and name not in _all_slots(x):
                    vars(x)[name] = value
                else:
                    setattr(x, name, value)


def _all_slots(x: object) -> set[str]:
    return {name for base in type(x).__mro__ for name in slots_of(base)}
