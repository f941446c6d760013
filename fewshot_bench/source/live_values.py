"""Values that differ from what the text of a class or module says: set in a notebook or by another module, or computed.

A value that the text gives is compared with the text. A computed value counts as it is, unless it may differ from process to
process. A container that starts empty is a cache, and a number that functions count up is a counter. Neither counts.
"""

# ruff: noqa: SIM905 -- lists of words are read more easily so
import ast
import enum
from collections.abc import Mapping, Set
from pathlib import PurePath
from types import FunctionType
from typing import Any

from fewshot_bench.source.distributions import is_own
from fewshot_bench.source.modules import Module, functions_of, imports_of, own_module
from fewshot_bench.source.syntax import chains, counted_names
from fewshot_bench.source.values import PLAIN, children, plain_text

LARGEST = 100_000
"""The most entries of a container. Only the text of a larger one counts."""
VARYING = frozenset(
    """_thread asyncio concurrent contextvars ctypes datetime gc getpass inspect locale logging multiprocessing platform
    psutil random resource secrets shutil signal site socket subprocess sys sysconfig tempfile threading time traceback uuid
    warnings weakref""".split()
)
"""Modules whose answers differ from process to process, or from machine to machine."""
VARYING_WORDS = frozenset(
    """Generator RandomState __version__ backends cpu_count cuda cudnn default_rng device_count dir empty empty_like environ
    get_num_threads getenv globals hash id initial_seed input is_available locals mps now object rand randint randn random
    randperm seed today vars version xpu""".split()
)
PURE = frozenset("decimal fractions itertools math numpy operator pathlib string torch".split())
"""Modules whose functions may be called again to learn what a text gives."""
PURE_WORDS = frozenset(
    """abs astype bool copy cumsum dict double enumerate float format frozenset int items join keys len list long lower max
    min range replace reshape resolve reversed round set sorted split str strip sum tolist tuple union upper values
    with_suffix zip""".split()
)
"""Python's functions, and methods of values, that may be called again too."""
WITH_EFFECTS = ("compile", "from_file", "fromfile", "genfromtxt", "hub", "jit", "load", "manual", "memmap", "save", "set_")
"""How the names of those functions in these modules begin that must not be called again."""


def live_name(module: Module, name: str, live: Any) -> str:
    """The value of a module's name, if the module's text does not give it; else ""."""
    if name in counted_names(module.statements):
        return ""
    return _beyond(module, module.binds[name], name, live, {})


def live_attributes(module: Module, name: str, live: type) -> str:
    """The attributes of a class that its text does not give; else ""."""
    statements = module.binds[name]
    if len(statements) != 1 or not isinstance(statements[0], ast.ClassDef) or issubclass(live, enum.Enum):
        return ""
    return _attributes(module, statements[0], live, counted_names(module.statements))


def plain_value(value: Any) -> str | None:
    """The text of a value that holds only numbers, texts and arrays, without the paths of this machine; None for any
    other."""
    try:
        return _text(value, [LARGEST])
    except (_NotPlain, RecursionError):
        return None


class _NotPlain(Exception):
    pass


def _text(value: Any, left: list[int]) -> str:
    left[0] -= 1
    if left[0] < 0:
        raise _NotPlain
    if isinstance(value, str) and value.startswith(("/", "\\", "~/")):
        return ascii(PurePath(value).name)
    if isinstance(value, PLAIN):
        return plain_text(value)
    if (inner := children(value)) is None:
        raise _NotPlain
    if not isinstance(value, Mapping | Set | list | tuple):  # an array
        return str(inner[0])
    return f"{type(value).__name__}({', '.join(_text(one, left) for one in inner)})"


def _attributes(module: Module, node: ast.ClassDef, live: type, counted: set[str]) -> str:
    found = []
    for name, value in sorted(vars(live).items()):
        said = [one for one in node.body if name in _assigned(one)]
        inner = [one for one in node.body if isinstance(one, ast.ClassDef) and one.name == name]
        if name.startswith("__") or name in counted or any(isinstance(one, FunctionType) for one in functions_of(value)):
            continue
        if isinstance(value, type):
            is_inner = inner and value.__qualname__ == f"{live.__qualname__}.{name}" and not issubclass(value, enum.Enum)
            text = _attributes(module, inner[0], value, counted) if is_inner else ""
        elif said:
            text = _beyond(module, said, name, value, vars(live))
        else:
            text = "" if name.startswith("_") else plain_value(value) or ""  # it was set from elsewhere
        if text:
            found.append((name, text))
    return repr(found) if found else ""


