"""Before a result is filed under an inductive protocol some of its episodes are scored again: cheats are found, the honest
pass."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import inductive_test
import numpy as np
import pytest
import torch
from cheats import (
    CHEATS,
    FITTED,
    HONEST,
    CentredEmbeddings,
    FitsClass,
    FitsGlobal,
    Holds,
    Honest,
    ImagesInTasks,
    Jumps,
    Labelless,
    MovedByQueries,
    Remembers,
)
from inductive_test import CLASSES, EACH, INFO, SIDE, build, checked
from torch import Tensor

from fewshot_bench.audit.trial import check_inductive
from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.base import Conditions, Method, NoHparams
from fewshot_bench.learning.copies import copy_of
from fewshot_bench.plugins import registry
from fewshot_bench.runs.checks.inductive import InductiveCheck, is_inductive
from fewshot_bench.runs.checks.rescoring import CAUSES
from fewshot_bench.runs.testing import episode_scores, scores_by_step, steps
from fewshot_bench.specs import TestSpec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several slow tiny work down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", CHEATS, ids=lambda method: method.__name__)
def test_a_cheat_is_refused_with_a_query_two_scores_and_what_to_do(method: type[Method]) -> None:
    """For the very thing that it does."""
    when, mend = CAUSES[CHEATS[method]]
    with pytest.raises(FewshotError) as refused:
        checked(build(method))
    first, second, third = str(refused.value).splitlines()
    assert f"{method.__name__} is not inductive, and protocol 'standard' is" in first
    assert second.startswith("Query ") and " of episode " in second and second.endswith(f"{when}.")
    assert third.startswith(mend.format(other=" and add --protocol standard-transductive"))
    assert third.endswith(f" Try: fsbench check cheats:{method.__name__}")


@pytest.mark.parametrize("method", HONEST, ids=lambda method: method.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_honest_method_passes(method: type[Method], dtype: torch.dtype) -> None:
    """Whatever it draws from the tasks' keys, keeps of supports or rules out."""
    assert checked(build(method), episodes=60, dtype=dtype).mean() > 0.3


