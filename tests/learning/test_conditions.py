"""What decides a computation is stated by `Method.under`, holds inside, and nothing else sets it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small_trainer import trainer
from tiny import blobs, build
from torch import Tensor

import fewshot_bench
from fewshot_bench import kernels
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning import precision
from fewshot_bench.learning.base import Conditions, Method, MethodInfo, NoHparams
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.testing import batch_size, embedded, episode_scores, evaluated, scores_by_step

JOINT, ROUNDED = Conditions("joint", 3), Conditions("running", precision="bfloat16")
CORE = Path(fewshot_bench.__file__).parent
PACKAGES = [CORE, CORE.parent / "methods", CORE.parent / "datasets", CORE.parent / "leaderboard"]


class Present(NamedTuple):
    """What decides a computation at present."""

    conditions: Conditions
    precision: str
    kernels: bool
    training: bool
    gradients: bool


def present(method: Method) -> Present:
    """Of a method and of the process."""
    return Present(method.conditions, precision._present, kernels._present, method.training, torch.is_grad_enabled())


class Asked(Method):
    """Nearest mean of pixels, which notes what is present whenever it is asked."""

    needs_backbone = False
    embeds = False

    def __init__(self) -> None:
        super().__init__(NoHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 12), None)
        self.seen = list[Present]()

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Pixels, where it embeds."""
        self.seen.append(present(self))
        return images.flatten(1) if self.embeds else None

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the distance to the one support image of each way."""
        self.seen.append(present(self))
        order = tasks.support_y.argsort(1)[..., None]
        means = torch.take_along_dim(tasks.support_x.flatten(2), order, 1)
        return -torch.cdist(tasks.query_x.flatten(2), means)

    def predict_steps(self, tasks: Tasks) -> Tensor:
        """The same twice."""
        return torch.stack([self.predict(tasks)] * 2)


def source() -> TaskSource:
    """5-way 1-shot tasks of the bank of tests."""
    bank = blobs()
    return TaskSource(bank, EpisodeSampler(bank, 5, 1, 3, seed=0), torch.device("cpu"), torch.float64)


@pytest.fixture
def method() -> Asked:
    """In training mode, as a trainer leaves it."""
    return Asked().train()


def test_conditions_hold_inside_and_no_longer(method: Asked) -> None:
    """One level at a time, with the precision of products."""
    before = present(method)
    with method.under(JOINT):
        assert present(method)[:3] == (JOINT, "highest", False)
        with method.under(ROUNDED):
            assert present(method)[:3] == (ROUNDED, "bfloat16", False)
        assert present(method)[:3] == (JOINT, "highest", False)
    assert present(method) == before


@pytest.mark.usefixtures("compiled")
def test_the_kernels_serve_where_conditions_say_so(method: Asked) -> None:
    """Inside alone, and an inner block may switch them off."""
    x, weight = torch.zeros(1, 1, 16, 8, 8), torch.zeros(16, 16, 3, 3)
    with method.under(Conditions(kernels=True)):
        assert kernels.serve(x, weight)
        with method.under(Conditions()):
            assert not kernels.serve(x, weight)
        assert kernels.serve(x, weight)
    assert not kernels.serve(x, weight)


def test_an_error_inside_leaves_all_as_it_was(method: Asked) -> None:
    """Conditions, precision, mode."""
    before = present(method)
    for block in (method.under(ROUNDED), evaluated(method, ROUNDED)):
        with pytest.raises(ZeroDivisionError), block:
            raise ZeroDivisionError
        assert present(method) == before


def test_kernels_that_cannot_be_had_leave_all_as_it_was(method: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes before anything is computed."""

    def unavailable() -> None:
        raise kernels.Unavailable("no compiler")

    monkeypatch.setattr(kernels, "library", unavailable)
    before = present(method)
    with pytest.raises(kernels.Unavailable), evaluated(method, Conditions("joint", precision="bfloat16", kernels=True)):
        raise AssertionError("nothing is computed")
    assert present(method) == before


def test_two_methods_stand_under_conditions_of_their_own(method: Asked) -> None:
    """A method that holds another states the inner one's."""
    other = Asked()
    with method.under(JOINT), other.under(ROUNDED):
        assert (method.conditions, other.conditions) == (JOINT, ROUNDED)


def test_nobody_can_set_conditions_and_forget_them(method: Asked) -> None:
    """They are read, and stated by `under`."""
    with pytest.raises(AttributeError):
        method.conditions = JOINT  # type: ignore[misc]


@pytest.mark.parametrize("embeds", [False, True])
def test_a_test_sets_nothing(embeds: bool, method: Asked) -> None:
    """Neither how many episodes it computes at once, nor its embeddings, nor its scores: not between two blocks, either."""
    method.embeds, made, before = embeds, source(), present(method)
    assert batch_size(method, made, JOINT, 4) == (256 if embeds else 4)
    assert present(method) == before
    assert (embedded(method, made, JOINT, 20) is not None) == embeds
    assert present(method) == before
    scores = episode_scores(method, made, JOINT, 300, 4)
    for _ in range(2):
        next(scores)
        assert present(method) == before
    del scores
    assert scores_by_step(method, made, JOINT, 4, 4) is not None
    assert present(method) == before
    assert set(method.seen) == {Present(JOINT, "highest", False, training=False, gradients=False)}


def test_a_test_that_is_begun_elsewhere_is_computed_as_it_says(method: Asked) -> None:
    """Even where products are rounded."""
    with method.under(ROUNDED):
        rounded = np.concatenate(list(episode_scores(method, source(), JOINT, 8, 4)))
    assert {one.conditions for one in method.seen} == {JOINT}
    assert {one.precision for one in method.seen} == {"highest"}
    assert rounded.tolist() == np.concatenate(list(episode_scores(method, source(), JOINT, 8, 4))).tolist()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("by_kernels", [True, False])
def test_the_plan_says_whether_kernels_serve_in_training_and_validation(
    by_kernels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the process did before."""
    run = trainer(tmp_path, updates=2)
    run.plan = Plan("cpu", 1, 2, 4, kernels=by_kernels)
    seen = set[tuple[bool, bool]]()
    embed = type(run.method).embed_task  # type: ignore[attr-defined]

    def spied(self: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        seen.add((self.training, kernels._present))
        found: tuple[Tensor, Tensor] = embed(self, *given)
        return found

    monkeypatch.setattr(type(run.method), "embed_task", spied)
    monkeypatch.setattr(type(run.method), "embed_images", lambda self, images: None)
    with kernels.serving(not by_kernels):
        run.train(Listener())
    assert seen == {(True, by_kernels), (False, by_kernels)}


def calls(name: str) -> Iterator[str]:
    """The modules of the packages that call a function of this name."""
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name:
                    yield path.relative_to(CORE.parent).as_posix()


@pytest.mark.parametrize("name", ["products_in", "serving"])
def test_nothing_but_under_sets_precision_and_kernels(name: str) -> None:
    """In all four packages."""
    assert set(calls(name)) == {"fewshot_bench/learning/base.py"}


def test_training_under_one_method_leaves_others_alone() -> None:
    """A loss under conditions has no trace outside but its gradient."""
    one, other = build("prototypical-networks"), build("prototypical-networks")
    before = present(other)
    with one.under(Conditions("joint", precision="bfloat16")):
        one.loss(source().tasks(0, 2)).sum().backward()
        assert present(other)[0] == before[0]
    assert present(other) == before
