"""A plugin of data that does not keep to its interface, a card or a command that is none: refused with what is wanted."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import call, finished
from plugin_file import plugin, refused

from fewshot_bench.errors import UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.declarations import check_command

DATA = """
import numpy as np, torch
from fewshot_bench import Dataset, ImageClass
IDS = tuple(str(i) for i in range(20))

class Bank:
    class_names, structure_id = tuple("abcdefgh"), "bank"
    starts = {starts}
    def gather(self, ids):
        return {gather}

class Data(Dataset):
    on_demand = {on_demand}
    shape = {shape}
    def identity(self):
        return {identity}
    def classes(self):
        return {classes}
    def images(self, progress):
        yield {block}
    def bank(self, split):
        return {bank}
"""
SOUND = {
    "on_demand": "False",
    "shape": "(1, 4, 4)",
    "identity": "'sound'",
    "classes": "{split: [ImageClass(f'{split}{c}', IDS) for c in 'abcdefgh'] for split in self.splits}",
    "block": "np.zeros((480, 1, 4, 4), np.uint8)",
    "bank": "Bank()",
    "starts": "np.arange(9) * 20",
    "gather": "torch.zeros(len(ids), 1, 4, 4, dtype=torch.uint8)",
}
ON_DEMAND = {"on_demand": "True"}
DATASETS: dict[str, tuple[dict[str, str], int, tuple[str, ...]]] = {
    "a shape of one number": ({"shape": "16"}, 1, ("Data.shape must be three whole numbers (C, H, W), got 16",)),
    "a shape of decimals": ({"shape": "(1, 4.0, 4)"}, 1, ("Data.shape",)),
    "an identity that raises": ({"identity": "self.nothing"}, 1, ("AttributeError", "in identity")),
    "classes in a list": ({"classes": "[1]"}, 1, ("Data.classes must map its splits (train, val, test)", "a list")),
    "no classes": ({"classes": "None"}, 1, ("Data.classes", "got None")),
    "classes that are names": ({"classes": "{'train': ['a']}"}, 1, ("split 'train'", "holds a str")),
    "classes that are numbers": ({"classes": "{'train': 3}"}, 1, ("split 'train' must be a list of ImageClass, got a int",)),
    "a split of another name": ({"classes": "{'training': []}"}, 1, ("its splits (train, val, test)",)),
    "ids that are numbers": ({"classes": "{'train': [ImageClass('a', (1, 2))]}"}, 1, ("all texts",)),
    "classes that raise": ({"classes": "{}['train']"}, 1, ("KeyError", "in classes")),
    "images in a list": ({"block": "[1]"}, 1, ("Data.images must give uint8 blocks [n, C, H, W], got a list",)),
    "images that raise": ({"block": "1 / 0"}, 1, ("ZeroDivisionError", "in images")),
    "fewer images": ({"block": "np.zeros((4, 1, 4, 4), np.uint8)"}, 3, ("made 4 images where its classes name 480",)),
    "no bank": ({**ON_DEMAND, "bank": "None"}, 1, ("Data.bank gave None, not an ImageBank",)),
    "a bank without an end": ({**ON_DEMAND, "starts": "np.arange(8) * 20"}, 1, ("starts [classes + 1]",)),
    "images as decimals": (
        {**ON_DEMAND, "gather": "torch.zeros(len(ids), 1, 4, 4)"},
        1,
        ("gather gave torch.float32 [1, 1, 4, 4] for one image", "uint8 [1, 1, 4, 4]"),
    ),
    "images in numpy": ({**ON_DEMAND, "gather": "np.zeros((len(ids), 1, 4, 4))"}, 1, ("gather gave a ndarray",)),
}


def data(folder: Path, **changes: str) -> str:
    """The reference of a data set that is sound but for `changes`."""
    (folder / "data.py").write_text(DATA.format(**SOUND | changes))
    return f"{folder / 'data.py'}:Data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these data sets is kept."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_that_answers_otherwise_than_its_interface_says_is_refused(name: str, tmp_path: Path) -> None:
    """Before any training."""
    changes, code, words = DATASETS[name]
    command = ("--method", "nearest-centroid", "--protocol", "custom", "--queries", "5", "--episodes", "4")
    said = call("run", *command, "--dataset", data(tmp_path, **changes), "--out", tmp_path / "runs")
    said = SimpleNamespace(code=said.code, out=said.out, err=said.complaint, complaint=said.complaint)
    refused(said, code, *words)  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("kind", [{}, ON_DEMAND], ids=["prepared", "on demand"])
def test_the_data_set_of_these_tests_is_sound_but_for_its_changes(kind: dict[str, str], tmp_path: Path) -> None:
    """So that the refusals are not those of a data set that never works."""
    command = ("--method", "nearest-centroid", "--protocol", "custom", "--queries", "5", "--episodes", "4")
    finished("run", *command, "--dataset", data(tmp_path, **kind), "--out", tmp_path / "runs")


FAMILY = """
import numpy as np
from fewshot_bench import FunctionFamily

