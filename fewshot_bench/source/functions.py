"""Functions that no module's text gives: those of a notebook's cell, or of a file that changed since it was imported."""

import ast
import linecache
import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from fewshot_bench.source.modules import file_of, functions_of


def written_functions(one: Any) -> list[FunctionType]:
    """A function, or the functions of a class that somebody wrote, without those that `dataclass` and `namedtuple`
    generate."""
    generates = hasattr(one, "__dataclass_fields__") or hasattr(one, "_fields")
    return [each for each in functions_of(one) if not (generates and each.__code__.co_filename == "<string>")]


def is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # empty
        return False


def cell_statement(function: FunctionType) -> ast.AST | None:
    """The statement that defined a function in a notebook's cell; None where there is no such text."""
    code = function.__code__
    if Path(code.co_filename).is_file() and Path(code.co_filename) == file_of(sys.modules.get(function.__module__, ast)):
        return None  # a module's file, which may have been edited: the function's own code is hashed
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            lines = {node.lineno, *(one.lineno for one in node.decorator_list)}
            if code.co_firstlineno in lines:
                return node
    return None


def code_text(code: CodeType) -> str:
    """A function as Python compiled it. Another version of Python compiles it differently."""
    consts = [code_text(one) if isinstance(one, CodeType) else _const_text(one) for one in code.co_consts]
    return repr([sys.version_info[:2], code.co_code, consts, code.co_names, code.co_varnames])


def _const_text(const: Any) -> str:
    """A constant of a function. Python keeps `{"a", "b"}` as a set, whose order differs from process to process."""
    if isinstance(const, tuple | frozenset):
        texts = map(_const_text, const)
        return f"{type(const).__name__}{list(texts) if isinstance(const, tuple) else sorted(texts)}"
    return repr(const)


def names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(names_in(one) for one in code.co_consts if isinstance(one, CodeType)))
