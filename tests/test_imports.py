"""Dependencies point one way, random numbers have one source, and the four packages are laid out as they must be."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = "fewshot_bench"
PACKAGES = {
    CORE: ROOT / CORE,
    "fewshot_methods": ROOT / "methods" / "fewshot_methods",
    "fewshot_datasets": ROOT / "datasets" / "fewshot_datasets",
    "fewshot_leaderboard": ROOT / "leaderboard" / "fewshot_leaderboard",
}
FILES = [(package, path) for package, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]

PEER = "learn2learn"
STREAMS = {"Generator", "Philox", "SeedSequence", "BitGenerator"}  # of numpy.random: state of its own
SEEDERS = {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all", "random"}
NAME_OF_A_MODULE = re.compile(r"[a-z_]\w*(\.\w+)*(:\w+)?")


def found(wrong: Callable[[str, Path], list[str]]) -> dict[str, list[str]]:
    """What `wrong` finds in each file of the four packages, where it finds anything."""
    each = {str(path.relative_to(ROOT)): wrong(package, path) for package, path in FILES}
    return {path: names for path, names in each.items() if names}


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a file imports: `from a import b` gives `a.b`, `from .a import b` gives `.a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def named(tree: ast.Module) -> Iterator[str]:
    """Texts that could name a module, as for `importlib.import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME_OF_A_MODULE.fullmatch(node.value):
            yield node.value


def forbidden(package: str, tree: ast.Module) -> list[str]:
    """What a file of `package` imports, or names, from a package of this project that it must not know."""
    others = set(PACKAGES) - {package, CORE}
    reached = [*imported(tree), *named(tree)]
    return [name for name in reached if re.split(r"[.:]", name)[0] in others]


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def global_randomness(tree: ast.Module) -> list[str]:
    """Uses of Python's, numpy's or torch's global random state."""
    used = [name for name in imported(tree) if name == "random" or name.startswith("random.")]
    chains = [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    for name in [*chains, *imported(tree)]:
        parts = name.split(".")
        if parts[0] in ("np", "numpy") and parts[1:2] == ["random"] and parts[2:] and parts[2] not in STREAMS:
            used.append(name)
        if parts[0] == "torch" and parts[1:] and parts[-1] in SEEDERS:
            used.append(name)
    return used


def test_a_package_imports_only_itself_and_the_core() -> None:
    """fewshot_bench reaches the other three through entry points alone; they know it, and never each other."""
    assert found(lambda package, path: forbidden(package, parse(path))) == {}


def test_no_relative_import_climbs_out_of_its_package() -> None:
    """`from ...x import y` stays inside the import package."""

    def climbs(package: str, path: Path) -> list[str]:
        depth = len(path.relative_to(PACKAGES[package]).parts)
        return [name for name in imported(parse(path)) if len(name) - len(name.lstrip(".")) > depth]

    assert found(climbs) == {}


def test_only_the_optional_peer_methods_and_its_benchmark_import_learn2learn() -> None:
    """learn2learn is imported by the `l2l…` methods and by its side of `fsbench bench`, which need it, and by nothing
    else that ships; `peer_process.py` names it, to see whether it is installed."""

    def peers(package: str, path: Path) -> list[str]:
        method = package == "fewshot_methods" and path.name.startswith("l2l")
        if method or path in (PACKAGES[CORE] / "bench" / name for name in ("peer.py", "peer_process.py")):
            return []
        return [name for name in [*imported(parse(path)), *named(parse(path))] if name.split(".")[0] == PEER]

    assert found(peers) == {}


def test_no_number_depends_on_a_global_random_state() -> None:
    """Only randomness.py touches torch's generator, and own_generators.py seeds those of methods. Python's and numpy's
    global ones are never used."""
    allowed = [PACKAGES[CORE] / "episodes" / name for name in ("randomness.py", "own_generators.py")]
    assert found(lambda package, path: [] if path in allowed else global_randomness(parse(path))) == {}
    assert all(global_randomness(parse(path)) for path in allowed)


@pytest.mark.parametrize(
    "code",
    [
        "import fewshot_methods",
        "from fewshot_methods.maml import Maml",
        "def f():\n    import fewshot_datasets.glyphs.glyphs as g",
        "importlib.import_module('fewshot_methods.maml')",
        "__import__('fewshot_leaderboard')",
        "reference = 'fewshot_methods.maml:Maml'",
    ],
)
def test_every_way_to_reach_a_package_is_seen(code: str) -> None:
    """The check of the direction fails on each way to break it."""
    assert forbidden(CORE, ast.parse(code)) != []


def test_the_core_and_ones_own_package_may_be_imported() -> None:
    """The check of the direction lets pass what is allowed, and prose that mentions a package."""
    code = "'''Not fewshot_datasets.'''\nimport fewshot_bench.specs\nfrom fewshot_methods.maml import Maml\nfrom . import x"
    assert forbidden("fewshot_methods", ast.parse(code)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import random",
        "from random import shuffle",
        "import numpy as np\nnp.random.seed(0)",
        "import numpy as np\nnp.random.default_rng()",
        "x = numpy.random.permutation(3)",
        "from numpy.random import rand",
        "torch.manual_seed(0)",
        "torch.cuda.manual_seed_all(0)",
        "from torch import manual_seed",
        "torch.random.fork_rng()",
    ],
)
def test_every_use_of_a_global_random_state_is_seen(code: str) -> None:
    """The check of randomness fails on each global state."""
    assert global_randomness(ast.parse(code)) != []


@pytest.mark.parametrize("code", ["np.random.Philox(1).random_raw(3)", "torch.Generator().manual_seed(0)", "dice.seed"])
def test_a_stream_of_ones_own_is_no_global_random_state(code: str) -> None:
    """The check of randomness lets pass what has a state of its own."""
    assert global_randomness(ast.parse(code)) == []


@pytest.mark.parametrize("folder", ["methods", "datasets", "leaderboard"])
def test_an_outer_folder_is_no_package(folder: str) -> None:
    """`methods/`, `datasets/` and `leaderboard/` would shadow other people's packages if they could be imported."""
    assert (ROOT / folder).is_dir()
    assert list((ROOT / folder).glob("*.py")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    """Each of the four import packages has a `py.typed`."""
    assert (PACKAGES[package] / "__init__.py").is_file()
    assert (PACKAGES[package] / "py.typed").is_file()
