"""The execution plan: how the work is laid out on this machine. Chosen once, stored, and used again on resume.

Two runs are equal bit for bit only under one plan, because the order of floating-point sums depends on it.
"""

import ctypes
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from fewshot_bench.errors import UsageError

IMAGES_AT_ONCE = {"cpu": 1024, "cuda": 16384, "mps": 4096}
"""How many images a chunk of tasks may hold: what keeps a training step of Conv4-64 under about 1 GiB on a CPU."""


@dataclass(frozen=True)
class Plan:
    """Device, threads, and tasks computed at once in training and in testing."""

    device: str
    threads: int
    train_chunk: int
    test_chunk: int

    def apply(self) -> torch.device:
        """Set the process up for this plan and return its device."""
        torch.set_num_threads(self.threads)
        keep_freed_memory()
        return torch.device(self.device)

    def as_json(self) -> dict[str, Any]:
        """The plan as it stands in a record."""
        return asdict(self)


def choose_plan(device: str, train_images: int, meta_batch_size: int, test_images: int) -> Plan:
    """A plan for tasks of `train_images` and `test_images` images each."""
    room = IMAGES_AT_ONCE[torch.device(device).type]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Plan(device, threads, min(meta_batch_size, max(1, room // train_images)), max(1, room // test_images))


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
