"""The hash of a source follows what a class holds, not only what its text says; and nothing that differs by process."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fewshot_bench.source.source_hash import source_sha256

MINE = """
import math
import numpy as np

FEW = {"g": 1.0}
COMPUTED = np.linspace(0, 1, 4) * math.pi
KNOWN = {}
CALLS = 0
SEEN = {"calls": 0}


def made():
    return {"a": [1.0]}


TABLE = made()


class Mine:
    rate = 1.0
    table = {"a": 1.0}
    kinds = frozenset({"a", "b"}) | {"c"}

    class Inner:
        depth = 2

    def run(self, x):
        global CALLS
        CALLS += 1
        SEEN["calls"] += 1
        KNOWN[x] = self.rate
        return x * self.rate * self.table["a"] * FEW["g"] * COMPUTED[0] * TABLE["a"][0] * self.Inner.depth
"""
Modules = Callable[..., Any]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    """Writes modules, by name their texts, and imports the last."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    names: set[str] = set()

    def write(**texts: str) -> Any:
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
            names.add(name)
        importlib.invalidate_caches()
        return importlib.import_module(list(texts)[-1])

    yield write
    for name in names:
        sys.modules.pop(name, None)


SET: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "an attribute": (lambda m: setattr(m.Mine, "rate", -1.0), lambda m: setattr(m.Mine, "rate", 1.0)),
    "a table of a class": (lambda m: m.Mine.table.update(a=-1.0), lambda m: m.Mine.table.update(a=1.0)),
    "a computed set": (lambda m: setattr(m.Mine, "kinds", {"a"}), lambda m: setattr(m.Mine, "kinds", frozenset("abc"))),
    "a class within": (lambda m: setattr(m.Mine.Inner, "depth", 3), lambda m: setattr(m.Mine.Inner, "depth", 2)),
    "a new attribute": (lambda m: setattr(m.Mine, "other", 3), lambda m: delattr(m.Mine, "other")),
    "a table": (lambda m: m.FEW.update(g=-1.0), lambda m: m.FEW.update(g=1.0)),
    "an array": (lambda m: m.COMPUTED.__setitem__(0, 2.0), lambda m: m.COMPUTED.__setitem__(0, 0.0)),
    "what a function made": (lambda m: m.TABLE["a"].append(2.0), lambda m: m.TABLE["a"].pop()),
}


@pytest.mark.parametrize("what", SET)
def test_what_is_set_in_the_process_changes_the_hash(modules: Modules, what: str) -> None:
    """As in a sweep of a notebook; set back, it is the method of before."""
    module = modules(own_live=MINE)
    first = source_sha256(module.Mine)
    change, restore = SET[what]
    change(module)
    second = source_sha256(module.Mine)
    restore(module)
    assert source_sha256(module.Mine) == first != second


def test_what_a_method_keeps_as_it_runs_changes_nothing(modules: Modules) -> None:
    """A cache begins empty, a counter is counted up."""
    module = modules(own_live=MINE)
    first = source_sha256(module.Mine)
    module.Mine().run(2.0)
    assert module.CALLS == module.SEEN["calls"] == len(module.KNOWN) == 1
    assert source_sha256(module.Mine) == first


BODY = "def run(self): return self.k"
FACTORIES = {
    "a plain value": (f"def make(n):\n    class Mine:\n        k = n\n        {BODY}\n    return Mine", "2", "3"),
    "a tuple": (f"def make(n):\n    class Mine:\n        k = (n,)\n        {BODY}\n    return Mine", "2", "3"),
    "a base": (
        f"class A: k = 1\nclass B: k = 2\ndef make(base):\n    class Mine(base):\n        {BODY}\n    return Mine",
        "own_factory.A",
        "own_factory.B",
    ),
    "a default": ("def make(k):\n    class Mine:\n        def run(self, k=k): return k\n    return Mine", "2", "3"),
    "a key default": ("def make(k):\n    class Mine:\n        def run(self, *, k=k): return k\n    return Mine", "2", "3"),
    "type": (f"class Base:\n    {BODY}\ndef make(k): return type('Mine', (Base,), {{'k': k}})", "2", "3"),
    "type with a metaclass": (
        f"import abc\nclass Base(abc.ABC):\n    {BODY}\ndef make(k): return type('Mine', (Base,), {{'k': k}})",
        "2",
        "3",
    ),
    "a class that is changed by who takes it": (
        f"class Mine:\n    k = 1\n    {BODY}\ndef make(k):\n    Mine.k = k\n    return Mine",
        "2",
        "3",
    ),
}


@pytest.mark.parametrize("what", FACTORIES)
def test_a_class_is_told_by_what_another_module_made_it_of(modules: Modules, what: str) -> None:
    """The module that names it is not the one that it says it is of."""
    helper, *given = FACTORIES[what]
    named = "import own_factory\nMine = own_factory.make({})\n"
    hashes = [
        source_sha256(modules(own_factory=f"{helper}\n", own_naming=named.format(one)).Mine) for one in (*given, given[0])
    ]
    assert hashes[0] == hashes[2] != hashes[1]


VARYING = """
import os, random, tempfile, time, uuid
from pathlib import Path
import torch


def now():
    return time.time()


HERE = os.path.dirname(__file__) + "/x"
FILES = [str(Path(__file__).parent / "x"), Path(__file__)]
ME, START, LATER = os.getpid(), time.time(), now()
NAME = str(uuid.uuid4())
DRAWN = [random.random(), float(torch.rand(1))]
PLACE = tempfile.gettempdir() + NAME
OBJECT = [id(object()), repr(object())]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KEYS = list({"a", "b", "c", "d"}) and {"a": {"x", "y", "z"}, "b": frozenset({"u", "v"})}
ORDERED = sorted({"a", "b"})


class Mine:
    begun = time.time()
    keys = {"a", "b", "c"}
    here = os.environ.get("OWN_VARIABLE")

    def run(self):
        return HERE, FILES, ME, START, LATER, NAME, DRAWN, PLACE, OBJECT, DEVICE, KEYS, ORDERED, self.begun
"""


def test_no_value_that_differs_by_process_enters(tmp_path: Path) -> None:
    """Times, chance, paths, addresses, the order of sets."""
    hashes = set()
    for seed in ("1", "2", "3"):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "own_varying.py").write_text(VARYING)
        code = (
            "import own_varying; from fewshot_bench.source.source_hash import source_sha256 as f; print(f(own_varying.Mine))"
        )
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OWN_VARIABLE": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, env=environment
        )
        hashes.add(done.stdout)
    assert len(hashes) == 1
