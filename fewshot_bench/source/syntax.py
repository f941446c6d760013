"""What a statement of Python computes, as a text that is the same under every version of Python, and the names in it."""

import ast
import symtable
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

_WORDLESS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of a syntax tree that do not affect what is computed."""

Chain = tuple[str, tuple[str, ...]]
"""A name and the attributes that are taken from it: `F.relu` is ("F", ("relu",))."""

LOOKUPS = frozenset(
    ("eval", "exec", "globals", "locals", "getmodule", "__import__", "import_module", "__subclasses__", "__globals__")
)
"""Functions that find code by a computed name."""


def canonical(node: Any) -> str:
    """The code of a syntax tree, without imports, comments, docstrings and places."""
    if isinstance(node, ast.Constant):
        return f"Constant({node.value!a})"
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({canonical(list(_joined(node.values)))})"
    if isinstance(node, ast.AST):
        fields = ((name, canonical(value)) for name, value in ast.iter_fields(node) if name not in _WORDLESS)
        return f"{type(node).__name__}({','.join(sorted(f'{name}={text}' for name, text in fields if text))})"
    if isinstance(node, list):
        texts = [canonical(one) or "None" for one in node if not is_wordless(one)]
        return f"[{','.join(texts)}]" if texts else ""
    return "" if node is None else ascii(node)


def is_wordless(node: Any) -> bool:
    """Whether a statement computes nothing: an import, a docstring, `pass`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Pass)


def _joined(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """The parts of an f-string. Versions of Python cut its text differently."""
    text = ""
    for value in values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        if text:
            yield ast.Constant(text)
        text = ""
        yield value
    if text:
        yield ast.Constant(text)


def chains(node: ast.AST) -> set[Chain]:
    """Every name that occurs in a statement, with the attributes that are taken from it, those in quoted annotations too."""
    found: set[Chain] = set()
    _collect(node, found)
    return found


def _collect(node: ast.AST, found: set[Chain]) -> None:
    attributes: list[str] = []
    at: ast.AST = node
    while isinstance(at, ast.Attribute):
        attributes.insert(0, at.attr)
        at = at.value
    if isinstance(at, ast.Name):
        found.add((at.id, tuple(attributes)))
        return
    if at is not node:
        found.update((name, ()) for name in attributes if name in LOOKUPS)
        _collect(at, found)
        return
    if isinstance(node, ast.Call) and called_import(node):
        return
    if isinstance(node, ast.arg | ast.AnnAssign) and isinstance(node.annotation, ast.Constant):
        _collect_quoted(node.annotation.value, found)
    for child in ast.iter_child_nodes(node):
        _collect(child, found)


def called_import(node: ast.AST) -> str | None:
    """The module that `import_module("name")` or `__import__("name")` imports; None for anything else."""
    if not isinstance(node, ast.Call) or len(node.args) + len(node.keywords) != 1 or not node.args:
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = node.args[0]
    known = name in ("import_module", "__import__") and isinstance(given, ast.Constant) and isinstance(given.value, str)
    return str(given.value) if known and isinstance(given, ast.Constant) else None


def _collect_quoted(text: Any, found: set[Chain]) -> None:
    with suppress(SyntaxError, TypeError, ValueError):  # some other text, or no text
        _collect(ast.parse(text, mode="eval"), found)


def outer_names(node: ast.stmt, used: set[Chain]) -> set[str]:
    """The names of `used` that a top-level statement takes from its module or binds there, not those of its own scopes."""
    every = {name for name, _ in used}
    try:
        found = _outer(symtable.symtable(ast.unparse(node), "<statement>", "exec"))
    except (SyntaxError, ValueError, RecursionError):  # such as a notebook's `await`
        return every
    quoted = every - _all_symbols(node)
    return (found & every) | quoted


def _outer(table: symtable.SymbolTable) -> set[str]:
    kind = str(table.get_type()).rpartition(".")[2].lower()  # an enumeration from Python 3.13 on
    names = set()
    for symbol in table.get_symbols():
        if kind == "module" or symbol.is_global() or (kind != "function" and symbol.is_referenced()):
            names.add(symbol.get_name())
    return names.union(*map(_outer, table.get_children()))


def _all_symbols(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def bound_names(node: ast.stmt) -> set[str]:
    """The names that a top-level statement binds in its module, imports apart."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    names = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(one.name)
            continue
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store | ast.Del):
            names.add(one.id)
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            names.add(one.name)
        waiting += ast.iter_child_nodes(one)
    return names


def imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.Import | ast.ImportFrom, ast.alias]]:
    """Every import in syntax trees, one name at a time."""
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Import | ast.ImportFrom):
                yield from ((one, alias) for alias in one.names)


def counted_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names and attributes that functions count up, or change in place by an operator."""
    found = set()
    for node in nodes:
        for function in ast.walk(node):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = list(ast.walk(function))
                outer = {name for one in inner if isinstance(one, ast.Global) for name in one.names}
                targets = [one.target for one in inner if isinstance(one, ast.AugAssign)]
                found |= {_base(one) for one in targets if not isinstance(one, ast.Name) or one.id in outer} - {""}
    return found


def _base(target: ast.expr) -> str:
    """The name that is changed, or the attribute of any object; "" for an attribute of `self`."""
    if isinstance(target, ast.Subscript):
        return _base(target.value) or (target.value.attr if isinstance(target.value, ast.Attribute) else "")
    if isinstance(target, ast.Attribute):
        return "" if isinstance(target.value, ast.Name) and target.value.id == "self" else target.attr
    return target.id if isinstance(target, ast.Name) else ""
