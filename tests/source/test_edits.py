"""Code that a method finds in unusual ways: loaded by hand, by a computed name, from a folder that is added as it runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from fewshot_bench.plugins import registry
from fewshot_bench.source.source_hash import source_sha256

BY_HAND = (
    "import importlib.util\ndef taken():\n    spec = importlib.util.spec_from_file_location('own_hand', 'pk/hand.py')\n"
    "    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return module\n"
)
FOUND = {
    "a module by hand": f"{BY_HAND}hand = taken()\ndef f(): return hand.f()",
    "a function by hand": f"{BY_HAND}f = taken().f",
    "a class by hand": f"{BY_HAND}hand = taken().Held\ndef f(): return hand.value",
    "a constant by hand": f"{BY_HAND}hand = taken()\nK = hand.K\ndef f(): return K",
    "a script that is run": "import runpy\nK = runpy.run_path('pk/hand.py')['K']\ndef f(): return K",
    "text that is run": "from pathlib import Path\nexec(Path('pk/hand.py').read_text())",
    "a computed name": "import importlib\nhand = importlib.import_module('pk.' + 'hand')\ndef f(): return hand.K",
    "a constant by a computed name": "import importlib\nK = importlib.import_module('pk.' + 'hand').K\ndef f(): return K",
    "a folder that is added": "def f():\n    import sys\n    sys.path.insert(0, 'pk')\n    import hand\n    return hand.K",
}
CLASS = "\nclass Mine:\n    def __init__(self, shape=None): ...\n    def run(self):\n        return f()\n"
HAND = "K = {0}\nclass Held:\n    value = {0}\ndef f():\n    return {0}\n"
LOADED = "import sys; sys.path.insert(0, '.')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are, and Python's imports afterwards as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules)
    before = set(sys.modules)
    (tmp_path / "pk").mkdir()
    (tmp_path / "pk/__init__.py").write_text("")
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("how", FOUND)
def test_an_edit_of_what_is_found_is_another_method_and_is_what_runs(folder: Path, how: str) -> None:
    """In one process; after a run, too, and for a comment or what is edited back the hash is that of before."""
    (folder / "own_finds.py").write_text(FOUND[how] + CLASS)
    seen = []
    for number in (3, 4, 3):
        (folder / "pk/hand.py").write_text(HAND.format(number))
        loaded = registry.Plugin("mine", "backbones", "own_finds.py:Mine", "file").load()
        first = source_sha256(loaded)
        seen.append((loaded().run(), first))
        assert source_sha256(loaded) == first
    assert [value for value, _ in seen] == [3, 4, 3]
    assert seen[0] == seen[2]
    assert seen[0][1] != seen[1][1]


@pytest.mark.parametrize("how", FOUND)
def test_another_process_gives_the_same_hash(folder: Path, how: str) -> None:
    """In another folder, with another order of sets."""
    text = FOUND[how] + CLASS
    code = (
        "from fewshot_bench.plugins import registry as plugins\nfrom fewshot_bench.source.source_hash import source_sha256\n"
        "print(source_sha256(plugins.Plugin('mine', 'backbones', 'own_finds.py:Mine', 'file').load()))"
    )
    hashes = set()
    for seed in ("1", "2"):
        where = folder / seed
        (where / "pk").mkdir(parents=True)
        (where / "pk/__init__.py").write_text("")
        (where / "pk/hand.py").write_text(HAND.format(3))
        (where / "own_finds.py").write_text(text)
        command = [sys.executable, "-c", f"{LOADED}{code}"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=True, env=environment)
        hashes.add(done.stdout)
    assert len(hashes) == 1


def from_zip(folder: Path, text: str) -> None:
    """An archive with one module in it."""
    (folder / "own.zip").unlink(missing_ok=True)
    with ZipFile(folder / "own.zip", "w") as archive:
        archive.writestr("own_zipped.py", text)


def in_latin(folder: Path, text: str) -> None:
    """A module in another encoding."""
    (folder / "own_zipped.py").write_bytes(f"# -*- coding: latin-1 -*-\n# é\n{text}".encode("latin-1"))


WAYS = {
    "locals": "k1 = {}\nK = locals()['k' + '1']\n",
    "modules of sys": "from sys import modules\nk1 = {}\ndef K(): return getattr(modules[__name__], 'k1')\n",
    "getmodule": "import inspect\nk1 = {}\ndef K(): return inspect.getmodule(K).k1\n",
}


@pytest.mark.parametrize("put", [from_zip, in_latin])
def test_code_that_is_no_plain_file_is_hashed(folder: Path, put: Callable[[Path, str], None]) -> None:
    """A constant of it alone."""
    (folder / "own_finds.py").write_text("from own_zipped import K\nclass Mine:\n    def run(self): return K\n")
    code = f"import sys; sys.path[:0] = ['.', 'own.zip']\nimport own_finds\n{HASH}"
    assert len({_hash(folder, put, text, code) for text in ("K = 1\n", "K = 2\n")}) == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_is_computed_reaches_the_whole_module(folder: Path, way: str) -> None:
    """However the module is had."""
    (folder / "own_finds.py").write_text("from own_zipped import K\nclass Mine:\n    def run(self): return K\n")
    code = f"import sys; sys.path[:0] = ['.']\nimport own_finds\n{HASH}"
    assert len({_hash(folder, in_latin, WAYS[way].format(number), code) for number in (1, 2)}) == 2


HASH = "from fewshot_bench.source.source_hash import source_sha256\nprint(source_sha256(own_finds.Mine))"


def _hash(folder: Path, put: Callable[[Path, str], None], text: str, code: str) -> str:
    put(folder, text)
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
