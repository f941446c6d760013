"""Whether an installation looks healthy: the known causes of slowness, looked for in what was measured."""

import ctypes
import sys
from collections.abc import Iterator, Sequence

import torch

from fewshot_bench.bench.machine import Machine
from fewshot_bench.bench.measure import Measured
from fewshot_bench.kernels import Unavailable, library

GAIN = 0.25
"""What each further thread must add at least, in threads. (The second hardware thread of a core adds nothing.)"""
CONVOLUTION = 0.25
"""The share of the matrix product's speed that a convolution must reach at least. A sound one reaches 0.8 and more on a
CPU."""


def troubles(machine: Machine, works: Sequence[Measured]) -> list[str]:
    """What looks wrong, each in a few words; empty for a healthy installation."""
    return [*(_processor(machine) if machine.device == "cpu" else ()), *_peaks(machine), *_floors(works)]


def verdict(found: Sequence[str]) -> str:
    """One line for people."""
    return f"This installation looks slow: {'; '.join(found)}." if found else "This installation looks healthy."


def floor_ratio(measured: Measured, works: Sequence[Measured]) -> float | None:
    """The ratio to learn2learn to which the work's floor applies, if it was measured."""
    name, source = measured.work.beside or (measured.work.name, measured.work.sources[0])
    rates = {(other.work.name, s): rate for other in works for s, rate in other.peer_rates.items()}
    return measured.rate / rates[name, source] if (name, source) in rates else None


def _processor(machine: Machine) -> Iterator[str]:
    if machine.threads == 1 and machine.cores > 2:
        yield f"1 thread on a machine of {machine.cores} cores (CPU affinity or the container's limit)"
    try:
        library()
    except Unavailable as error:
        yield f"the fast kernels are not available: {error}"
    if not torch.backends.mkldnn.is_available():
        yield "this torch lacks oneDNN, which has the fast convolutions"
    if machine.capability == "DEFAULT":
        yield "this torch uses no vector instructions of the processor"
    if sys.platform == "linux" and not hasattr(ctypes.CDLL(None), "mallopt"):
        yield "the C library is not glibc: freed memory cannot be kept for the next step"


def _peaks(machine: Machine) -> Iterator[str]:
    if machine.matmul_one_thread_gflops is not None:
        gain = machine.matmul_gflops / machine.matmul_one_thread_gflops
        if gain < 1 + GAIN * (machine.threads - 1):
            yield f"{machine.threads} threads are {gain:.1f} times as fast as one (other work, or a limit on processor time)"
    if machine.conv_gflops < CONVOLUTION * machine.matmul_gflops:
        yield f"convolutions run at {machine.conv_gflops / machine.matmul_gflops:.0%} of a matrix product's speed"


def _floors(works: Sequence[Measured]) -> Iterator[str]:
    for measured in works:
        ratio = floor_ratio(measured, works)
        if ratio is not None and ratio < measured.work.floor:
            yield f"{measured.work.title} at {ratio:.1f} times learn2learn's speed, not {measured.work.floor:g}"
