"""A file that a method or a backbone reads is a part of it: another content is another run."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewshot_bench.errors import UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.source import files_read
from fewshot_bench.source.source_hash import source_sha256

METHOD = """
import json, numpy as np, torch
from safetensors.torch import load_file
from pathlib import Path
from fewshot_bench import Method

{0}


class Mine(Method):
    needs_backbone = False
    trained = False
    {1}

    def predict(self, tasks):
        return W
"""
BUILT = "def __init__(self, *a):\n        super().__init__(*a)\n        "
READ = {
    "a number": ("W = float(Path('data').read_text())", ""),
    "a table": ("W = json.loads(Path('data').read_text())", ""),
    "an array": ("W = np.loadtxt('data')", ""),
    "an attribute of a class": ("", "W = float(Path('data').read_text())"),
    "a default": ("def score(x, w=float(Path('data').read_text())): return w", ""),
    "a closure": ("def make():\n    w = Path('data').read_text()\n    return lambda: w\nscore = make()", ""),
    "code": ("exec('K = ' + Path('data').read_text())", ""),
    "an object": ("class Box: pass\nbox = Box()\nbox.value = Path('data').read_text()", ""),
    "what is made at first": ("", f"{BUILT}self.w = Path('data').read_text()"),
    "weights": ("", f"{BUILT}self.register_buffer('w', torch.load('data.pt'))"),
    "weights in another form": ("", f"{BUILT}self.register_buffer('w', load_file('data.safetensors')['w'])"),
    "weights that are needed at once": ("", f"{BUILT}self.w = float(torch.load('data.pt').sum())"),
}
Id = Callable[..., str]


def write(folder: Path, number: float) -> None:
    """The files that a method may read."""
    (folder / "data").write_text(f"{number}\n")
    torch.save(torch.full((8,), number), folder / "data.pt")
    save_file({"w": torch.arange(8) + number}, folder / "data.safetensors")


@pytest.fixture
def id_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Id]:
    """Gives the run's id of a method with some text, whose files hold a number."""
    monkeypatch.chdir(tmp_path)

    def ask(text: str, number: float, name: str = "own_reads.py") -> str:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
        write(tmp_path, number)
        return resolve(Request(f"{name}:Mine")).run_id

    yield ask


@pytest.mark.parametrize("what", READ)
def test_a_file_that_a_method_reads_changes_the_id(id_of: Id, what: str) -> None:
    """In one process, as its module is imported or as it is built; what the file was before gives the id of before."""
    text = METHOD.format(*READ[what])
    first, second, third = (id_of(text, number) for number in (1.0, -1.0, 1.0))
    assert first == third != second


def test_a_file_that_a_helper_reads_is_the_helpers(id_of: Id, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A method that takes nothing from the helper is not changed by it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_reading.py").write_text("from pathlib import Path\nW = Path('data').read_text()\n")
    taken = METHOD.format("from own_reading import W", "")
    assert id_of(taken, 1.0) != id_of(taken, 2.0)
    other = METHOD.format("W = 1", "")
    assert id_of(other, 1.0) == id_of(other, 2.0)
    sys.modules.pop("own_reading", None)


def test_neither_the_place_of_a_file_nor_what_is_read_later_counts(id_of: Id, tmp_path: Path) -> None:
    """A moved folder is the same method; what a prediction or another code reads is none of the module's."""
    text = METHOD.format("from pathlib import Path\nW = Path(__file__).with_suffix('.txt').read_text()", "")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.txt").write_text("1")
    first = id_of(text, 1.0, "one/m.py")
    (tmp_path / "data").read_text()
    assert id_of(text, 2.0, "two/m.py") == first == id_of(text, 3.0, "one/m.py")


def test_a_file_that_is_written_or_belongs_to_a_library_does_not_count(id_of: Id) -> None:
    """Such as a log, or the data of an installed package."""
    text = METHOD.format(
        "Path('log').write_text('x')\nPath(np.__file__).read_text()\nPath('/proc/self/stat').read_text()",
        "",
    )
    assert id_of(text, 1.0) == id_of(text, 2.0)
    module = sys.modules[registry.module_name("own_reads.py:Mine")]
    assert files_read.read_by(module) == {}


def test_another_content_is_read_again(id_of: Id, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is asked for again in one process holds what its file says now, and else is the one of before."""
    monkeypatch.syspath_prepend(tmp_path)
    id_of(METHOD.format("W = float(Path('data').read_text())", ""), 1.0)
    find = registry.find("methods", "own_reads:Mine")
    first = find.load()
    assert find.load() is first
    write(Path(), 2.0)
    assert sys.modules[find.load().__module__].W == 2.0
    sys.modules.pop("own_reads")


def test_a_class_that_is_imported_by_hand_has_its_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package listens from its own import on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_by_hand.py").write_text(
        "import json\nfrom pathlib import Path\nclass Mine:\n    w = json.loads(Path('w.json').read_text())\n"
    )
    hashes = []
    for value in (1, 2):
        (tmp_path / "w.json").write_text(json.dumps({"k": value}))
        sys.modules.pop("own_by_hand", None)
        importlib.invalidate_caches()
        hashes.append(source_sha256(importlib.import_module("own_by_hand").Mine))
    sys.modules.pop("own_by_hand")
    assert hashes[0] != hashes[1]


BACKBONE = """
import torch
from pathlib import Path
from torch import nn
from fewshot_methods.backbones.conv4 import conv4_32


def scaled(shape):
    network, scale = conv4_32(shape), float(Path('data').read_text())
    with torch.no_grad():
        [one.mul_(scale) for one in network.parameters()]
    return network


def bound(shape):
    network = conv4_32(shape)
    network.most = float(Path('data').read_text())
    return network


def filled(shape):
    network = conv4_32(shape)
    network.block1_shift.data.fill_(float(Path('data').read_text()))
    return network


def lazy(shape):
    network = conv4_32(shape)
    network.head = nn.LazyConv2d(8, 3)
    return network
"""


@pytest.mark.parametrize("name", ["scaled", "bound", "filled"])
def test_a_file_that_a_factory_reads_changes_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever it makes of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_factories.py").write_text(BACKBONE)
    ids = []
    for number in (1.0, 9.0, 1.0):
        write(tmp_path, number)
        ids.append(resolve(Request("prototypical-networks", backbone=f"own_factories.py:{name}")).run_id)
    assert ids[0] == ids[2] != ids[1]


def test_a_network_with_lazy_layers_is_refused_in_two_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no values that an id could name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_lazy.py").write_text(BACKBONE)
    with pytest.raises(UsageError, match=r"lazy layer without values \(head.weight\)") as error:
        resolve(Request("prototypical-networks", backbone="own_lazy.py:lazy"))
    assert str(error.value).count("\n") < 2


def test_listening_is_cheap(tmp_path: Path) -> None:
    """A file that nobody asks about is opened nearly as fast as ever."""
    (tmp_path / "x").write_text("1")
    started = time.process_time()  # of this process: others may be busy
    for _ in range(1000):
        os.close(os.open(tmp_path / "x", os.O_RDONLY))
    assert time.process_time() - started < 0.5
