"""A test of a method under an inductive protocol, on patterns under noise."""

from typing import Any

import numpy as np
import torch

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.learning.base import Conditions, Method, MethodInfo, NoHparams
from fewshot_bench.runs.checks.inductive import InductiveCheck
from fewshot_bench.runs.testing import episode_scores
from fewshot_bench.specs import TestSpec

CLASSES, EACH, SIDE = 20, 40, 8
USUAL = EpisodeSize(5, 1, 15)
INFO = MethodInfo("classification", 5, 5, (1, SIDE, SIDE), CLASSES)


def bank() -> MemmapBank:
    """Classes that are a pattern under noise which is larger."""
    dice = np.random.default_rng(0)
    images = dice.integers(80, 176, (CLASSES, 1, 1, SIDE, SIDE)) + dice.integers(-80, 80, (CLASSES, EACH, 1, SIDE, SIDE))
    names = tuple(f"class{i}" for i in range(CLASSES))
    starts = np.arange(CLASSES + 1) * EACH
    return MemmapBank(images.reshape(-1, 1, SIDE, SIDE).astype(np.uint8), names, starts, "patterns")


def checked(
    method: Method,
    size: EpisodeSize = USUAL,
    episodes: int = 300,
    part: range | None = None,
    chunk: int = 12,
    **more: Any,
) -> Any:
    """Scores of a checked test."""
    source = TaskSource(bank(), sampler_of(bank(), size, 0), torch.device("cpu"), more.pop("dtype", torch.float32))
    conditions = {"protocol": "standard", "dataset": "patterns", "data": {}, "seed": 0, "normalisation": "none"}
    sizes = {name: value for name, value in vars(size).items() if value is not None}
    spec = TestSpec.checked(conditions | sizes | {"episodes": episodes} | more)
    check = InductiveCheck(method, spec, Conditions(), source, part)
    return np.concatenate(list(episode_scores(method, source, Conditions(), episodes, chunk, part, check)))


def build(method: type[Method]) -> Method:
    """One of `cheats`."""
    return method(NoHparams(), INFO, None)
