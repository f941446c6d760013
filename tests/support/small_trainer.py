"""A trainer on blobs, for tests."""

from pathlib import Path

import torch
from tiny import blobs, build

from fewshot_bench.episodes.randomness import ForkedGenerator
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.training import Trainer
from fewshot_bench.specs import TrainSpec

CPU = torch.device("cpu")
VALIDATION: dict[str, object] = {
    "every": 2,
    "episodes": 6,
    "ways": 5,
    "shots": 1,
    "queries": 3,
    "normalisation": "running",
    "inner_steps": None,
}


def trainer(folder: Path, *, chunk: int = 2, validate: bool = True, **changes: object) -> Trainer:
    """A trainer of prototypical networks on blobs in float64."""
    fields = {"method": "prototypical-networks", "hparams": {}, "backbone": "conv4-64", "dataset": "blobs", "data": {}}
    fields |= {"ways": 5, "shots": 1, "queries": 3, "normalisation": "joint", "meta_batch_size": 2, "updates": 6, "seed": 0}
    fields |= {"validation": VALIDATION if validate else None, "dtype": "float64"}
    spec = TrainSpec.checked(fields | changes)
    source = TaskSource(blobs(), EpisodeSampler(blobs(), 5, 1, 3, 0), CPU, torch.float64)
    validation = TaskSource(blobs(seed=1), EpisodeSampler(blobs(seed=1), 5, 1, 3, 0), CPU, torch.float64)
    plan = Plan("cpu", 1, chunk, 4)
    return Trainer(spec, build(spec.method), plan, ForkedGenerator(0, CPU), source, validation if validate else None, folder)
