"""Small tasks for tests of methods: a bank of random images, and any registered method built for it."""

import numpy as np
import torch
from held import held
from torch import Tensor

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.episodes.protocols import test_default as default_test_mode
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.specs import Kind
from fewshot_methods.backbones.conv4 import Conv4

SHAPE = (1, 28, 28)
CLASSES = 12


VARIANTS = {
    "matching-networks, fce": ("matching-networks", {"fce": True}),
    "prototypical-networks, cosine": ("prototypical-networks", {"distance": "cosine"}),
    "r2d2, fixed penalty": ("r2d2", {"learn_penalty": False}),
}
"""Hyper-parameters that make another computation of a method, by a name of the tests."""


def blobs(classes: int = CLASSES, images: int = 20, seed: int = 0) -> MemmapBank:
    """Classes of noisy copies of a random pattern: easy to tell apart."""
    random = np.random.default_rng(seed)
    patterns = random.integers(0, 256, (classes, 1, *SHAPE))
    noise = random.integers(-40, 41, (classes, images, *SHAPE))
    pixels = np.clip(patterns + noise, 0, 255).astype(np.uint8).reshape(-1, *SHAPE)
    names = tuple(f"class{c}" for c in range(classes))
    return MemmapBank(pixels, names, np.arange(classes + 1, dtype=np.int64) * images, f"blobs-{classes}-{images}-{seed}")


def tasks_of(bank: MemmapBank, count: int = 4, ways: int = 5, shots: int = 1, queries: int = 3) -> Tasks:
    """The first `count` tasks of a bank, float64 on the CPU."""
    sampler = EpisodeSampler(bank, ways, shots, queries, seed=0)
    return TaskSource(bank, sampler, torch.device("cpu"), torch.float64).tasks(0, count)


def varying_tasks(bank: MemmapBank, size: EpisodeSize, count: int = 4) -> list[Tasks]:
    """The first `count` tasks of a bank, of any size and each by itself, float64 on the CPU."""
    source = TaskSource(bank, sampler_of(bank, size, seed=0), torch.device("cpu"), torch.float64)
    return [source.tasks(i, 1) for i in range(count)]


def waves(count: int = 4, shots: int = 5, queries: int = 10) -> Tasks:
    """The first `count` sinusoids, float64 on the CPU."""
    sampler = FunctionSampler(registry.find("datasets", "sinusoid").load()(), "train", shots, queries, seed=0)
    return FunctionSource(sampler, torch.device("cpu"), torch.float64).tasks(0, count)


def build(
    name: str, ways: int = 5, shots: int = 2, seed: int = 0, kind: Kind = "classification", *, backbone: str = "small"
) -> Method:
    """A registered method or a variant in float64 with its own defaults, on a small network unless told, for up to `shots`
    shots."""
    name, hparams = VARIANTS.get(name, (name, {}))
    method_class = registry.find("methods", name).load()
    shape = SHAPE if kind == "classification" else (1,)
    ways = ways if kind == "classification" else 1
    seen = ways if method_class.trains_on == "episodes" else 0
    info = MethodInfo(kind, seen, seen * shots, shape, CLASSES)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = network_of(backbone, kind) if method_class.needs_backbone else None
        method: Method = method_class(build_hparams(method_class.Hparams, hparams), info, network).double()
    held(method, Conditions(method_class.default_mode if kind == "classification" else "none"))
    return method


def network_of(name: str, kind: Kind) -> Backbone:
    """A registered backbone, or one of 16 filters, the fewest that the kernels serve: Conv4 (`small`, `small-strided`), so
    that tests of every method are fast; the MLP for functions."""
    if kind == "classification" and name.startswith("small"):
        strided = name == "small-strided"
        return Conv4(SHAPE, filters=16, strided=strided, scale=not strided, eps=1e-5)
    name, shape = ("mlp-40", (1,)) if kind == "regression" else (name, SHAPE)
    network: Backbone = registry.find("backbones", name).load()(shape)
    return network


def for_test(method: Method) -> Method:
    """The method as the engine hands it to an inductive test."""
    method.eval()
    mode = default_test_mode(type(method).default_mode, transductive=False)
    held(method, Conditions("none" if method.info.kind == "regression" else mode))
    return method


def concat(parts: list[Tensor]) -> Tensor:
    """Results of single tasks as one batch."""
    return torch.cat(parts, 0)
