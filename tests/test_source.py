"""The hash of a method's source changes with the code, and with nothing else."""

import importlib
import inspect
import io
import pkgutil
import tokenize
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

import fewshot_methods
from fewshot_bench.source import _code, hash_of_code, source_files
from fewshot_methods.maml import Maml
from fewshot_methods.mt_net import MtNet

SOURCE = '''
"""What the module does."""

import math  # for pi

RATE = 0.1
"""A number."""


def area(radius: float) -> float:
    """Of a circle,

    in square units.
    """
    # No comment.
    text = "# not a comment"
    return math.pi * radius**2 if f"{text}" else 0.0  # always
'''

WORDS = [
    ("What the module does.", "Another sentence."),
    ("# for pi", ""),
    ('"""A number."""\n', ""),
    ("    # No comment.\n", "\n\n"),
    ("in square units.", "in square units.\n\n    Raises nothing."),
]
CODE = [
    ("0.1", "0.2"),
    ("# not a comment", "# another text"),
    ("radius**2", "radius"),
    ("import math", "import cmath as math"),
]


@pytest.mark.parametrize(("old", "new"), WORDS)
def test_words_change_nothing(old: str, new: str) -> None:
    """Comments, docstrings of modules, functions and values, blank lines."""
    assert old in SOURCE
    assert hash_of_code([SOURCE.replace(old, new)]) == hash_of_code([SOURCE])


@pytest.mark.parametrize(("old", "new"), CODE)
def test_code_changes_the_hash(old: str, new: str) -> None:
    """Numbers, texts, names."""
    assert old in SOURCE
    assert hash_of_code([SOURCE.replace(old, new)]) != hash_of_code([SOURCE])


def test_what_is_left_is_the_code_itself() -> None:
    """Line by line."""
    expected = """
    import math
    RATE = 0.1
    def area(radius: float) -> float:
        text = "# not a comment"
        return math.pi * radius**2 if f"{text}" else 0.0
    """
    assert _code(SOURCE) == dedent(expected).lstrip("\n")


MODULES = [
    importlib.import_module(found.name) for found in pkgutil.iter_modules(fewshot_methods.__path__, "fewshot_methods.")
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_number_and_operator_of_our_methods_is_hashed(module: ModuleType) -> None:
    """In their order."""
    source = inspect.getsource(module)
    assert substance(_code(source)) == substance(source)
    assert '"""' not in _code(source)


def substance(source: str) -> list[str]:
    """Names, numbers and operators."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.OP)]


def test_the_files_are_those_of_the_class_and_of_what_it_inherits_outside_the_core() -> None:
    """MT-net is a T-net, which takes from MAML, which is a gradient-based method of the core."""
    names = [path.rpartition("/")[2] for path in source_files(MtNet)]
    assert names == ["mt_net.py", "t_net.py", "maml.py"]
    assert len(source_files(MtNet, Maml, MtNet)) == 3


def test_a_base_is_told_by_the_whole_name_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `abcnet` is neither Python's `abc` nor the core, and Python's own files are no part of a method."""
    (tmp_path / "abcnet.py").write_text("class Base: ...\n")
    (tmp_path / "abcnet_method.py").write_text(
        "from typing import Generic, TypeVar\nfrom abcnet import Base\nT = TypeVar('T')\nclass Mine(Base, Generic[T]): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = source_files(importlib.import_module("abcnet_method").Mine)
    assert [Path(path).name for path in found] == ["abcnet_method.py", "abcnet.py"]