class Family(FunctionFamily):
    {declared}
    def values(self, x, parameters):
        return {values}
"""
FAMILIES = {
    "no parameters": ("domain = (0, 1)", "x", "parameters must map names to ranges (low, high), got None"),
    "parameters in a list": ("parameters, domain = [1], (0, 1)", "x", "parameters must map names to ranges"),
    "a range of three": ("parameters, domain = {'a': (0, 1, 2)}, (0, 1)", "x", "parameters must map names to ranges"),
    "no domain": ("parameters = {'a': (0, 1)}", "x", "domain must be a range (low, high), got None"),
    "a domain upside down": ("parameters, domain = {'a': (0, 1)}, (1, 0)", "x", "domain must be a range"),
    "values in a list": ("parameters, domain = {'a': (0, 1)}, (0, 1)", "[1]", "Family.values gave a list at x [2, 3]"),
    "values of a task": ("parameters, domain = {'a': (0, 1)}, (0, 1)", "x.mean(1)", "float64 [2] at x [2, 3]"),
    "whole values": ("parameters, domain = {'a': (0, 1)}, (0, 1)", "x.astype(int)", "floating-point numbers [2, 3]"),
    "values that raise": ("parameters, domain = {'a': (0, 1)}, (0, 1)", "parameters['b']", "KeyError: 'b' ("),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_functions_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    """In a dry run too."""
    declared, values, *words = FAMILIES[name]
    (tmp_path / "family.py").write_text(FAMILY.format(declared=declared, values=values))
    refused(call("run", "--method", "maml", "--dataset", f"{tmp_path / 'family.py'}:Family", "--dry-run"), 1, *words)


CARDS = {
    "a title that is a list": ("title: [a]", "'title' must be a text"),
    "recipes in a list": ("recipes: [default]", "'recipes' must map names to lists of entries"),
    "a recipe that is a mapping": ("recipes: {default: {train: {}}}", "'recipes' must map names to lists of entries"),
    "an entry that is a text": ("recipes: {default: [fast]}", "each entry of recipe 'default' must be a mapping"),
    "an entry for a text": ("recipes: {default: [{for: glyphs}]}", "each entry of recipe 'default' must be a mapping"),
    "a recipe that is a number": ("recipes: {1: []}", "the name of a recipe must be a text, not 1"),
    "needs that are a text": ("needs: scipy", "'needs' must map 'module' and 'install'"),
    "no mapping": ("- title", "must hold a mapping of keys to values, not list"),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_is_none_is_refused_by_every_command_that_reads_it(name: str, tmp_path: Path) -> None:
    """`run`, `show` and `show --recipe` say the same."""
    text, words = CARDS[name]
    method = plugin(tmp_path)
    (tmp_path / "tiny.yaml").write_text(text)
    for command in (("run", "--method", method, "--dry-run"), ("show", method), ("show", method, "--recipe", "default")):
        refused(call(*command), 2, words)


def test_a_command_that_is_none_is_refused() -> None:
    """It is a typer.Typer, and no function."""
    with pytest.raises(UsageError, match=r"fresh:run is not a command, it is function: a command is a typer\.Typer"):
        check_command("fresh:run", registry.find)
