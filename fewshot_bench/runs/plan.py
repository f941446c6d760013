"""The execution plan: how the work is laid out on this machine. Chosen once, stored, and used again on resume.

Two runs are equal bit for bit only under one plan, because the order of floating-point sums depends on it. So it is chosen
from what is the same on every machine of a kind: how much memory a task needs is measured, how much is free is not asked.
"""

import ctypes
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fewshot_bench import kernels, threads
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.copies import copy_of
from fewshot_bench.specs import TrainSpec

ROOM_MIB = {"cpu": 1024, "mps": 2048, "cuda": 16384}
"""What a chunk of tasks may keep for its gradient."""
IMAGES_AT_ONCE = {"cpu": 1024, "mps": 4096, "cuda": 16384}
"""How many images a chunk of tasks may hold in a test."""


@dataclass(frozen=True)
class Plan:
    """Device, threads, tasks computed at once in training and in testing, and whether our kernels serve (on a CPU)."""

    device: str
    threads: int
    train_chunk: int
    test_chunk: int
    kernels: bool = False

    def apply(self) -> torch.device:
        """Set the process up for this plan and return its device; raises `kernels.Unavailable` where its kernels cannot be
        had, and `FewshotError` for threads that it cannot have."""
        threads.use(self.threads)
        if self.kernels:
            kernels.library()
        keep_freed_memory()
        return torch.device(self.device)

    def as_json(self) -> dict[str, Any]:
        """The plan as it stands in a record."""
        return asdict(self)

    def with_chunk_for(self, method: Method, spec: TrainSpec) -> "Plan":
        """This plan with as many tasks at once in training as have room, by what one task of `spec` keeps."""
        if not (method.trained and spec.updates) or spec.batch_size is not None or spec.sizes_differ:
            return self  # tasks of different sizes are not computed together
        room = ROOM_MIB[torch.device(self.device).type] * 2**20
        kept = kept_bytes(method, spec, kernels=self.kernels)
        return replace(self, train_chunk=max(1, min(spec.meta_batch_size, room // max(1, kept))))


def choose_plan(device: str, test_images: int, asked: int | None = None) -> Plan:
    """A plan for tests of `test_images` images a task, of the threads that are `asked` for or may be had; one task at once
    in training (see `with_chunk_for`)."""
    kind = torch.device(device).type
    chunk = max(1, IMAGES_AT_ONCE[kind] // test_images)
    return Plan(device, threads.threads(asked), 1, chunk, kernels=kind == "cpu")


def kept_bytes(method: Method, spec: TrainSpec, *, kernels: bool) -> int:
    """Bytes that the loss of one training task keeps for its gradient: every tensor that autograd saves, once. First-order
    inner steps count in full, though each is forgotten before the next."""
    trial = copy_of(method).train()  # it may count what it sees
    saved: dict[int, Tensor] = {}  # by address, which no other tensor takes as long as this one lives

    def save(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.detach()
        return tensor.detach()  # with its graph, what an operation saves of its own result would keep itself for ever

    task = blank_task(method.info, EpisodeSize.of(spec), next(method.parameters()))
    under = trial.under(Conditions(spec.normalisation, kernels=kernels))
    with seeded(0, task.support_x.device), under, torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss = trial.loss(task)
    del loss
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def blank_task(info: MethodInfo, size: EpisodeSize, like: Tensor) -> Tasks:
    """One task, the largest of a size, whose images are noise (of a generator of its own); of the dtype and on the device
    of `like`."""
    generator = torch.Generator().manual_seed(0)
    ways, shots, kind = size.largest_ways, size.largest_shots, info.kind
    unlabelled = size.unlabelled * (ways + size.distractors)

    def noise(count: int, *shape: int) -> Tensor:
        return torch.rand(1, count, *shape, generator=generator).to(like)

    def targets(each: int) -> Tensor:
        return noise(each, 1) if kind == "regression" else torch.arange(ways, device=like.device).repeat(1, each)

    return Tasks(
        support_x=noise(ways * shots, *info.input_shape),
        support_y=targets(shots),
        query_x=noise(ways * size.queries, *info.input_shape),
        query_y=targets(size.queries),
        ways=ways,
        key=torch.zeros(1, dtype=torch.int64, device=like.device),
        kind=kind,
        unlabelled_x=noise(unlabelled, *info.input_shape) if unlabelled else None,
    )


def resolve_device(given: str) -> str:
    """The device that `--device` names; `auto` takes an accelerator where there is one.

    Raises `UsageError` for a device that is unknown or missing: there is no silent fallback.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if given == "auto":
        return "cuda" if "cuda" in available else "mps" if "mps" in available else "cpu"
    if given not in available:
        raise UsageError(f"Device {given!r} is not available here. Available: auto, {', '.join(available)}.")
    return given


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step: pages mapped anew for each large tensor cost a training step
    on a CPU up to half its time. Elsewhere nothing is done."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-1, 2**31 - 1), (-2, 2**26), (-3, 2**30)):  # trim threshold, top pad, mmap threshold
            mallopt(option, value)
