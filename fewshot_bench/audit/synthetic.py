"""Synthetic tasks for an audit: images of patterns under noise, images of noise alone, functions; the same on every machine.

Legend: B tasks, n points.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.data.functions import FunctionFamily, Values
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.episodes.philox import key_of, words
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import Source, TaskSource
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.specs import Kind

CLASSES, EACH = 20, 20
CPU = torch.device("cpu")


def bank(shape: tuple[int, ...], *, told: bool = True) -> MemmapBank:
    """Classes of a pattern under noise; of noise alone where nothing is to be `told` of an image's class."""
    drawn = words(key_of("audit", told), CLASSES * (EACH + 1) * math.prod(shape)) >> np.uint64(57)  # 0 to 127
    noise, patterns = np.split(drawn.reshape(CLASSES, EACH + 1, *shape), [EACH], 1)
    images = (noise + patterns if told else 2 * noise).astype(np.uint8).reshape(-1, *shape)
    names, starts = [f"class{i}" for i in range(CLASSES)], np.arange(CLASSES + 1) * EACH
    return MemmapBank(images, names, starts, f"audit-{told}")


class Waves(FunctionFamily):
    """Sine waves of any height and phase."""

    parameters: ClassVar = {"height": (0.5, 2.0), "phase": (0.0, math.pi)}
    domain = (-3.0, 3.0)

    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """The waves at x [B, n]."""
        return np.asarray(parameters["height"] * np.sin(x + parameters["phase"]))


class Unlearnable(Waves):
    """Values that nothing tells: digits far behind the point of a sine, of mean 0 and variance 1/3."""

    parameters: ClassVar = {"phase": (0.0, math.pi)}

    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """From -1 to 1 at x [B, n]."""
        return np.asarray(2 * np.modf(np.abs(np.sin(97 * x + parameters["phase"])) * 1e7)[0] - 1)


def source(
    kind: Kind, shape: tuple[int, ...], size: EpisodeSize, dtype: torch.dtype, *, told: bool = True, seed: int = 0
) -> Source:
    """Tasks of a kind and size; see `bank` for `told`."""
    if kind == "regression":
        family = Waves() if told else Unlearnable()
        return FunctionSource(FunctionSampler(family, "test", size.shots, size.queries, seed), CPU, dtype)
    images = bank(shape, told=told)
    return TaskSource(images, sampler_of(images, size, seed), CPU, dtype)
