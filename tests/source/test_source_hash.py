"""The hash of a method's source changes with what it computes, and with nothing else."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fewshot_bench.errors import FewshotError
from fewshot_bench.plugins import registry
from fewshot_bench.source.source_hash import source_of, source_sha256

METHOD = """
'''What the module does.'''

import math  # for pi
from own_helper import factor, SHIFT
import own_package.inner as deep
from own_package import shared as taken

RATE = 0.1
'''A number.'''


class Base:
    '''A base.'''

    def __init__(self, shape: object = None) -> None:
        self.shape = shape

    def start(self, x: float) -> float:
        return x


class Mine(Base):
    '''Of a circle,

    in square units.
    '''

    def run(self, radius: float) -> float:
        # No comment.
        text = "# not a comment"
        return math.pi * radius**2 * factor(radius) + SHIFT + RATE + deep.level() + taken() if f"{text}!" else 0.0  # always


def beside() -> int:
    '''Not reached.'''
    return 1
"""
HELPER = """
from own_far import STEEP as HOW_STEEP

SHIFT = 1.0


def factor(x):
    return x * HOW_STEEP


def unused(x):
    return x
"""
FILES = {
    "own_method.py": METHOD,
    "own_helper.py": HELPER,
    "own_far.py": "STEEP = 3\nFLAT = 1\n",
    "own_package/__init__.py": "from own_package.inner import shared\n",
    "own_package/inner.py": "def level():\n    return 2\n\n\ndef shared():\n    return 4\n\n\ndef other():\n    return 5\n",
}
Write = Callable[..., str]


def forget(folder: Path) -> None:
    """Let Python import the files of a folder anew."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files, with one text put in another's place, and returns the hash of `own_method:Mine` in them."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)

    def write(file: str = "", old: str = "", new: str = "", files: dict[str, str] = FILES) -> str:
        for name, text in files.items():
            assert name != file or old in text
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text.replace(old, new) if name == file else text)
        forget(tmp_path)
        return source_sha256(importlib.import_module("own_method").Mine)

    yield write
    forget(tmp_path)


WORDS = [
    ("own_method.py", "What the module does.", "Another sentence."),
    ("own_method.py", "# for pi", ""),
    ("own_method.py", "'''A number.'''\n", ""),
    ("own_method.py", "        # No comment.\n", "\n\n"),
    ("own_method.py", "in square units.", "in square units.\n\n    Raises nothing."),
    ("own_method.py", "return 1", "return 2"),
    ("own_method.py", "import math", "import os\nimport math"),
    ("own_helper.py", "return x\n", "return -x\n"),
    ("own_far.py", "FLAT = 1", "FLAT = 2"),
    ("own_package/inner.py", "return 5", "return 6"),
]
CODE = [
    ("own_method.py", "0.1", "0.2"),
    ("own_method.py", "# not a comment", "# another text"),
    ("own_method.py", "radius**2", "radius"),
    ("own_method.py", "{text}!", "{text}?"),
    ("own_method.py", "import math", "import cmath as math"),
    ("own_method.py", "        return x", "        return -x"),
    ("own_method.py", "import factor, SHIFT", "import factor, factor as SHIFT"),
    ("own_helper.py", "SHIFT = 1.0", "SHIFT = 2.0"),
    ("own_helper.py", "x * HOW_STEEP", "x / HOW_STEEP"),
    ("own_helper.py", "import STEEP", "import FLAT"),
    ("own_far.py", "STEEP = 3", "STEEP = 4"),
    ("own_far.py", "STEEP = 3\n", "STEEP = 3\nSTEEP += 1\n"),
    ("own_package/inner.py", "return 2", "return 3"),
    ("own_package/inner.py", "return 4", "return 5"),
]


@pytest.mark.parametrize(("file", "old", "new"), WORDS)
def test_words_and_what_is_not_reached_change_nothing(hashed: Write, file: str, old: str, new: str) -> None:
    """Comments, docstrings, blank lines, unused imports, functions and constants that nothing calls."""
    assert hashed(file, old, new) == hashed()


@pytest.mark.parametrize(("file", "old", "new"), CODE)
def test_code_that_is_reached_changes_the_hash(hashed: Write, file: str, old: str, new: str) -> None:
    """In the method's file, in a helper, in a helper's helper, in a package; what a name is imported from, too."""
    assert hashed(file, old, new) != hashed()


def test_code_that_moves_to_another_module_keeps_the_hash(hashed: Write) -> None:
    """Whether a module, a function or a constant moves."""
    method = METHOD.replace("own_helper", "own_other").replace("own_package.inner", "own_deep")
    moved = {
        "own_method.py": method.replace("from own_package", "from own_deep"),
        "own_other.py": HELPER.replace("own_far", "own_further"),
        "own_further.py": FILES["own_far.py"],
        "own_deep.py": FILES["own_package/inner.py"],
    }
    assert hashed(files=moved) == hashed()


