"""Built-in methods are written as the README tells a plugin author: from the public names of `fewshot_bench` alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fewshot_bench

METHODS = Path(__file__).parents[2] / "methods" / "fewshot_methods"
INTERNAL = {
    "backbones/conv4_maps.py": {
        "fewshot_bench.kernels",
        "fewshot_bench.learning.layers.is_narrow",
        "fewshot_bench.learning.precision.operand",
    },
}
"""By file, what it takes from within the core for speed, which no plugin author needs to know."""


def taken(tree: ast.AST) -> Iterator[str]:
    """What a file imports of the core beside its public names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("fewshot_bench."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fewshot_bench":
            public = fewshot_bench.__all__ if node.module == "fewshot_bench" else []
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public)


def test_built_in_methods_import_public_names_alone() -> None:
    """But for the few that are listed here, each of which is used."""
    files = {path.relative_to(METHODS).as_posix(): path for path in METHODS.rglob("*.py")}
    found = {name: set(taken(ast.parse(path.read_text(encoding="utf-8")))) for name, path in files.items()}
    assert {name: names for name, names in found.items() if names} == INTERNAL


@pytest.mark.parametrize(
    "code",
    [
        "from fewshot_bench.learning.base import Method",
        "import fewshot_bench.learning.base",
        "from fewshot_bench import kernels",
        "def f():\n    from fewshot_bench.errors import UsageError",
    ],
)
def test_an_import_from_within_the_core_is_seen(code: str) -> None:
    """The check fails on each way to reach it."""
    assert list(taken(ast.parse(code))) != []


def test_public_names_pass() -> None:
    """And whatever is not of the core."""
    code = "import torch\nfrom fewshot_bench import Method, Tasks\nfrom fewshot_methods.maml import Maml"
    assert list(taken(ast.parse(code))) == []
