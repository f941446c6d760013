"""The core is a house of packages: each room imports from the floors below it alone, and no imports go in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import Graph, arrows, circles, floors, grouped, imported, inside, modules, room

ROOT = Path(__file__).parents[1]
CORE = ROOT / "fewshot_bench"
PACKAGES = [CORE, *(ROOT / name / f"fewshot_{name}" for name in ("methods", "datasets", "leaderboard"))]
FLOORS = (
    ("text", "source", "cache", "engine", "fence", "hashing", "memory", "metrics"),
    ("errors", "table"),
    ("inputs", "storage", "threads"),
    ("specs", "backbone_section"),
    ("plugins", "identity"),
    ("recipes", "kernels"),
    ("arguments",),
    ("request",),
    ("data",),
    ("episodes",),
    ("learning", "results"),
    ("runs",),
    ("audit", "bench", "sweeps"),
    ("testing",),
    ("cli",),
)
"""The rooms of the core from the lowest floor up: a room may import those of the floors below its own."""
FLOOR = {name: at for at, names in enumerate(FLOORS) for name in names}
GRAPH = arrows(modules(CORE))
INITS = sorted(path for package in PACKAGES for path in package.rglob("__init__.py"))
FACES = {CORE / "__init__.py", CORE / "kernels" / "__init__.py", CORE / "cli" / "__init__.py"}
"""Packages whose `__init__` is more than a docstring: public names, the choice of kernels, an exit code."""


def climbs(graph: Graph) -> list[str]:
    """Arrows of modules that lead to another room of the same floor, or of a higher one."""
    pairs = [(name, other) for name, others in graph.items() for other in others]
    return sorted(f"{a} imports {b}" for a, b in pairs if room(a) != room(b) and FLOOR[room(a)] <= FLOOR[room(b)])


def test_every_room_of_the_core_has_its_floor() -> None:
    """A new module beside the packages, or a new package, is given a floor here."""
    assert {room(name) for name in GRAPH} - FLOOR.keys() == set()


def test_imports_lead_to_lower_floors_alone() -> None:
    """Also those within a function and those for type checkers."""
    assert climbs(GRAPH) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_imports_go_in_a_circle(package: Path) -> None:
    """Neither those of modules nor those of packages as wholes, at any depth."""
    graph = arrows(modules(package))
    within = {name.rpartition(".")[0] for name in graph}
    assert circles(graph) == []
    assert [circle for one in sorted(within) for circle in circles(inside(graph, one))] == []


def test_the_folders_of_data_sets_import_none_but_sources() -> None:
    """Each stands alone: what several of them need is in `sources`, which imports none of them."""
    folder = PACKAGES[2]
    rooms = grouped(arrows(modules(folder)), room)
    assert {name: others - {"sources"} for name, others in rooms.items() if others - {"sources"}} == {}
    assert rooms["sources"] == set()


def test_the_core_does_not_import_its_own_face() -> None:
    """The public names are for plugins and notebooks; a module of the core that used them would import itself."""
    public = ast.literal_eval(
        next(
            one.value
            for one in ast.parse((CORE / "__init__.py").read_text(encoding="utf-8")).body
            if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
        )
    )
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in CORE.rglob("*.py")}
    found = [
        f"{path.relative_to(ROOT)}: {alias.name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "fewshot_bench"
        for alias in node.names
        if alias.name in public
    ]
    assert found == []


def test_an_init_says_what_lives_there_and_does_nothing() -> None:
    """One paragraph, no code: importing a module of a package costs nothing for the package."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in INITS}
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []
    plain = {path: tree for path, tree in trees.items() if path not in FACES}
    assert [path for path, tree in plain.items() if len(tree.body) > 1 or "\n\n" in (ast.get_docstring(tree) or "")] == []


def test_a_climb_is_seen() -> None:
    """The check of floors fails for an arrow up and for one to a neighbour."""
    assert climbs({"fewshot_bench.data.a": {"fewshot_bench.runs.b"}}) == [
        "fewshot_bench.data.a imports fewshot_bench.runs.b"
    ]
    assert len(climbs({"fewshot_bench.results.a": {"fewshot_bench.learning.b"}})) == 1
    assert climbs({"fewshot_bench.runs.plan": {"fewshot_bench.data.bank", "fewshot_bench.runs.session"}}) == []


@pytest.mark.parametrize(
    "code",
    [
        "import a.b",
        "from a import b",
        "from a.b import c",
        "def f():\n    from a.b import c",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.b import c",
    ],
)
def test_every_import_counts(code: str) -> None:
    """Wherever it stands."""
    assert imported(ast.parse(code), ["a", "a.b"]) == {"a.b"}


def test_a_circle_is_seen_and_shares_a_floor() -> None:
    """Of two rooms, and of three around a corner; a room above stands above all of it."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}, "f": {"g"}, "g": {"f"}}
    assert circles(graph) == [["a", "b", "c"], ["f", "g"]]
    assert floors(graph) == {"a": 2, "b": 2, "c": 2, "d": 1, "e": 3, "f": 1, "g": 1}
    assert circles({"a": {"b"}, "b": set()}) == []


def test_the_script_prints_the_figures() -> None:
    """Rooms, floors, arrows and circles, of the whole and of each package."""
    script = Path(__file__).parent / "support" / "import_graph.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert f"rooms of fewshot_bench: {len(grouped(GRAPH, room))} rooms" in done.stdout
    assert "0 circles" in done.stdout
