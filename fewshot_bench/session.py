"""A run with its data open: what training and testing need, and who hears how they go."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_bench.dataset import Progress
from fewshot_bench.method import Conditions, Method
from fewshot_bench.plan import Plan, choose_plan
from fewshot_bench.prepare import Prepared
from fewshot_bench.randomness import ForkedGenerator, derive_seed
from fewshot_bench.records import Scores
from fewshot_bench.resolve import Resolved
from fewshot_bench.sampling import EpisodeSampler
from fewshot_bench.specs import TestSpec, short_hash
from fewshot_bench.statistics import score_interval
from fewshot_bench.tasks import TaskSource
from fewshot_bench.testing import episode_scores
from fewshot_bench.training import Progressed, Trainer


class Listener:
    """Who hears how a run goes; this one hears nothing and never asks to stop."""

    def preparing(self, name: str) -> Progress:
        """Called before a data set is prepared; the result is called with (done, total) images."""
        return lambda done, total: None

    def training(self, at: Progressed, updates: int) -> None:
        """Called before training, with the state that it starts from."""

    def trained(self, at: Progressed, loss: float) -> None:
        """Called after each update."""

    def stopped(self) -> bool:
        """Whether training should stop after the present update."""
        return False

    def testing(self, spec: TestSpec) -> None:
        """Called before a test."""

    def tested(self, scores: Scores) -> None:
        """Called after each block with all scores so far."""

    def note(self, text: str) -> None:
        """Called with something that a user should know."""


@dataclass
class Session:
    """A resolved run with its data open: what training and testing need."""

    resolved: Resolved
    prepared: Prepared
    plan: Plan
    method: Method
    generator: ForkedGenerator

    @classmethod
    def open(cls, resolved: Resolved, prepared: Prepared, plan: Plan | None) -> "Session":
        """Build the method with fresh parameters under `plan`, or under one chosen now."""
        train, test = resolved.train, resolved.test
        if plan is None:
            images = train.ways * (train.shots + train.queries)
            plan = choose_plan(resolved.device, images, train.meta_batch_size, test.ways * (test.shots + test.queries))
        device = plan.apply()
        generator = ForkedGenerator(derive_seed(train.seed, "method"), device)
        classes = len(prepared.bank(train.split).class_names)
        with generator.active():
            method = resolved.build(prepared.shape, classes).to(device, getattr(torch, train.dtype))
        return cls(resolved, prepared, plan, method, generator)

    def source(self, split: str, ways: int, shots: int, queries: int, seed: int) -> TaskSource:
        """Tasks of one size from a split."""
        bank = self.prepared.bank(split)
        sampler = EpisodeSampler(bank, ways, shots, queries, seed)
        return TaskSource(bank, sampler, torch.device(self.plan.device), getattr(torch, self.resolved.train.dtype))

    def trainer(self, folder: Path) -> Trainer:
        """The trainer of this run."""
        spec, rules = self.resolved.train, self.resolved.train.validation
        tasks = self.source(spec.split, spec.ways, spec.shots, spec.queries, spec.seed)
        validation = self.source("val", rules.ways, rules.shots, rules.queries, 0) if rules else None
        return Trainer(spec, self.method, self.plan, self.generator, tasks, validation, folder)

    def test(self, spec: TestSpec, listener: Listener) -> tuple[dict[str, Any], Scores]:
        """Test under `spec`: the result for the record, and the score of each episode."""
        source = self.source("test", spec.ways, spec.shots, spec.queries, spec.seed)
        conditions = Conditions(spec.normalisation, spec.inner_steps)
        listener.testing(spec)
        started, scores = time.perf_counter(), np.empty(0)
        for block in episode_scores(self.method, source, conditions, spec.episodes, self.plan.test_chunk):
            scores = np.concatenate([scores, block])
            listener.tested(scores)
        interval = score_interval([scores], trials=spec.ways * spec.queries)
        result = {
            "id": result_id(spec),
            "test": spec.model_dump(),
            "metric": "accuracy",
            "direction": "max",
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "level": interval.level,
            "interval": interval.method,
            "digest": source.sampler.digest(spec.episodes),
            "source_sha256": self.resolved.source_sha256,
            "cost": {"test_s": round(time.perf_counter() - started, 3)},
        }
        return result, scores


def result_id(spec: TestSpec) -> str:
    """The identity of a result within its record."""
    return short_hash(spec.model_dump())
