"""`check_method`: planted faults are found by the check that is named for them, and every registered method passes."""

import gc
import sys

import pytest
import torch
import torch.nn.functional as F
from cheats import Honest, NormalisesBatch, Remembers, means, near
from torch import Tensor, nn

from fewshot_bench import EmbeddingMethod, Tasks, UsageError
from fewshot_bench.audit.method import audit_method
from fewshot_bench.plugins import registry
from fewshot_bench.testing import CheckFailed, check_method

FEW = {"prototypical-networks", "nearest-centroid", "maml"}
METHODS = sorted(name for name, plugin in registry.registered("methods").items() if not plugin.missing())


class HoldsBatchNorm(EmbeddingMethod):
    """torch's own layer, in training mode."""

    def __init__(self, hparams, info, backbone) -> None:  # type: ignore[no-untyped-def]
        super().__init__(hparams, info, backbone)
        self.norm = nn.BatchNorm1d(backbone.features)

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of normalised embeddings."""
        return near(self.norm(query.flatten(0, 1)).view_as(query), means(support, support_y, ways))


class FavoursFirst(Honest):
    """The way that is called 0 is a little more likely."""

    def predict(self, tasks: Tasks) -> Tensor:
        """By its name."""
        return super().predict(tasks) + 0.1 * (torch.arange(tasks.ways) == 0)


class SortedSupport(Honest):
    """It takes the support to come class by class."""

    balanced_support = True

    def embed_images(self, images: Tensor) -> Tensor | None:
        """None."""
        return None

    def predict(self, tasks: Tasks) -> Tensor:
        """Without a look at its labels."""
        support = tasks.support_x.flatten(2).unflatten(1, (tasks.ways, -1))
        return near(tasks.query_x.flatten(2), support.mean(2))


class LastTask(Honest):
    """Class means of the task before."""

    last: Tensor | None = None

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """If there was one of this size."""
        now = means(support, support_y, ways)
        last = self.last if self.last is not None and self.last.shape == now.shape else now
        self.last = now
        return near(query, last)


class ReadsGlobal(Honest):
    """The caller's query labels."""

    def predict(self, tasks: Tasks) -> Tensor:
        """In whatever frame they are."""
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            held = frame.f_locals.get("tasks")
            if isinstance(held, Tasks) and held.query_y is not None and len(held) == len(tasks):
                return F.one_hot(held.query_y, tasks.ways).to(tasks.query_x)
        return super().predict(tasks)


class ReadsBank(Honest):
    """The episodes' own numbers."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """None."""
        return None

    def predict(self, tasks: Tasks) -> Tensor:
        """By the bank that is in memory, in which images stand class by class."""
        held = [one for one in gc.get_objects() if type(one).__name__ == "MemmapBank"]
        banks = [one for one in held if one.structure_id.startswith("audit")]
        if not banks:  # between two checks none may be held
            return super().predict(tasks)
        rows = torch.cat([torch.from_numpy(one.images).to(tasks.query_x).flatten(1) / 255 for one in banks])
        number = [torch.cdist(x.flatten(2), rows[None]).argmin(-1) // 20 for x in (tasks.support_x, tasks.query_x)]  # [T, S]
        same = (number[1][:, :, None] == number[0][:, None]).to(tasks.query_x)  # [T, Q, S]
        return same @ F.one_hot(tasks.support_y, tasks.ways).to(tasks.query_x)


class Draws(Honest):
    """Noise of torch's global generator."""

    def predict(self, tasks: Tasks) -> Tensor:
        """A number a score."""
        scores = super().predict(tasks)
        return scores + 0.01 * torch.rand(scores.shape)


class SortedQueries(Honest):
    """It takes the queries to come class by class."""

    def predict(self, tasks: Tasks) -> Tensor:
        """As many of each."""
        scores = super().predict(tasks)
        place = torch.arange(scores.shape[1]) * tasks.ways // scores.shape[1]
        return scores + F.one_hot(place, tasks.ways)


