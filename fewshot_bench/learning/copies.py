"""Copies of a method that share no state with it, also where `copy.deepcopy` refuses.

`deepcopy` fails at a lock, a generator or a tensor with its graph (`weight_norm` keeps one), and a class may return itself
as its copy. Such an object is copied attribute by attribute: a tensor without its graph, and what cannot be copied is
shared.
"""

import copy
import functools
from types import MethodType
from typing import Any

import torch
from torch import nn

from fewshot_bench.episodes.own_generators import generators_of, share_generators
from fewshot_bench.learning.base import Method

Memo = dict[int, Any]
"""Copies by the address of their originals, as `copy.deepcopy` keeps them."""


def copy_of(method: Method) -> Method:
    """A copy with parameters, buffers and attributes of its own. It shares random generators, which the engine seeds."""
    found: Method = _copy(method, {id(one.generator): one.generator for one in generators_of(method)})
    share_generators(method, found)
    return found


def _copy(x: Any, memo: Memo) -> Any:
    if id(x) in memo:
        return memo[id(x)]
    trial = dict(memo)  # what fails half way leaves halves in it
    try:
        found = copy.deepcopy(x, trial)
    except (MemoryError, torch.OutOfMemoryError):  # piece by piece it is as large
        raise
    except Exception:  # whatever a plugin holds
        return _piecewise(x, memo)
    if isinstance(x, nn.Module) != isinstance(found, nn.Module) or not _parts(x).isdisjoint(_parts(found)):
        return _piecewise(x, memo)
    trial.setdefault(id(trial), []).append(trial)  # as long as its address is a key
    memo.update(trial)
    return found


def _parts(x: Any) -> set[int]:
    """Addresses of the modules, parameters and buffers of a module, or of those that a dict or a list holds."""
    held = x.values() if isinstance(x, dict) else x if isinstance(x, list) else [x]
    modules = [one for one in held if isinstance(one, nn.Module)]
    return {id(part) for one in modules for part in (*one.modules(), *one.parameters(), *one.buffers())}


def _piecewise(x: Any, memo: Memo) -> Any:
    """A copy by the copies of its parts; x itself where it has none."""
    found: Any
    if isinstance(x, torch.Tensor):
        found = x.detach().clone()
    elif isinstance(x, MethodType):
        found = MethodType(x.__func__, _copy(x.__self__, memo))
    elif isinstance(x, functools.partial):
        arguments = {name: _copy(one, memo) for name, one in x.keywords.items()}
        found = functools.partial(_copy(x.func, memo), *(_copy(one, memo) for one in x.args), **arguments)
    elif isinstance(x, tuple):
        parts = [_copy(one, memo) for one in x]
        found = type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    else:
        return _filled(x, memo)
    memo[id(x)] = found
    return found


def _filled(x: Any, memo: Memo) -> Any:
    """A shallow copy in which each part is then replaced by its own copy; parts may hold the whole."""
    found: Any
    try:
        found = type(x).__new__(type(x)) if isinstance(x, nn.Module) else copy.copy(x)
    except Exception:  # a lock, a generator, a file
        found = x
    memo[id(x)] = found
    if found is x:
        return x
    if isinstance(x, dict):
        found.clear()
        found.update({_copy(key, memo): _copy(one, memo) for key, one in x.items()})
    elif isinstance(x, list):
        found[:] = [_copy(one, memo) for one in x]
    if hasattr(x, "__dict__"):
        vars(found).update({name: _copy(one, memo) for name, one in vars(x).items()})
    return found
