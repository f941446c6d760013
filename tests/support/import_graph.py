"""The import graph of a package, in figures: `python tests/support/import_graph.py [FOLDER OF A PACKAGE]`.

Every import counts: at the top of a file, within a function, and for type checkers alone. A room is a module, or a package
as a whole; an arrow leads from a room to one that it imports. A room stands on the lowest floor above all that it imports,
and rooms that import each other in a circle share one. The `__init__` of the package itself, its public face, is no room.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Graph = dict[str, set[str]]
"""By room, the rooms that it imports."""


def modules(folder: Path) -> dict[str, Path]:
    """The modules of a package, by dotted name; a package's `__init__` has the package's name."""
    files = sorted(folder.rglob("*.py"))
    names = {path: ".".join([folder.name, *path.relative_to(folder).with_suffix("").parts]) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imported(tree: ast.AST, known: Iterable[str]) -> set[str]:
    """Which of the known modules a file imports anywhere."""
    known, found = set(known), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & known


def arrows(files: Mapping[str, Path]) -> Graph:
    """Which modules each module imports; the package itself is left out."""
    top = min(files, key=len)
    inner = {name: path for name, path in files.items() if name != top}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in inner.items()}
    return {name: imported(tree, inner) - {name} for name, tree in trees.items()}


def grouped(graph: Graph, room_of: Callable[[str], str]) -> Graph:
    """The graph of larger rooms."""
    found: Graph = {}
    for name, others in graph.items():
        found.setdefault(room_of(name), set()).update({room_of(other) for other in others} - {room_of(name)})
    return found


def room(name: str) -> str:
    """The module or package directly below the top one: `fewshot_bench.data.files.archives` is in `data`."""
    return name.split(".")[1]


def inside(graph: Graph, package: str) -> Graph:
    """The graph of what stands directly in a package."""
    members = {name: others for name, others in graph.items() if name.startswith(f"{package}.")}
    within = {name: {other for other in others if other in members} for name, others in members.items()}
    return grouped(within, lambda name: name.removeprefix(f"{package}.").split(".")[0])


def circles(graph: Graph) -> list[list[str]]:
    """Rooms that import each other, over others or directly (Tarjan, 1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in index:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], index[other])
        if lowest[name] == index[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each room, from 1."""
    together = {name: members[0] for members in circles(graph) for name in members}
    whole = grouped(graph, lambda name: together.get(name, name))
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(floor, whole.get(name, ())), default=0)
        return found[name]

    return {name: floor(together.get(name, name)) for name in graph}


def figures(graph: Graph) -> str:
    """A line: rooms, floors, arrows, circles."""
    count = sum(map(len, graph.values()))
    return f"{len(graph)} rooms, {max(floors(graph).values())} floors, {count} arrows, {len(circles(graph))} circles"


def main() -> None:
    """Print the figures of the modules, of the rooms of the package, and of what stands in each of these."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "fewshot_bench"
    graph = arrows(modules(folder.resolve()))
    rooms = grouped(graph, room)
    print(f"modules: {figures(graph)}\nrooms of {folder.name}: {figures(rooms)}")
    height = floors(rooms)
    for floor in range(1, max(height.values()) + 1):
        print(f"  {floor}: {', '.join(sorted(name for name, at in height.items() if at == floor))}")
    packages = sorted({name.rpartition(".")[0] for name in graph} - {folder.name})
    for package in packages:
        print(f"in {package.partition('.')[2]}: {figures(inside(graph, package))}")


if __name__ == "__main__":
    main()
