"""What classes, functions and other objects hold as they live in memory, for the hash of a source."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from fewshot_bench.source.modules import Module, file_of, functions_of, unwrapped
from fewshot_bench.source.values import PLAIN, children


def is_held(below: Any, live: ModuleType | None, root: str) -> bool:
    """Whether a module holds a class or function under its name; one made by a call is not held itself."""
    if "<locals>" in below.__qualname__ or "<lambda>" in below.__qualname__:
        return True
    found: Any = live
    for part in below.__qualname__.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    found = unwrapped(found)
    if isinstance(below, FunctionType):
        return any(below is one for one in functions_of(found)) or not isinstance(found, FunctionType)
    return found is below or not isinstance(found, type)


def code_in(value: Any, depth: int = 0) -> Iterator[Any]:
    """Classes and functions that an object at module level holds."""
    below = unwrapped(value)
    if isinstance(below, type | FunctionType):
        yield below
    elif isinstance(value, partial):
        yield from code_in([value.func, *value.args, *value.keywords.values()], depth)
    elif isinstance(value, MethodType):
        yield value.__func__
    elif depth < 4 and not isinstance(value, PLAIN) and not isinstance(value, ModuleType):
        yield type(value)
        inner = children(value)
        for one in list(getattr(value, "__dict__", {}).values()) if inner is None else inner:
            yield from code_in(one, depth + 1)


def beside(module: Module) -> list[Path]:
    """The files of the package that a module is in, or those beside it."""
    file = file_of(module.live)
    if file is None:
        return []
    depth = module.package.count(".")
    pattern = "**/*.py" if module.package else "*.py"
    return sorted((file.parents[depth] if module.package else file.parent).glob(pattern))
