"""Small tasks for tests of methods: a bank of random images, and any registered method built for it."""

import numpy as np
import torch
from torch import Tensor

from fewshot_bench import plugins
from fewshot_bench.bank import MemmapBank
from fewshot_bench.method import Conditions, Method, MethodInfo, build_hparams
from fewshot_bench.normalisation import test_default as default_test_mode
from fewshot_bench.sampling import EpisodeSampler
from fewshot_bench.tasks import Tasks, TaskSource

SHAPE = (1, 28, 28)


def blobs(classes: int = 12, images: int = 20, seed: int = 0) -> MemmapBank:
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


def build(name: str, ways: int = 5, backbone: str = "conv4-64", seed: int = 0) -> Method:
    """A registered method in float64 with its own defaults."""
    method_class = plugins.find("methods", name).load()
    info = MethodInfo("classification", ways, ways, SHAPE, 12)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = plugins.find("backbones", backbone).load()(SHAPE) if method_class.needs_backbone else None
        method: Method = method_class(build_hparams(method_class.Hparams, {}), info, network).double()
    method.conditions = Conditions(method_class.default_mode)
    return method


def for_test(method: Method) -> Method:
    """The method as the engine hands it to an inductive test."""
    method.eval()
    method.conditions = Conditions(default_test_mode(type(method).default_mode, transductive=False))
    return method


def concat(parts: list[Tensor]) -> Tensor:
    """Results of single tasks as one batch."""
    return torch.cat(parts, 0)
