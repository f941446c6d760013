"""Methods for tests, named by their file, that draw from random generators of their own, wherever these are kept."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from linear_method import Linear, LinearHparams
from torch import Tensor, nn

from fewshot_bench import Backbone, MethodInfo, Tasks

RNG = np.random.default_rng(0)
GEN = torch.Generator().manual_seed(0)
PYTHON = random.Random(0)
OLD = np.random.RandomState(0)
HELD = {"rng": [np.random.default_rng(1)]}


class Noisy(Linear):
    """Noise on the queries in training."""

    def noise(self, like: Tensor) -> Tensor:
        """From numpy's generator in the module."""
        return torch.from_numpy(RNG.normal(size=tuple(like.shape))).to(like)

    def loss(self, tasks: Tasks) -> Tensor:
        """Of the noisy queries."""
        return super().loss(replace(tasks, query_x=tasks.query_x + self.noise(tasks.query_x)))


class OfTorch(Noisy):
    """From torch's."""

    def noise(self, like: Tensor) -> Tensor:
        """In the module."""
        return torch.randn(like.shape, generator=GEN)


class OfPython(Noisy):
    """From Python's."""

    def noise(self, like: Tensor) -> Tensor:
        """One number for all."""
        return torch.full_like(like, PYTHON.gauss(0, 1))


class OfOldNumpy(Noisy):
    """From numpy's old kind, which keeps every second Gaussian."""

    def noise(self, like: Tensor) -> Tensor:
        """An odd number of draws."""
        return torch.full_like(like, OLD.randn(3).sum())


class InContainers(Noisy):
    """In a list in a dict."""

    def noise(self, like: Tensor) -> Tensor:
        """One number for all."""
        return torch.full_like(like, HELD["rng"][0].normal())


class InClass(Noisy):
    """An attribute of the class."""

    rng = np.random.default_rng(0)

    def noise(self, like: Tensor) -> Tensor:
        """One number for all."""
        return torch.full_like(like, self.rng.normal())


class InDefault(Noisy):
    """A default argument."""

    def noise(self, like: Tensor, rng: np.random.Generator = np.random.default_rng(0)) -> Tensor:  # noqa: B008
        """One number for all."""
        return torch.full_like(like, rng.normal())


def drawing() -> Callable[[], float]:
    """A function that draws."""
    rng = np.random.default_rng(0)
    return lambda: float(rng.normal())


class InClosure(Noisy):
    """A variable of a function that made a function."""

    draw = staticmethod(drawing())

    def noise(self, like: Tensor) -> Tensor:
        """One number for all."""
        return torch.full_like(like, self.draw())


class InItself(Noisy):
    """An attribute of the method, from which its parameters are drawn too."""

    def __init__(self, hparams: LinearHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.rng, self.turns = np.random.default_rng(7), (i for i in range(3))  # what cannot be copied

    def noise(self, like: Tensor) -> Tensor:
        """One number for all."""
        return torch.full_like(like, self.rng.normal())


class WhenBuilt(Linear):
    """Parameters drawn from the module's."""

    def __init__(self, hparams: LinearHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        nn.init.normal_(self.map.weight, generator=GEN)


class AtTest(Linear):
    """Scores with noise from the module's."""

    def predict(self, tasks: Tasks) -> Tensor:
        """In training and at test."""
        scores = super().predict(tasks)
        return scores * (1 + 0.5 * torch.from_numpy(RNG.normal(size=tuple(scores.shape))).to(scores))


class Flat(Backbone):
    """A linear map of the pixels."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.channels = 8, {}
        self.weight = nn.Parameter(torch.empty(math.prod(shape), 8))

    def forward(self, x: Tensor) -> Tensor:
        """Features [n, D]."""
        return x.flatten(1) @ self.weight

    def embed(self, x: Tensor, params: Any, given: Any = None) -> Any:
        """Features [T, n, D]."""
        return x.flatten(2) @ params["weight"], {}


def factory(shape: tuple[int, ...]) -> Flat:
    """A backbone whose parameters are drawn from the module's."""
    made = Flat(shape)
    nn.init.normal_(made.weight, generator=GEN)
    return made