def test_two_functions_of_one_name_that_change_places_change_the_hash(hashed: Write) -> None:
    """Which name stands for which code is part of it, not the set of all code alone."""
    method = "import own_a, own_b\nclass Mine:\n    def run(self, x):\n        return own_a.scale(x) - own_b.scale(x)\n"
    two, three = "def scale(x):\n    return 2 * x\n", "def scale(x):\n    return 3 * x\n"
    first = hashed(files={"own_method.py": method, "own_a.py": two, "own_b.py": three})
    assert hashed(files={"own_method.py": method, "own_a.py": three, "own_b.py": two}) != first


REACHED = {
    "a computed name": (
        "import own_a\ndef f(x):\n    return getattr(own_a, 'sca' + 'le')(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a star": ("from own_a import *\ndef f(x):\n    return scale(x)\n", "def scale(x):\n    return {}\n"),
    "an import within a function": (
        "def f(x):\n    from own_a import scale\n    return scale(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a module imported by its name": (
        "from importlib import import_module\ndef f(x):\n    return import_module('own_a').scale(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a name that is put together": (
        "from importlib import import_module\ndef f(x):\n    return import_module('own' + '_a').scale(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a decorator": (
        "from own_a import twice\n@twice\ndef f(x):\n    return x\n",
        "def twice(g):\n    return lambda x: {} * g(x)\n",
    ),
    "a registry": (
        "import own_c\nfrom own_a import ALL\ndef f(x):\n    return ALL['scale'](x)\n",
        "ALL = {{}}\ndef known(g):\n    ALL[g.__name__] = g\n    return g\n@known\ndef scale(x):\n    return {}\n",
    ),
    "a table set from elsewhere": (
        "import own_a\nfrom own_c import TABLE\ndef f(x):\n    return TABLE[0](x)\n",
        "from own_c import TABLE\ndef scale(x):\n    return {}\nTABLE.append(scale)\n",
    ),
    "a function that an import replaces": (
        "import own_a\nfrom own_c import scale\ndef f(x):\n    return scale(x)\n",
        "import own_c\ndef mine(x):\n    return {}\nown_c.scale = mine\n",
    ),
    "subclasses": (
        "import own_a\nfrom own_c import Base\ndef f(x):\n    return Base.__subclasses__()[0]().scale(x)\n",
        "from own_c import Base\nclass One(Base):\n    def scale(self, x):\n        return {}\n",
    ),
    "a default": ("from own_a import scale\ndef f(x, g=scale):\n    return g(x)\n", "def scale(x):\n    return {}\n"),
    "a constant that is computed": (
        "from own_a import TABLE\ndef f(x):\n    return TABLE[0]\n",
        "def make():\n    return [{}]\nTABLE = make()\n",
    ),
    "one of two imports": (
        "try:\n    from nowhere_at_all import scale\n"
        "except ImportError:\n    from own_a import scale\ndef f(x):\n    return scale(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a comprehension beside a name of its own": (
        "from own_a import scale\ndef f(x):\n    return [scale for scale in [1]] and scale(x)\n",
        "def scale(x):\n    return {}\n",
    ),
    "a partial function": (
        "from functools import partial\nfrom own_a import scale\ng = partial(scale)\ndef f(x):\n    return g(x)\n",
        "def scale(x):\n    return {}\n",
    ),
}


@pytest.mark.parametrize("how", REACHED)
def test_code_is_reached_through(hashed: Write, how: str) -> None:
    """However a method comes to its helper, an edit of the helper changes the hash."""
    taken, helper = REACHED[how]
    spare = "TABLE = []\nclass Base: ...\ndef scale(x):\n    return 0\n"
    files = {"own_method.py": f"{taken}\nclass Mine:\n    def run(self, x):\n        return f(x)\n", "own_c.py": spare}
    first = hashed(files=files | {"own_a.py": helper.format(2)})
    assert hashed(files=files | {"own_a.py": helper.format(3)}) != first


@pytest.mark.parametrize(
    "taken", ["import {0} as m", "from own_folder import deep as m", "import {0}\nm = {0}", "import {0}"]
)
def test_a_folder_without_an_init_is_a_package(hashed: Write, taken: str) -> None:
    """As a folder of helpers beside a notebook."""
    used = "own_folder.deep" if taken == "import {0}" else "m"
    method = f"{taken.format('own_folder.deep')}\nclass Mine:\n    def run(self, x):\n        return {used}.scale(x)\n"
    files = {"own_method.py": method, "own_folder/deep.py": "def scale(x):\n    return 2\ndef other(x):\n    return 5\n"}
    first = hashed(files=files)
    assert hashed("own_folder/deep.py", "return 2", "return 3", files) != first
    assert hashed("own_folder/deep.py", "return 5", "return 6", files) == first or taken.endswith("m = {0}")


def test_a_value_that_was_set_in_the_process_changes_the_hash(hashed: Write) -> None:
    """A constant or a function of a module that a notebook replaced is what runs."""
    first = hashed()
    helper: Any = importlib.import_module("own_helper")
    mine = importlib.import_module("own_method").Mine
    assert source_sha256(mine) == first
    helper.SHIFT = 2.0
    second = source_sha256(mine)
    mine.start = lambda self, x: -x
    assert len({first, second, source_sha256(mine)}) == 3


def test_a_class_made_by_a_function_is_told_from_its_sisters(hashed: Write) -> None:
    """By what the function was called with."""
    made = "def make(n):\n    class One:\n        def run(self):\n            return n\n    return One\n"
    hashed(files={"own_method.py": f"{made}Mine = make(2)\nOther = make(3)\nSame = make(2)\n"})
    module: Any = importlib.import_module("own_method")
    mine, other, same = map(source_sha256, (module.Mine, module.Other, module.Same))
    assert mine != other
    assert mine == same


def test_the_settings_of_a_partial_function_are_part_of_it() -> None:
    """As those of `conv4-64`."""
    (class_,) = {registry.find("backbones", name).load().func for name in ("conv4-64", "conv4-32")}
    assert len({source_sha256(partial(class_, filters=filters)) for filters in (32, 64, 64.0)}) == 3


@pytest.mark.parametrize("name", registry.registered("methods"))
def test_every_method_has_a_hash_that_stays(name: str) -> None:
    """Asked twice; and what it uses of others is named by version."""
    try:
        method = registry.find("methods", name).load()
    except FewshotError as error:
        pytest.skip(str(error))
    first = source_of(method)
    assert source_of(method) == first
    assert "torch" not in first.packages  # the record's versions name it
    others = first.packages.keys() - {"pydantic"}  # the types of hyper-parameters
    assert not name.startswith("l2l") or others == {"learn2learn"}


def test_edited_neighbours_rename_those_that_take_from_them() -> None:
    """`prototypes` of one method is used by two others."""
    import ast

    from fewshot_bench.source.modules import own_module

    names = ("nearest-centroid", "simpleshot", "r2d2")
    before = [source_sha256(registry.find("methods", name).load()) for name in names]
    module = own_module("fewshot_methods.prototypical_networks")
    assert module is not None
    kept = module.binds["prototypes"]
    try:
        module.binds["prototypes"] = ast.parse("def prototypes(x): return x").body
        after = [source_sha256(registry.find("methods", name).load()) for name in names]
    finally:
        module.binds["prototypes"] = kept
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_a_class_edited_and_loaded_again_is_the_new_one(hashed: Write, tmp_path: Path) -> None:
    """`module:Class` in one process; an edit of its helper counts, too, however fast and of whatever length."""
    hashed()
    plugin = registry.Plugin("mine", "backbones", "own_method:Mine", "module own_method")
    seen = []
    for number in (3, 4, 5):
        (tmp_path / "own_far.py").write_text(f"STEEP = {number}\n")
        loaded = plugin.load()
        seen.append((loaded().run(1.0), source_sha256(loaded)))
    assert len(set(seen)) == 3
    assert plugin.load() is plugin.load()  # nothing was edited


def test_a_class_that_is_older_than_its_file_is_not_hashed_as_its_file(hashed: Write, tmp_path: Path) -> None:
    """What was imported counts, whether its hash was asked before the edit or not."""
    new = hashed("own_method.py", "radius**2", "radius")
    first = hashed()
    asked = importlib.import_module("own_method").Mine
    (tmp_path / "own_method.py").write_text(METHOD.replace("radius**2", "radius"))
    assert source_sha256(asked) == first
    (tmp_path / "own_method.py").write_text(METHOD)
    forget(tmp_path)
    never_asked = importlib.import_module("own_method").Mine
    (tmp_path / "own_method.py").write_text(METHOD.replace("radius**2", "radius"))
    assert source_sha256(never_asked) != new


def test_a_class_of_a_notebook_is_hashed_by_its_cell(tmp_path: Path) -> None:
    """Its source, what it inherits and the values of the names that it uses."""
    script = """
        import linecache, __main__
        from fewshot_bench.source.source_hash import source_sha256
        def cell(number, text):
            name = f"<cell {number}>"
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            exec(compile(text, name, "exec"), vars(__main__))
            return source_sha256(__main__.Mine)
        one = "class Base: ...\\nRATE = 1\\nclass Mine(Base):\\n    def run(self, x):\\n        return RATE * x\\n"
        print(cell(1, one), cell(2, one.replace("x):", "x):  # words")), cell(3, one.replace("RATE *", "RATE +")))
        print(cell(4, one.replace("RATE = 1", "RATE = 2")), cell(5, one.replace("Base: ...", "Base:\\n    a = 1")))
    """
    run = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ}
    )
    first, words, *others = run.stdout.split()
    assert words == first
    assert len({first, *others}) == 4