class CountTells(Honest):
    """The number of queries names a way."""

    def predict(self, tasks: Tasks) -> Tensor:
        """That is more likely."""
        way = torch.tensor(tasks.query_x.shape[1] % tasks.ways)
        return super().predict(tasks) + 0.1 * F.one_hot(way, tasks.ways)


class TrainsAtTest(Honest):
    """It learns of the queries that it has answered."""

    def __init__(self, hparams, info, backbone) -> None:  # type: ignore[no-untyped-def]
        super().__init__(hparams, info, backbone)
        self.centre = nn.Parameter(torch.zeros(()))

    def predict(self, tasks: Tasks) -> Tensor:
        """A step towards their mean after each task."""
        scores = super().predict(tasks) * (1 + self.centre)
        self.centre.data += 0.1 * (tasks.query_x.mean() - self.centre)
        return scores


class Unreached(EmbeddingMethod):
    """A parameter that the loss does not use."""

    def __init__(self, hparams, info, backbone) -> None:  # type: ignore[no-untyped-def]
        super().__init__(hparams, info, backbone)
        self.idle = nn.Parameter(torch.zeros(3))

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Without it."""
        return near(query, means(support, support_y, ways))


PLANTED = {
    HoldsBatchNorm: "normalising layers",
    NormalisesBatch: "query independence",
    FavoursFirst: "renamed ways",
    SortedSupport: "support order",
    LastTask: "state between tasks",
    Remembers: "state between tasks",
    ReadsGlobal: "query labels",
    ReadsBank: "query labels",
    Draws: "random numbers",
    SortedQueries: "query order",
    CountTells: "number of queries",
    TrainsAtTest: "state between tasks",
    Unreached: "gradients",
}
QUICK = {HoldsBatchNorm, LastTask, ReadsBank}
"""The others are tried in the slow suite."""


@pytest.mark.parametrize(
    ("method", "name"),
    [pytest.param(*one, marks=() if one[0] in QUICK else pytest.mark.slow, id=one[0].__name__) for one in PLANTED.items()],
)
def test_a_planted_fault_is_found_by_its_check(method: type, name: str) -> None:
    """With the numbers that show it."""
    with pytest.raises(CheckFailed, match=rf"(?m)^{name}: .*\d|^{name}: .* (batch|generator)"):
        check_method(method)


def test_an_honest_method_passes_and_a_skip_is_no_pass() -> None:
    """What cannot be tried is listed with its reason."""
    audit = check_method(Honest)
    assert audit["query independence"].standing == "passed"
    assert audit["gradients"].standing == "skipped" and "trained = False" in audit["gradients"].said


def test_query_independence_is_excused_by_no_one() -> None:
    """Other checks are, for a reason; an expectation that does not come true is told."""
    with pytest.raises(UsageError, match="cannot be excused"):
        check_method(NormalisesBatch, expected={"query independence": "it is meant"})
    assert check_method(FavoursFirst, expected={"renamed ways": "it is meant"})["renamed ways"].standing == "skipped"
    with pytest.raises(UsageError, match="but passes"):
        check_method(Honest, expected={"determinism": "it is meant"})


@pytest.mark.parametrize("name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in METHODS])
def test_every_registered_method_passes(name: str) -> None:
    """Whoever brings it."""
    audit = audit_method(registry.find("methods", name))
    assert audit.having("failed") == [] and audit.passed


def test_a_network_of_images_that_normalises_is_asked_for_what_it_takes_alone() -> None:
    """MAML takes functions and mode `none` too; conv4 takes neither, and what is not asked is skipped with its reason."""
    audit = audit_method(registry.find("methods", "maml"), registry.find("backbones", "conv4-32").load())
    assert audit.having("failed") == [] and audit.passed
    skipped = {one.name: one.said for one in audit.having("skipped")}
    assert "the backbone takes no such inputs" in skipped["shapes (regression)"]
    assert "the backbone normalises" in skipped["normalisation none (classification)"]


def test_functions_have_no_class_balance() -> None:
    """What is not asked does not pass."""
    audit = audit_method(registry.find("methods", "maml"))
    assert audit["class balance of queries (regression)"].standing == "skipped"
