"""The plan: chunks of tasks by what one keeps, chosen without a trace, and read from old records."""

import copy
import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from cheats import Holds
from hypothesis import given
from hypothesis import strategies as st
from linear_method import Linear, LinearHparams
from tiny import SHAPE, build
from torch import Tensor
from training_spec import spec

from fewshot_bench import kernels
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Method, MethodInfo, NoHparams
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.runs import plan as plan_module
from fewshot_bench.runs.checks.run_time import long_test
from fewshot_bench.runs.plan import ROOM_MIB, Plan, choose_plan, kept_bytes
from fewshot_bench.specs import TestSpec

PLAN = Plan("cpu", 1, 1, 4)


def maml(**hparams: Any) -> Method:
    """MAML in float64 with other hyper-parameters."""
    method = build("maml", backbone="conv4-64")
    method.hparams = build_hparams(type(method).Hparams, hparams)
    return method


def dropout() -> Method:
    """A method that draws from torch's global generator in its loss."""
    return Linear(LinearHparams(), MethodInfo("classification", 5, 5, SHAPE, 12), None)


METHODS: dict[str, Callable[[], Method]] = {
    "maml": maml,
    "prototypical-networks": partial(build, "prototypical-networks"),
    "linear": dropout,
}
methods = pytest.mark.parametrize("name", METHODS)


class Keeps(Method):
    """A method whose loss keeps two tensors: `size` numbers, twice, and its one parameter."""

    def __init__(self, size: int) -> None:
        super().__init__(None, MethodInfo("classification", 5, 5, SHAPE, 12), None)
        self.size, self.rate = size, torch.nn.Parameter(torch.ones(1))

    def loss(self, tasks: Tasks) -> Tensor:
        """Keeps the numbers for the gradient of the rate."""
        numbers = torch.ones(self.size)
        return ((self.rate * numbers).sum() + (self.rate * numbers).sum())[None]

    def predict(self, tasks: Tasks) -> Tensor:
        """Never asked."""
        raise NotImplementedError


@pytest.mark.parametrize("size", [1000, 5000])
def test_kept_bytes_are_those_of_the_tensors_that_are_kept(size: int) -> None:
    """A tensor that two operations keep counts once."""
    assert 4 * size <= kept_bytes(Keeps(size), spec(), kernels=False) <= 4 * size + 2 * 64


def test_a_method_that_deepcopy_refuses_is_measured_and_timed() -> None:
    """One with a lock, a generator and a tensor with its graph."""
    method = Holds(NoHparams(), MethodInfo("classification", 5, 5, SHAPE, 12), None)
    assert kept_bytes(method, spec(), kernels=False) > 0
    conditions = {"protocol": "standard", "dataset": "noise", "data": {}, "seed": 0, "normalisation": "none"}
    test = TestSpec.checked(conditions | {"ways": 5, "shots": 1, "queries": 1, "episodes": 2})
    assert long_test(test, method, Plan("cpu", 1, 1, 1)) is None


@pytest.mark.parametrize("name", ["maml", "prototypical-networks"])
@pytest.mark.parametrize("change", ["queries", "shots", "ways"])
def test_larger_tasks_keep_more(name: str, change: str, computed_by: str) -> None:
    """Twice the queries, the shots or the ways: more, and not more than twice as much and what does not grow."""
    small, method = spec(name, shots=2, ways=3 if change == "ways" else 5), METHODS[name]()
    if change == "ways" and name == "maml":  # whose head has an output for each way
        small = small.model_copy(update={"ways": 5})
        large_method: Method = build(name, ways=10, backbone="conv4-64")
    else:
        large_method = method
    large = small.model_copy(update={change: 2 * getattr(small, change)})
    few, many = (
        kept_bytes(method, small, kernels=computed_by == "kernels"),
        kept_bytes(large_method, large, kernels=computed_by == "kernels"),
    )
    parameters = sum(p.nbytes for p in large_method.parameters())
    assert 1.2 * few < many < 2.05 * few + parameters


def test_each_inner_step_of_second_order_keeps_as_much_again(computed_by: str) -> None:
    """One of first order, though it is counted in full, keeps less."""
    one, two, three = (kept_bytes(maml(inner_steps=steps), spec(), kernels=computed_by == "kernels") for steps in (1, 2, 3))
    assert one < two < three
    assert three - two == pytest.approx(two - one, rel=0.25)
    assert kept_bytes(maml(first_order=True, inner_steps=3), spec(), kernels=computed_by == "kernels") < three


@pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
def test_what_is_kept_does_not_depend_on_what_memory_is_free(first_order: bool, computed_by: str) -> None:
    """Tensors that come and go meanwhile leave holes in the heap, which steps of first order fill again and again."""
    method, found = maml(first_order=first_order, inner_steps=3), []
    for size in (1, 1_000, 100_000):
        holes = [torch.empty(size + i) for i in range(20)]
        del holes[::2]
        found.append(kept_bytes(method, spec(), kernels=computed_by == "kernels"))
    assert max(found) - min(found) <= 64  # scalars may share an address with what was freed


