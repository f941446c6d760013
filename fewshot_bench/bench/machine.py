"""What this machine can do: peaks of a matrix product, of Conv4-64's convolutions and of the memory, measured now.

A peak is the best of many repetitions, after a warm-up, with the device synchronised (`torch.utils.benchmark`).

Legend: n images, C channels, O filters (64), H x H a map.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.bench.limits import CONV4_64, FILTERS, Layer, LayerSeconds

MIN_S = 0.1
"""How long each repetition takes at least."""
MATRIX = {"cpu": 2048, "cuda": 8192, "mps": 4096}
"""The side of the square matrices."""
BATCHES = {"cpu": (64, 256), "cuda": (512, 4096), "mps": (256, 1024)}
"""The numbers of images of a convolution. The faster one counts."""
ARRAY_MIB = 256
"""The size of each of three arrays: far more than a cache holds."""


@dataclass(frozen=True)
class Machine:
    """The peaks of one device, float32 throughout."""

    device: str
    device_name: str
    capability: str
    """The vector instructions that torch uses on the processor."""
    cores: int
    threads: int
    matmul_gflops: float
    matmul_one_thread_gflops: float | None
    """With one thread (CPU): it shows whether the others do any work."""
    conv_gflops: float
    """Forward and backward of Conv4-64's second block."""
    bandwidth_gbs: float
    layers: tuple[LayerSeconds, ...]
    """Seconds an image in each convolution of Conv4-64."""

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def measure_machine(device: str, threads: int) -> Machine:
    """Measure the peaks of `device`; takes a few seconds."""
    kind = torch.device(device).type
    layers = tuple(layer_seconds(layer, device, threads) for layer in CONV4_64)
    return Machine(
        device=device,
        device_name=torch.cuda.get_device_name(device) if kind == "cuda" else kind,
        capability=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count() or 1,
        threads=threads,
        matmul_gflops=matmul_gflops(device, threads),
        matmul_one_thread_gflops=matmul_gflops(device, 1) if kind == "cpu" and threads > 1 else None,
        conv_gflops=3 * CONV4_64[1].flops / layers[1].training / 1e9,
        bandwidth_gbs=bandwidth_gbs(device, threads),
        layers=layers,
    )


def best(a: Machine, b: Machine) -> Machine:
    """The better of two measurements of one machine, figure by figure: a peak is what is reached undisturbed."""
    pairs = zip(a.layers, b.layers, strict=True)
    return replace(
        a,
        matmul_gflops=max(a.matmul_gflops, b.matmul_gflops),
        matmul_one_thread_gflops=max(a.matmul_one_thread_gflops or 0, b.matmul_one_thread_gflops or 0) or None,
        conv_gflops=max(a.conv_gflops, b.conv_gflops),
        bandwidth_gbs=max(a.bandwidth_gbs, b.bandwidth_gbs),
        layers=tuple(LayerSeconds(min(x.forward, y.forward), min(x.training, y.training)) for x, y in pairs),
    )


def best_s(run: Callable[[], object], device: str, threads: int) -> float:
    """The shortest time that `run` took [s]."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # imported next: it misses a CUDA nobody asked for
    from torch.utils.benchmark import Timer

    waiting = "; wait()" if torch.device(device).type == "mps" else ""  # for CUDA the timer itself waits
    timer = Timer(f"run(){waiting}", globals={"run": run, "wait": torch.mps.synchronize}, num_threads=threads)
    return min(timer.blocked_autorange(min_run_time=MIN_S).times)


def matmul_gflops(device: str, threads: int) -> float:
    """The speed of a product of two square matrices."""
    side = MATRIX[torch.device(device).type]
    a, b = (torch.full((side, side), value, device=device) for value in (0.5, 0.25))
    out = torch.empty_like(a)
    return 2 * side**3 / best_s(lambda: torch.mm(a, b, out=out), device, threads) / 1e9


def bandwidth_gbs(device: str, threads: int) -> float:
    """The bandwidth of the triad a = b + 2 c (McCalpin's STREAM): two arrays read, one written."""
    values = ARRAY_MIB * 2**20 // 4
    a, b, c = (torch.zeros(values, device=device) for _ in range(3))
    return 3 * 4 * values / best_s(lambda: torch.add(b, c, alpha=2.0, out=a), device, threads) / 1e9


def layer_seconds(layer: Layer, device: str, threads: int) -> LayerSeconds:
    """Seconds an image: the best batch, and for the first layer the better of a convolution and a matrix product."""
    batches = BATCHES[torch.device(device).type]
    runs: list[tuple[int, Mapping[str, Callable[[], object]]]] = [(n, convolution(layer, n, device)) for n in batches]
    if layer.channels == 1:
        runs += [(n, product(layer, n, device)) for n in batches]
    forward, training = (min(best_s(run[name], device, threads) / n for n, run in runs) for name in ("forward", "training"))
    return LayerSeconds(forward, training)


def convolution(layer: Layer, n: int, device: str) -> dict[str, Callable[[], object]]:
    """The layer as a channels-last convolution of n images: forward, and forward with all gradients that are needed."""
    x = torch.full((n, layer.channels, layer.side, layer.side), 0.5, device=device)  # [n, C, H, H]
    weight = torch.full((FILTERS, layer.channels, 3, 3), 0.1, device=device)
    x, weight = (tensor.to(memory_format=torch.channels_last).requires_grad_() for tensor in (x, weight))
    wanted = (x, weight) if layer.channels > 1 else (weight,)  # images need no gradient

    def forward() -> Tensor:
        return F.conv2d(x.detach(), weight.detach(), padding=1)  # [n, O, H, H]

    grad = torch.ones_like(forward())

    def training() -> object:
        return torch.autograd.grad(F.conv2d(x if layer.channels > 1 else x.detach(), weight, padding=1), wanted, grad)

    return {"forward": forward, "training": training}


def product(layer: Layer, n: int, device: str) -> dict[str, Callable[[], object]]:
    """The first layer as a matrix product of ready patches [n*H*H, 9 C]: forward, and with the gradient of the filters."""
    patches = torch.full((n * layer.side**2, 9 * layer.channels), 0.5, device=device)
    filters = torch.full((9 * layer.channels, FILTERS), 0.1, device=device)
    grad = torch.ones(len(patches), FILTERS, device=device)

    def forward() -> Tensor:
        return patches @ filters  # [n*H*H, O]

    def training() -> object:
        return forward(), patches.T @ grad

    return {"forward": forward, "training": training}