@pytest.mark.parametrize("cheat", [FitsClass, FitsGlobal], ids=lambda method: method.__name__)
def test_the_check_changes_nothing_that_a_method_keeps_outside_itself(
    cheat: type[Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it refuses, what the test itself left is there, and no more."""
    monkeypatch.setattr(FitsClass, "kept", None)
    FITTED.clear()
    with pytest.raises(FewshotError):
        checked(build(cheat))
    assert (len(FITTED), vars(cheat).get("kept") is None) == ((0, False) if cheat is FitsClass else (1, True))


def test_a_copy_of_what_cannot_be_copied_shares_no_state() -> None:
    """Nor does its dtype change that of the method."""
    method = build(Holds)
    copy = copy_of(method)
    assert {*map(id, method.parameters())}.isdisjoint(map(id, copy.parameters()))
    copy.double()
    assert {x.dtype for x in method.parameters()} == {torch.float32}


SIZES = {
    "varying": EpisodeSize(2, 1, 15, max_ways=7, max_shots=4),
    "imbalanced": EpisodeSize(5, 1, 15, max_shots=4, imbalanced=True),
    "20-way": EpisodeSize(20, 5, 15),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_episodes_of_any_size_are_checked(size: EpisodeSize) -> None:
    """One at a time where they vary."""
    checked(build(Honest), size, 40)
    with pytest.raises(FewshotError, match="with other queries beside it"):
        checked(build(MovedByQueries), size, 40)


@pytest.mark.parametrize("episodes", [2, 3, 17])
@pytest.mark.parametrize("chunk", [1, 2, 16, 40])
@pytest.mark.parametrize("queries", [1, 15])
def test_few_episodes_of_few_queries_are_checked_in_any_chunks(episodes: int, chunk: int, queries: int) -> None:
    """From two episodes of one query a class on."""
    size = EpisodeSize(5, 1, queries)
    checked(build(Honest), size, episodes, chunk=chunk)
    with pytest.raises(FewshotError, match="not inductive"):
        checked(build(MovedByQueries), size, episodes, chunk=chunk)


def test_one_query_in_one_way_is_no_reason_to_fail() -> None:
    """There is nothing to replace, and nothing to refuse."""
    checked(build(Honest), EpisodeSize(2, 1, 1, max_ways=3), 4)


def test_unlabelled_images_of_a_task_may_be_used() -> None:
    """They are its own."""
    checked(build(Labelless), EpisodeSize(5, 1, 15, unlabelled=5), 40)


@pytest.mark.parametrize("different", [1, 10, 20])
@pytest.mark.parametrize("method", [Honest, ImagesInTasks], ids=lambda method: method.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_images_leave_nothing_but_roundings(
    different: int, method: type[Method], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one image in all, of one in two classes, of one a class: their distances are what rounding leaves of zero."""
    images = np.random.default_rng(0).integers(0, 256, (different, 1, SIDE, SIDE)).repeat(CLASSES * EACH // different, 0)
    equal = MemmapBank(images.astype(np.uint8), [f"c{i}" for i in range(CLASSES)], np.arange(CLASSES + 1) * EACH, "equal")
    monkeypatch.setattr(inductive_test, "bank", lambda: equal)
    for shots in (1, 5):
        checked(build(method), EpisodeSize(5, shots, 15), 40, dtype=dtype)


def test_a_method_that_is_not_continuous_passes_where_float64_agrees() -> None:
    """Rounding alone moves its scores by more than the bound."""
    checked(build(Jumps), dtype=torch.float32)


@pytest.mark.parametrize("part", [range(256), range(256, 300)])
def test_each_part_of_a_sharded_test_is_checked(part: range) -> None:
    """The first and the last."""
    with pytest.raises(FewshotError, match="not inductive"):
        checked(build(MovedByQueries), part=part)


def test_what_is_kept_from_earlier_episodes_is_found_where_there_were_any() -> None:
    """In a test of one chunk nothing is known from earlier ones."""
    checked(build(Remembers), episodes=200)
    with pytest.raises(FewshotError, match="when the same is asked of a copy"):
        checked(build(Remembers), episodes=300)


PROTOCOLS = {
    ("standard", "running", False): True,
    ("snell", "none", False): True,
    ("ravi", "episode-running", False): True,
    ("standard-regression", "none", False): True,
    ("custom", "running", False): True,
    ("custom", "joint", False): False,
    ("custom", "none", True): False,
    ("standard-transductive", "running", False): False,
    ("finn", "separate", False): False,
}


@pytest.mark.parametrize(("case", "expected"), PROTOCOLS.items(), ids=str)
def test_it_is_inductive_protocols_that_are_checked(case: tuple[str, Any, bool], expected: bool) -> None:
    """And `custom`, where neither the normalisation nor the method says otherwise."""
    protocol, normalisation, transductive = case
    spec = TestSpec.model_construct(protocol=protocol, normalisation=normalisation)
    declared = type("Declared", (Honest,), {"transductive": transductive})
    assert is_inductive(spec, declared) == expected


def test_a_trial_on_synthetic_tasks_finds_a_cheat_before_it_is_run() -> None:
    """As `fsbench list methods --check` makes it."""
    check_inductive(Honest)
    for cheat in (MovedByQueries, CentredEmbeddings, Remembers):
        with pytest.raises(FewshotError, match=f"{cheat.__name__} is not inductive"):
            check_inductive(cheat)


@pytest.mark.parametrize("name", ["prototypical-networks", "relation-networks", "r2d2", "maml", "nearest-centroid"])
def test_registered_methods_pass_untrained_too(name: str) -> None:
    """Where embeddings hardly differ rounding is much of every score."""
    check_inductive(registry.find("methods", name).load())


@pytest.mark.parametrize(
    ("chunk", "episodes"), [(1, 400), (3, 400), (10, 400), (12, 400), (15, 400), (16, 400), (40, 400), (40, 2000)]
)
def test_the_check_asks_for_few_tasks_beside_those_of_the_test(chunk: int, episodes: int) -> None:
    """As many whatever the test's length: a twentieth of 2,000, or little more."""
    asked = itertools.count()  # a number would be put back after each question

    class Counts(ImagesInTasks):
        def predict(self, tasks: Tasks) -> Tensor:
            for _ in range(len(tasks)):
                next(asked)
            return super().predict(tasks)

    checked(build(Counts), episodes=episodes, chunk=chunk)
    assert 64 <= next(asked) - episodes <= 125


def test_what_is_said_after_each_inner_step_is_checked_too() -> None:
    """A method of functions whose steps see the other points."""

    class Steps(Method):
        kinds = frozenset({"regression"})
        leak = 1.0

        def predict(self, tasks: Tasks) -> Tensor:
            return tasks.query_x.sin()

        def predict_steps(self, tasks: Tasks) -> Tensor:
            seen = self.leak * tasks.query_x.mean(1, keepdim=True)
            return torch.stack([self.predict(tasks) + seen, self.predict(tasks)])

    family = registry.find("datasets", "sinusoid").load()()
    source = FunctionSource(FunctionSampler(family, "test", 5, 10, 0), torch.device("cpu"), torch.float32)
    conditions = {"protocol": "standard-regression", "dataset": "sinusoid", "data": {}, "seed": 0, "normalisation": "none"}
    spec = TestSpec.checked(conditions | {"ways": 1, "shots": 5, "queries": 10, "episodes": 40, "inner_steps": 2})
    method = Steps(NoHparams(), replace(INFO, kind="regression"), None)

    def by_step() -> object:
        check = InductiveCheck(method, spec, Conditions(), source, ask=steps)
        return scores_by_step(method, source, Conditions(), 40, 9, check)

    with pytest.raises(FewshotError, match=r"(?s)not inductive.*with other queries.*--protocol custom"):
        by_step()
    method.leak = 0.0
    assert by_step() is not None
    check = InductiveCheck(method, spec, Conditions(), source)
    assert list(episode_scores(method, source, Conditions(), 40, 9, watch=check))