@methods
def test_measuring_leaves_no_trace(name: str, computed_by: str) -> None:
    """Neither on the method (parameters, running sums, mode, conditions) nor on torch's global random state."""
    method = METHODS[name]()
    method.eval()
    weights, conditions, random = copy.deepcopy(method.state_dict()), method.conditions, torch.get_rng_state()
    kept_bytes(method, spec(name), kernels=computed_by == "kernels")
    assert all(torch.equal(value, weights[key]) for key, value in method.state_dict().items())
    assert method.conditions is conditions
    assert not method.training
    assert all(parameter.grad is None for parameter in method.parameters())
    method.train().after_update()  # would let collected statistics in
    assert all(torch.equal(value, weights[key]) for key, value in method.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@methods
def test_measuring_keeps_no_memory(name: str, computed_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial's graph, which holds its parameters and may be as large as the room, is gone afterwards."""
    method = METHODS[name]()
    loss, held = type(method).loss, list[weakref.ref[Tensor]]()

    def watched(trial: Method, tasks: Tasks) -> Tensor:
        held.extend(weakref.ref(parameter) for parameter in trial.parameters())
        return loss(trial, tasks)

    monkeypatch.setattr(type(method), "loss", watched)
    kept_bytes(method, spec(name), kernels=computed_by == "kernels")
    gc.collect()
    assert held
    assert [parameter() for parameter in held] == [None] * len(held)


@methods
def test_the_same_plan_is_chosen_twice(name: str, computed_by: str) -> None:
    """For the same method, also after random numbers have been drawn and a loss computed."""
    method, small = METHODS[name](), spec(name, meta_batch_size=1000)
    plan = replace(PLAN, kernels=computed_by == "kernels")
    first = plan.with_chunk_for(method, small)
    torch.rand(7)
    assert plan.with_chunk_for(method, small) == first
    assert plan.with_chunk_for(METHODS[name](), small) == first


@given(kept=st.integers(0, 2**36), tasks=st.integers(1, 100))
def test_a_chunk_is_from_one_task_to_all_and_has_room(kept: int, tasks: int) -> None:
    """Never none, even where one has no room; never more than an update has; as many as have room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "kept_bytes", lambda method, spec, kernels: kept)
        chunk = PLAN.with_chunk_for(Keeps(1), spec(meta_batch_size=tasks)).train_chunk
    room = ROOM_MIB["cpu"] * 2**20
    assert 1 <= chunk <= tasks
    assert chunk == 1 or chunk * kept <= room
    assert chunk == tasks or (chunk + 1) * kept > room


@pytest.mark.parametrize("change", [{"max_ways": 6}, {"max_shots": 3, "imbalanced": True}], ids=str)
def test_tasks_of_different_sizes_are_computed_one_at_a_time(change: dict[str, Any]) -> None:
    """However much room there is."""
    method = build("prototypical-networks")
    assert PLAN.with_chunk_for(method, spec("prototypical-networks", meta_batch_size=4)).train_chunk > 1
    assert PLAN.with_chunk_for(method, spec("prototypical-networks", meta_batch_size=4, **change)) == PLAN


def test_what_a_task_keeps_is_measured_with_its_unlabelled_images() -> None:
    """As many as the spec says."""
    seen = list[Tasks]()

    class Sees(Keeps):
        def loss(self, tasks: Tasks) -> Tensor:
            seen.append(tasks)
            return super().loss(tasks)

    for changes in ({"unlabelled": 4, "distractors": 2}, {}):
        kept_bytes(Sees(10), spec(**changes), kernels=False)
    some, none = (tasks.unlabelled_x for tasks in seen)
    assert some is not None
    assert some.shape == (1, 4 * (5 + 2), *SHAPE)
    assert none is None


def test_nothing_else_of_the_plan_changes(computed_by: str) -> None:
    """Device, threads, test chunk and kernels stay."""
    plan = Plan("cpu", 3, 1, 17, kernels=computed_by == "kernels")
    chosen = plan.with_chunk_for(maml(), spec(meta_batch_size=1000))
    assert chosen.train_chunk > 1
    assert chosen == Plan("cpu", 3, chosen.train_chunk, 17, kernels=plan.kernels)


def test_what_does_not_train_needs_no_chunk() -> None:
    """Neither a method without parameters, which has no loss either, nor a training of no updates."""
    assert PLAN.with_chunk_for(build("nearest-centroid"), spec("nearest-centroid", normalisation="none")) == PLAN
    assert PLAN.with_chunk_for(maml(), spec(updates=0)) == PLAN


def test_a_plan_is_read_from_a_record_as_it_was_written() -> None:
    """Also from one of a time when there were no kernels: they do not serve, so that it is the plan that it was."""
    for plan in (PLAN, choose_plan("cpu", 80)):
        assert Plan(**plan.as_json()) == plan
    old = Plan(**json.loads('{"device": "cpu", "threads": 2, "train_chunk": 3, "test_chunk": 4}'))
    assert old.kernels is False


def test_a_plan_that_is_applied_sets_threads_and_nothing_that_decides_a_computation(computed_by: str) -> None:
    """The threads as it says; whether the kernels serve is stated where something is computed."""
    before = torch.get_num_threads()
    maps, weight = torch.zeros(1, 1, 16, 8, 8), torch.zeros(16, 16, 3, 3)
    try:
        for threads in (2, 1):
            assert Plan("cpu", threads, 1, 1, kernels=False).apply() == torch.device("cpu")
            assert torch.get_num_threads() == threads
            assert kernels.serve(maps, weight) == (computed_by == "kernels")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_kernels_serve_on_a_cpu_alone(device: str) -> None:
    """And a test of the largest task still computes one at once."""
    plan = choose_plan(device, 10**9)
    assert plan.kernels == (device == "cpu")
    assert (plan.train_chunk, plan.test_chunk) == (1, 1)