def _beyond(module: Module, statements: list[ast.stmt], name: str, live: Any, around: Mapping[str, Any]) -> str:
    text = plain_value(live)
    if text is None or isinstance(live, PurePath):
        return ""
    said = _given(module, statements, name, around)
    if said is not None:
        is_cache = not isinstance(said[0], PLAIN) and children(said[0]) == []
        return "" if is_cache or plain_value(said[0]) == text else text
    return text if all(is_steady(module, one, set()) for one in statements) else ""


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {one.id for target in targets if target for one in ast.walk(target) if isinstance(one, ast.Name)}


def _given(module: Module, statements: list[ast.stmt], name: str, around: Mapping[str, Any]) -> tuple[Any] | None:
    """The value that statements give a name in a module or a class (`around`: its attributes); None if they would have to be
    run."""
    written = [_of_a_field(one) for one in statements]
    if not written or not all(isinstance(one, ast.Assign | ast.AnnAssign) and one.value for one in written):
        return None
    if not all(_is_pure(module, one.value) and is_steady(module, one.value, set()) for one in written):
        return None
    held = {key: value for key, value in around.items() if not key.startswith("__")}
    try:
        code = compile(ast.fix_missing_locations(ast.Module([_bare(one) for one in written], [])), "<given>", "exec")
        exec(code, dict(vars(module.live)), held)
    except Exception:  # it needs something that no longer exists
        return None
    return (held[name],) if name in held else None


def _of_a_field(one: ast.stmt) -> Any:
    """`name: type = field(default=value)` of a dataclass as `name = value`."""
    if isinstance(one, ast.AnnAssign) and isinstance(one.value, ast.Call) and ast.unparse(one.value.func).endswith("field"):
        given = [each.value for each in one.value.keywords if each.arg == "default"]
        return ast.Assign([one.target], given[0]) if given else one
    return one


def _bare(one: ast.Assign | ast.AnnAssign) -> ast.stmt:
    targets: list[Any] = one.targets if isinstance(one, ast.Assign) else [one.target]
    assert one.value is not None
    return ast.Assign(targets, one.value)


def _is_pure(module: Module, node: ast.expr) -> bool:
    """Whether an expression can be computed again without harm and at little cost."""
    return all(_is_pure_part(module, one) for one in ast.walk(node))


def _is_pure_part(module: Module, node: ast.AST) -> bool:
    if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
        return False
    if not isinstance(node, ast.Call):
        return True
    if isinstance(node.func, ast.Attribute) and node.func.attr in PURE_WORDS:
        return True
    for name, chain in chains(node.func):
        sources = module.imported.get(name, ())
        words = [*chain, *(attribute for _, attribute in sources if attribute)]
        if any(word.startswith(WITH_EFFECTS) for word in words):
            return False
        if any(where.partition(".")[0] not in PURE for where, _ in sources) or name in module.binds:
            return False
        if not sources and name not in PURE_WORDS:
            return False
    return True


def is_steady(module: Module, node: ast.AST, seen: set[tuple[str, str]]) -> bool:
    """Whether what a statement computes is the same in every process: it asks for no time, chance, place or machine."""
    local = imports_of(node, module.package)
    for name, chain in chains(node):
        for where, attribute in (*local.get(name, ()), *module.imported.get(name, ())):
            dotted = [*where.split("."), *([attribute] if attribute else []), *chain]
            if dotted[0] in VARYING or (dotted[0] == "os" and "path" not in dotted):
                return False
            if VARYING_WORDS & set(dotted[1:]):
                return False
            inner = own_module(where) if is_own(where) else None
            if inner is not None and not all(_is_steady_name(inner, one, seen) for one in dotted if one in inner.binds):
                return False
        if VARYING_WORDS & {name, *chain} or not _is_steady_name(module, name, seen):
            return False
    return True


def _is_steady_name(module: Module, name: str, seen: set[tuple[str, str]]) -> bool:
    if (module.name, name) in seen or name not in module.binds:
        return True
    seen.add((module.name, name))
    return all(is_steady(module, one, seen) for one in module.binds[name])
