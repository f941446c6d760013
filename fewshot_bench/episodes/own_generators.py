"""Random generators of a method's own: `RNG = np.random.default_rng(0)` in its module, in its class, in itself.

The engine seeds them wherever it seeds the global ones (`randomness`): from the run's seed when the method is built and in
each update, from the task's key at test. Otherwise a score would depend on what the process did before. They are looked for
once for each method, before it is first called, and its copies share them.

A generator is not found if it is made later, if a library holds it in its own modules, or if it runs inside a Python
generator or a thread. One that takes its numbers from the operating system cannot be seeded, and is refused.
"""

import pickle
import random
from collections.abc import Iterable
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.errors import PluginError
from fewshot_bench.plugins.registry import PREFIX
from fewshot_bench.source.reachable import MOST, contents_of, parts_of

KINDS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, torch.Generator, random.Random)


@dataclass(eq=False)
class OwnGenerator:
    """One of them, and where it was found: `numbers.RNG`, `Mine.rng`."""

    name: str
    generator: Any

    def seed(self, seed: int) -> None:
        """Start anew from a seed; each name has a stream of its own."""
        number, x = derive_seed(seed, f"generator {self.name}"), self.generator
        match x:
            case torch.Generator():
                x.manual_seed(number)
            case random.Random():
                x.seed(number)
            case _:
                bits = _bits(x)
                bits.state = type(bits)(number).state
                if isinstance(x, np.random.RandomState):  # it keeps every second Gaussian
                    x.set_state(x.get_state(legacy=False) | {"has_gauss": 0, "gauss": 0.0})

    @property
    def state(self) -> Any:
        """The state from which it can go on."""
        match self.generator:
            case torch.Generator():
                return self.generator.get_state()
            case random.Random():
                return self.generator.getstate()
            case np.random.RandomState():
                return self.generator.get_state(legacy=False)
        return _bits(self.generator).state

    @state.setter
    def state(self, state: Any) -> None:
        match self.generator:
            case torch.Generator() | np.random.RandomState():
                self.generator.set_state(state)
            case random.Random():
                self.generator.setstate(state)
            case _:
                _bits(self.generator).state = state

    def drew_since(self, state: Any) -> bool:
        """Whether it is not in that state any more."""
        if isinstance(state, Tensor):
            return not torch.equal(state, self.generator.get_state())
        return pickle.dumps(state) != pickle.dumps(self.state)


def _bits(x: Any) -> Any:
    """The bit generator behind one of numpy's generators."""
    if isinstance(x, np.random.RandomState):
        return x._bit_generator
    return x if isinstance(x, np.random.BitGenerator) else x.bit_generator


_found: WeakKeyDictionary[nn.Module, tuple[OwnGenerator, ...]] = WeakKeyDictionary()


def generators_of(method: nn.Module) -> tuple[OwnGenerator, ...]:
    """A method's own generators; raises `PluginError` for one that no seed reaches."""
    if method not in _found:
        _found[method] = find([method, *dict.fromkeys(type(module) for module in method.modules())])
    return _found[method]


def share_generators(original: nn.Module, copy: nn.Module) -> None:
    """Say that the generators of a copy are those of the original."""
    _found[copy] = generators_of(original)


def find(roots: Iterable[object]) -> tuple[OwnGenerator, ...]:
    """All that can be reached from `roots`, in an order that is always the same."""
    waiting = [(one, _name_of(one) or "it") for one in roots][::-1]
    seen: dict[int, object] = {}
    found: dict[str, OwnGenerator] = {}
    while waiting and len(seen) < MOST:
        one, name = waiting.pop()
        if id(one) in seen or isinstance(one, (str, bytes, int, float, complex, type(None), Tensor, np.ndarray, set)):
            continue
        seen[id(one)] = one
        if isinstance(one, KINDS):
            if not isinstance(one, (np.random.BitGenerator, torch.Generator, random.Random)):
                seen[id(_bits(one))] = _bits(one)
            _add(found, name, one)
            continue
        try:
            contents = contents_of(one)
            parts = parts_of(one, contents)
        except Exception:  # whatever a plugin holds
            continue
        names = {id(x): str(key) for key, x in contents.items()} if isinstance(contents, dict) else {}
        waiting += [(part, _named(part, name, names.get(id(part)), one)) for part in reversed(parts)]
    return tuple(found.values())


def _add(found: dict[str, OwnGenerator], name: str, x: Any) -> None:
    if isinstance(x, random.SystemRandom):
        raise PluginError(
            f"{name} draws from the operating system, so no seed gives the same numbers again.\n"
            "Draw from torch's global generator in training and from tasks.key at test, or use random.Random."
        )
    while name in found:
        name += "'"
    found[name] = OwnGenerator(name, x)


def _name_of(x: object) -> str | None:
    """The name of an object that has one, from which its parts take theirs."""
    if isinstance(x, ModuleType):
        return x.__name__.rpartition(".")[2] if not x.__name__.startswith(PREFIX) else x.__name__[len(PREFIX) + 13 :]
    if isinstance(x, (type, FunctionType)):
        return x.__qualname__
    return type(x).__qualname__ if isinstance(x, nn.Module) else None


def _named(part: object, holder: str, key: str | None, held_by: object) -> str:
    if (own := _name_of(part)) is not None:
        return own
    if isinstance(part, CellType) or isinstance(held_by, CellType):
        return holder
    return f"{holder}.{key}" if key is not None else holder
