"""Which of a method's own modules were edited since they were imported, so that they are imported again.

A module that was loaded by hand (from a file, not by its name) is found through the modules that hold it or a part of it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from fewshot_bench.source.distributions import is_own
from fewshot_bench.source.files_read import forget_compiled, is_edited, is_installed, read_by
from fewshot_bench.source.modules import Module, file_of, functions_of, module_of, text_of

COMPUTED = ("import_module", "__import__", "resolve_name", "locate")
"""Functions that import a module by a name that may be computed."""
_BY_HAND: dict[int, tuple[dict[str, Any], ModuleType]] = {}
"""Modules of which only functions are left, by the ids of their namespaces."""


def loaded_by_hand(value: Any) -> Module | None:
    """The method's own module that a value is or comes from, if `sys.modules` does not have it."""
    if isinstance(value, ModuleType):
        live = None if sys.modules.get(value.__name__) is value else value
    else:
        function = next(functions_of(value), None) if isinstance(value, type | FunctionType) else None
        live = _module_around(function) if function is not None else None
    file = file_of(live) if live is not None else None
    if live is None or file is None or file.suffix != ".py" or is_installed(str(file.absolute())):
        return None
    return module_of(live)


def _module_around(function: FunctionType) -> ModuleType | None:
    around = function.__globals__
    name = str(around.get("__name__", ""))
    live = sys.modules.get(name)
    if live is not None and (vars(live) is around or name == "__main__"):
        return None
    if around.get("__spec__") is None or function.__module__ != name:
        return None
    if id(around) not in _BY_HAND:
        made = ModuleType(name)
        vars(made).update(around)
        _BY_HAND[id(around)] = around, made
    return _BY_HAND[id(around)][1]


def forget_edited(name: str) -> bool:
    """Let the next import of a module read its file again if that file, or one of a module that it imports, was edited.
    Returns whether one was."""
    live = sys.modules.get(name)
    first = module_of(live) if live is not None and is_own(name) else None
    family = list(_family(first)) if first else []
    edited = [module for module in family if _is_edited(module)]
    for one in family if edited else []:
        if one.name != "__main__" and any(module is each for module in edited for each in _family(one)):
            sys.modules.pop(one.name, None)
    forget_compiled(module.live for module in edited)
    importlib.invalidate_caches()
    return bool(edited)


def _family(first: Module) -> Iterator[Module]:
    """A method's own module and all such modules that it imports, as far as they are imported."""
    waiting, seen = [first], {id(first)}
    while waiting:
        yield (module := waiting.pop())
        found = [module_of(live) for name in sorted(module.needed) if (live := sys.modules.get(name)) and is_own(name)]
        for one in (*found, *_held_by(module)):
            if one is not None and id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)


def _held_by(module: Module) -> Iterator[Module | None]:
    """Modules that no import of a module's text names: those that it holds, and those that it may find by a name."""
    for value in list(vars(module.live).values()):
        if isinstance(value, ModuleType) and sys.modules.get(value.__name__) is value:
            yield module_of(value) if is_own(value.__name__) else None
        else:
            yield loaded_by_hand(value)
    file = file_of(module.live)
    if file is not None and any(word in module.text for word in COMPUTED):
        folder = file.absolute().parent
        for name, live in sorted(sys.modules.items()):
            place = file_of(live) if isinstance(live, ModuleType) else None
            if place is not None and place.absolute().is_relative_to(folder) and is_own(name):
                yield module_of(live)


def _is_edited(module: Module) -> bool:
    file = file_of(module.live)
    if any(is_edited(path, sha256) for path, sha256 in read_by(module.live).items()):
        return True
    if file is None or file.suffix != ".py" or not file.is_file():
        return False
    return not module.as_imported or text_of(module.live) != module.text
