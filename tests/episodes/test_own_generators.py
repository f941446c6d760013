"""Random generators of a method's own are seeded as the global ones are: what the process did before changes no score."""

import random
import signal
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from command_line import TINY, call, content, finished, only_run
from interrupted_run import assert_same_run, interrupt

from fewshot_bench.episodes.own_generators import OwnGenerator, find, generators_of

FILE = Path(__file__).parents[1] / "support" / "own_generator_methods.py"
METHODS = (
    *("Noisy", "OfTorch", "OfPython", "OfOldNumpy", "InContainers", "InClass", "InDefault", "InClosure", "InItself"),
    *("WhenBuilt", "AtTest"),
)


def run_of(method: str, *more: object) -> list[object]:
    """The smallest run of one of them."""
    return ["run", "--method", f"{FILE}:{method}", *TINY[3:], "--seeds", 1, *more]


def weights(folder: Path) -> bytes:
    """Of the run in a folder, as its file has them."""
    return (only_run(folder) / "checkpoint.safetensors").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_the_same_whatever_was_drawn_before(method: str, tmp_path: Path) -> None:
    """The second run of a process finds the generators where the first left them."""
    for out in ("first", "second"):
        finished(*run_of(method, "--out", tmp_path / out))
    assert content(only_run(tmp_path / "first")) == content(only_run(tmp_path / "second"))
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_a_factory_of_backbones_may_draw_too(tmp_path: Path) -> None:
    """The initial values are the seed's."""
    named = ["run", "--method", "prototypical-networks", "--backbone", f"{FILE}:factory", *TINY[3:]]
    for out in ("0", "1"):
        finished(*named, "--out", tmp_path / out)
    assert weights(tmp_path / "0") == weights(tmp_path / "1")
    assert content(only_run(tmp_path / "0")) == content(only_run(tmp_path / "1"))


@pytest.mark.parametrize("method", ["Noisy", "InItself"])
def test_an_interrupted_run_goes_on_with_the_same_draws(method: str, tmp_path: Path) -> None:
    """Each update starts its own."""
    finished(*run_of(method, "--out", tmp_path / "whole"))
    killed = interrupt("training", signal.SIGKILL, *run_of(method, "--out", tmp_path / "killed"))
    assert killed.code == -signal.SIGKILL, killed.err
    assert "Going on from update 3." in finished(*run_of(method, "--out", tmp_path / "killed")).err
    assert_same_run(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


def test_what_no_seed_reaches_is_refused_by_its_name(tmp_path: Path) -> None:
    """A generator that asks the operating system."""
    path = tmp_path / "system.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(FILE.parent)!r})\nimport random\n"
        "from linear_method import Linear\nDICE = random.SystemRandom()\n\nclass Mine(Linear):\n    pass\n"
    )
    said = call("run", "--method", f"{path}:Mine", *TINY[3:], "--out", tmp_path / "runs")
    assert said.code == 1
    assert "system.DICE draws from the operating system" in said.complaint
    assert len(said.complaint.splitlines()) <= 3


@pytest.mark.parametrize(
    "generator",
    [
        np.random.default_rng(3),
        np.random.Generator(np.random.MT19937(3)),
        np.random.RandomState(3),
        np.random.RandomState(np.random.PCG64(3)),
        np.random.Philox(3),
        torch.Generator(),
        random.Random(3),
    ],
    ids=lambda x: type(x).__name__,
)
def test_each_kind_starts_anew_from_a_seed_and_goes_on_from_a_state(generator: object) -> None:
    """Every second Gaussian, which some keep, included."""
    own = OwnGenerator("RNG", generator)

    def draw() -> float:
        match generator:
            case torch.Generator():
                return float(torch.rand((), generator=generator))
            case random.Random():
                return generator.gauss(0, 1)
            case np.random.BitGenerator():
                return float(generator.random_raw())
        return float(generator.normal())  # type: ignore[attr-defined]

    own.seed(5)
    before, first = own.state, draw()
    assert own.drew_since(before)
    after, second = own.state, draw()
    own.seed(5)
    assert not own.drew_since(before)
    assert draw() == first != second
    own.state = after
    assert draw() == second
    OwnGenerator("OTHER", generator).seed(5)
    assert draw() != first


def test_a_method_without_any_is_looked_through_once() -> None:
    """And its generators are none."""
    layer = torch.nn.Linear(1, 1)
    with mock.patch("fewshot_bench.episodes.own_generators.find", wraps=find) as looked:
        assert generators_of(layer) == generators_of(layer) == ()
    assert looked.call_count == 1
