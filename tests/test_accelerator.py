"""An accelerator computes what the CPU computes, reproducibly, and is not made to wait.

Where there is none, two things can still be asserted: the arithmetic that accelerators alone use agrees with the CPU's
(made to run on the CPU), and no value is read back while an update is computed (device `meta` has none to read).
"""

import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from tiny import blobs, build, for_test, tasks_of
from torch import Tensor

from fewshot_bench import kernels
from fewshot_bench.data.bank import resident
from fewshot_bench.episodes.randomness import ForkedGenerator
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning import layers
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins import registry
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.training import Trainer
from fewshot_bench.specs import TrainSpec

TRAINED = [
    name
    for name, plugin in registry.registered("methods").items()
    if not plugin.missing()
    and plugin.load().trained
    and plugin.load().trains_on == "episodes"
    and not name.startswith("l2l-")
]
"""Those of episodes; the peer's own compute as the peer does."""
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
methods = pytest.mark.parametrize("name", TRAINED)
backbones = pytest.mark.parametrize("backbone", ["small", "small-strided"])
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine")

Result = tuple[Tensor, dict[str, Tensor]]


@pytest.fixture(autouse=True)
def _without_kernels() -> Iterator[None]:
    """Torch alone on the CPU, too: an independent computation, and no compiler is needed."""
    with kernels.serving(False):
        yield


def moved(tasks: Tasks, device: torch.device) -> Tasks:
    """The same tasks on another device."""
    held = {one.name: getattr(tasks, one.name) for one in fields(tasks)}
    return replace(tasks, **{name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)})


def loss_and_gradient(method: Method, tasks: Tasks) -> Result:
    """Loss of each task and the gradient of their sum, on the CPU."""
    loss = method.train().loss(tasks)
    loss.sum().backward()
    return loss.detach().cpu(), {name: p.grad.cpu() for name, p in method.named_parameters() if p.grad is not None}


def assert_same(ours: Result, theirs: Result) -> None:
    """The loss, and each parameter's gradient to 1e-8 of its largest entry."""
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-8, atol=0)
    assert ours[1].keys() == theirs[1].keys()
    for name, expected in theirs[1].items():
        largest = expected.abs().max()
        assert largest > 0, f"{name}: nothing to compare"
        assert (ours[1][name] - expected).abs().max() <= 1e-8 * largest, name


def train(name: str, folder: Path, updates: int) -> dict[str, Tensor]:
    """Weights and running statistics after so many updates in float32 on CUDA."""
    spec = TrainSpec.checked(
        {"method": name, "hparams": {}, "backbone": "conv4-64", "dataset": "blobs", "data": {}, "split": "train+val"}
        | {"selection": "last", "ways": 5, "shots": 1, "queries": 3, "normalisation": build(name).default_mode, "seed": 0}
        | {"meta_batch_size": 4, "updates": updates, "validation": None, "device": "cuda"}
    )
    bank = resident(blobs(), CUDA)
    source = TaskSource(bank, EpisodeSampler(bank, 5, 1, 3, 0), CUDA, torch.float32)
    method = build(name).to(CUDA, torch.float32)
    plan = Plan("cuda", 1, 4, 4)
    Trainer(spec, method, plan, ForkedGenerator(0, CUDA), source, None, folder).train(Listener())
    return {key: tensor.cpu() for key, tensor in method.state_dict().items()}


@backbones
@methods
def test_the_arithmetic_of_accelerators_agrees_with_the_cpus(
    name: str, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a task's own as matrix products of patches, not as convolutions: same loss and meta-gradient."""
    expected = loss_and_gradient(build(name, backbone=backbone), tasks_of(blobs()))
    asked = []

    def matrix_maps(x: Tensor, weight: Tensor, stride: int = 1) -> list[Tensor]:
        asked.append(weight.dim())
        return [layers._matrix_conv(x, weight, stride)]

    monkeypatch.setattr(layers, "task_maps", matrix_maps)
    assert_same(loss_and_gradient(build(name, backbone=backbone), tasks_of(blobs())), expected)
    assert asked


@backbones
@methods
def test_no_value_is_read_back_while_an_update_is_computed(name: str, backbone: str) -> None:
    """Reading one would make the CPU wait for the accelerator, which then waits for the CPU."""
    meta = torch.device("meta")
    method = build(name, backbone=backbone).to(meta).train()
    loss = method.loss(moved(tasks_of(blobs()), meta))
    loss.sum().backward()
    method.after_update()
    assert loss.shape == (4,)


@needs_cuda
@backbones
@methods
def test_cuda_gives_the_loss_and_the_meta_gradient_of_the_cpu(name: str, backbone: str) -> None:
    """In float64, from the same start and episodes."""
    expected = loss_and_gradient(build(name, backbone=backbone), tasks_of(blobs()))
    found = loss_and_gradient(build(name, backbone=backbone).to(CUDA), moved(tasks_of(blobs()), CUDA))
    assert_same(found, expected)


@needs_cuda
@methods
def test_cuda_gives_the_scores_of_the_cpu(name: str) -> None:
    """A test in float64, too."""
    tasks = tasks_of(blobs()).without_query_labels()
    with torch.no_grad():
        expected = for_test(build(name)).predict(tasks)
        found = for_test(build(name)).to(CUDA).predict(moved(tasks, CUDA))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-8, atol=1e-8)


@needs_cuda
def test_tasks_of_a_bank_on_cuda_are_those_of_the_memory_map() -> None:
    """The images that were copied there once, at the same episodes."""
    sampler = EpisodeSampler(blobs(), 5, 1, 3, 0)
    there = TaskSource(resident(blobs(), CUDA), sampler, CUDA, torch.float32).tasks(3, 4)
    here = TaskSource(blobs(), sampler, CPU, torch.float32).tasks(3, 4)
    for x in (there.support_x, there.support_y, there.query_x, there.targets, there.key):
        assert x.device.type == "cuda"
    for name in ("support_x", "support_y", "query_x", "query_y", "key"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name))


@needs_cuda
@methods
def test_two_trainings_on_cuda_are_equal_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Reproducible under one plan, as on the CPU."""
    first, second = train(name, tmp_path, updates=5), train(name, tmp_path, updates=5)
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key


@needs_cuda
@methods
def test_an_update_on_cuda_waits_only_for_its_loss(name: str, tmp_path: Path) -> None:
    """Once, where the loss is read: torch warns of every synchronisation."""
    train(name, tmp_path, updates=1)  # what is done once is done
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            few, many = (_synchronisations(heard, name, tmp_path, updates) for updates in (2, 6))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert many - few <= 4


def _synchronisations(heard: list[warnings.WarningMessage], name: str, folder: Path, updates: int) -> int:
    heard.clear()
    train(name, folder, updates)
    return sum("synchroniz" in str(one.message) for one in heard)
