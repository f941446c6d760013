"""Tasks that are large for the machine train in bounded memory, by chunks of tasks, to the same gradient."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import large_task
import pytest
from command_line import one_thread
from large_task import Update
from torch import Tensor

from fewshot_bench.data.prepare import prepare
from fewshot_bench.request import Request
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import ROOM_MIB, choose_plan
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.session import Session

LIMIT_MIB = 8 * 1024
with_and_without_kernels = pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "torch"])
SMALLER = {
    "train.backbone": "conv4-64",
    "train.dtype": "float64",
    "train.meta_batch_size": 4,
    "train.queries": 2,
    "train.updates": 1,
    "train.split": "train+val",
    "train.selection": "last",
    "method.inner_steps": 5,
    "method.inner_lr": 0.1,
}


@cache
def large_update(kernels: bool) -> Update:
    """20-way 5-shot 15 queries, 5 inner steps, second order, Conv4-64 on 28x28: one update of 8 tasks."""
    return large_task.measured(kernels)


def gradients(kernels: bool, chunk: int, folder: Path) -> dict[str, Tensor]:
    """The meta-gradient of an update of 4 tasks, computed `chunk` at a time in float64."""
    settings = tuple(f"{key}={value}" for key, value in SMALLER.items())
    resolved = resolve(Request(method="maml", ways=5, shots=2, device="cpu", settings=settings))
    with one_thread():
        plan = replace(choose_plan("cpu", 20), train_chunk=chunk, kernels=kernels)
        session = Session.open(resolved, prepare("glyphs", resolved.dataset), plan)
        if session.plan.kernels != kernels:
            pytest.skip("the kernels cannot be had on this machine")
        session.trainer(folder).train(Listener())
    return {name: p.grad for name, p in session.method.named_parameters() if p.grad is not None}


@with_and_without_kernels
def test_a_large_second_order_update_stays_within_8_gib(kernels: bool) -> None:
    """The whole process, the libraries' own memory included."""
    assert large_update(kernels).peak_mib < LIMIT_MIB


@with_and_without_kernels
def test_a_large_update_is_cut_into_chunks_that_fit_the_room(kernels: bool) -> None:
    """Fewer tasks at once than the update has, as many as have room by what one keeps."""
    update = large_update(kernels)
    assert 1 <= update.chunk < large_task.TASKS
    assert update.chunk == max(1, int(ROOM_MIB["cpu"] / update.kept_mib))


@with_and_without_kernels
def test_what_a_task_keeps_is_reckoned_honestly(kernels: bool) -> None:
    """The session really takes that much, and at most 2.5 times as much: what lives for a moment comes on top."""
    update = large_update(kernels)
    assert 1 < update.used_mib / update.planned_mib < 2.5


@with_and_without_kernels
def test_chunks_of_one_give_the_gradient_of_all_tasks_at_once(kernels: bool, tmp_path: Path) -> None:
    """Each parameter's to 1e-8 of its largest entry, through five inner steps in float64."""
    apart, together = (gradients(kernels, chunk, tmp_path) for chunk in (1, 4))
    assert apart.keys() == together.keys()
    for name, expected in together.items():
        largest = expected.abs().max()
        assert largest > 0, name
        assert (apart[name] - expected).abs().max() <= 1e-8 * largest, name
