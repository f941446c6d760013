"""A run with its data open: what training and testing need."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_bench.data.bank import ImageBank
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.functions import FunctionData, FunctionFamily
from fewshot_bench.data.prepare import Prepared
from fewshot_bench.data.several import banks_of, resident
from fewshot_bench.engine import ENGINE
from fewshot_bench.episodes.augmentation import augmentations
from fewshot_bench.episodes.batches import BatchSource
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.episodes.own_generators import find, generators_of
from fewshot_bench.episodes.randomness import ForkedGenerator, host_generators
from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import MixedSource, Sampler, Source, TaskSource, VaryingShots
from fewshot_bench.episodes.standardisation import Standard
from fewshot_bench.episodes.varying import VaryingSampler, sampler_of
from fewshot_bench.identity import identify_result
from fewshot_bench.kernels import Unavailable
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.metrics import Metric, main_metric
from fewshot_bench.results.record_models import DataPart, ExtraPart, PlanPart, Result, SplitPart, StepPart, TestCost
from fewshot_bench.results.score_files import Scores
from fewshot_bench.results.statistics import Interval, is_disjoint, score_interval, trials_of
from fewshot_bench.runs.checks.inductive import InductiveCheck, is_inductive
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan, choose_plan
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.scores import ExtraScores, KeptAnswers, Scored, check_finite
from fewshot_bench.runs.testing import Ask, batch_size, episode_scores, prediction, scores_by_step, steps, watched_by
from fewshot_bench.runs.training import Trainer
from fewshot_bench.specs import TestSpec


@dataclass
class Session:
    """A resolved run with its data open: what training and testing need."""

    resolved: Resolved
    prepared: Prepared | FunctionData
    plan: Plan
    method: Method
    generator: ForkedGenerator
    tested: Prepared | FunctionData
    """What is tested on: `prepared` itself, or another data set."""
    banks: dict[str, ImageBank] = field(default_factory=dict)
    """By split, once opened; on an accelerator their images live there."""

    @classmethod
    def open(
        cls,
        resolved: Resolved,
        prepared: Prepared | FunctionData,
        plan: Plan | None,
        listener: Listener | None = None,
        tested: Prepared | FunctionData | None = None,
        threads: int | None = None,
    ) -> "Session":
        """Build the method with fresh parameters under `plan`, or under one chosen now, of `threads` where they are given;
        `tested` None: on `prepared`."""
        train, test = resolved.train, resolved.test
        chosen = plan or choose_plan(resolved.device, EpisodeSize.of(test).images, threads)
        try:
            device = chosen.apply()
        except Unavailable as error:
            (listener or Listener()).note(f"The fast kernels cannot be had: {error}. torch computes instead, more slowly.")
            chosen = replace(chosen, kernels=False)
            device = chosen.apply()
        generator = ForkedGenerator(derive_seed(train.seed, "method"), device)
        factory = [resolved.backbone.factory] if resolved.backbone else []
        with generator.active(), host_generators(find([resolved.method_class, *factory])) as seed_host:
            seed_host(derive_seed(train.seed, "host"))
            classes = prepared.training_classes(train.split) if train.updates else 0
            method = resolved.build(prepared.shape, classes).to(device, getattr(torch, train.dtype))
        generators_of(method)  # before it may make more
        if plan is None:
            chosen = chosen.with_chunk_for(method, train)
        return cls(resolved, prepared, chosen, method, generator, tested or prepared)

    @property
    def device(self) -> torch.device:
        """Where tasks are made."""
        return torch.device(self.plan.device)

    @property
    def dtype(self) -> torch.dtype:
        """What they are made of."""
        dtype: torch.dtype = getattr(torch, self.resolved.train.dtype)
        return dtype

    def source(self, split: str, size: EpisodeSize, seed: int, augment: Sequence[str] = ()) -> Source:
        """Tasks of a size from a split; `augment` is for training alone."""
        data = self._data(split)
        if isinstance(data, FunctionData):
            sampler = FunctionSampler(data.family, split, size.shots, size.queries, seed)
            return FunctionSource(sampler, self.device, self.dtype)
        sources = [
            TaskSource(bank, sampler_of(bank, size, seed), self.device, self.dtype, augment, self.standard)
            for bank in banks_of(self.bank(split))
        ]
        return sources[0] if len(sources) == 1 else MixedSource(sources, seed)

    def bank(self, split: str) -> ImageBank:
        """The images of a split, on the device where they fit there."""
        data = self._data(split)
        assert isinstance(data, Prepared), "functions have no images"
        if split not in self.banks:
            self.banks[split] = resident(data.bank(split), self.device)
        return self.banks[split]

    @cached_property
    def standard(self) -> Standard | None:
        """What standardises every image, also those of another data set that is tested on; None: nothing does."""
        train = self.resolved.train
        return Standard.of(self.bank(train.split)) if train.standardise else None

    def _data(self, split: str) -> Prepared | FunctionData:
        """The data set that a split is of."""
        return self.tested if split == "test" else self.prepared

    def trainer(self, folder: Path) -> Trainer:
        """The trainer of this run."""
        rules = self.resolved.train.validation
        validation = self.source("val", EpisodeSize.of(rules), 0) if rules else None
        spec, run_id = self.resolved.train, self.resolved.run_id
        return Trainer(spec, self.method, self.plan, self.generator, self._training_source(), validation, folder, run_id)

    def _training_source(self) -> Source | BatchSource:
        spec = self.resolved.train
        augment = augmentations(self.resolved.dataset, spec.augment)
        if spec.batch_size is not None:
            return BatchSource(
                self.bank(spec.split), spec.batch_size, spec.seed, self.device, self.dtype, augment, self.standard
            )
        size = EpisodeSize.of(spec)
        if spec.max_shots is None or spec.sizes_differ:
            return self.source(spec.split, size, spec.seed, augment)
        each = [replace(size, shots=shots, max_shots=None) for shots in range(size.shots, spec.max_shots + 1)]
        sources = [self.source(spec.split, one, spec.seed, augment) for one in each]
        return VaryingShots(sources, spec.meta_batch_size, spec.seed)

    def test(self, spec: TestSpec, listener: Listener, *, predictions: bool = False) -> tuple[Result, Scored]:
        """Test under `spec`: the result for the record, and what it was made of, which may hold `predictions`."""
        scored = self.score(spec, range(spec.episodes), listener, predictions=predictions)
        return self.result(spec, scored.scores, scored.test_s), scored

    def score(self, spec: TestSpec, part: range, listener: Listener, *, predictions: bool = False) -> Scored:
        """Score of each episode of `part`, which begins and ends between batches (`batch_size`), by the main metric and each
        that the test asks for besides, the answers to their queries, and the time taken [s]."""
        source, conditions = self.test_source(spec), self._conditions(spec)
        extra, answers = ExtraScores(spec.extra_metrics), KeptAnswers(predictions=predictions)
        watch = watched_by(extra, answers, self._inductive(spec, source, part))
        listener.testing(len(part))
        started, scores = time.perf_counter(), np.empty(0)
        for block in episode_scores(self.method, source, conditions, spec.episodes, self.plan.test_chunk, part, watch):
            scores = np.concatenate([scores, block])
            listener.tested(scores)
        check_finite(scores, "test episodes")
        return Scored({self.metric.name: scores, **extra.found()}, answers.found(), time.perf_counter() - started)

    @property
    def metric(self) -> Metric:
        """What every test measures."""
        return main_metric(self.method.info.kind)

    def _inductive(
        self, spec: TestSpec, source: Source, part: range | None = None, ask: Ask = prediction
    ) -> InductiveCheck | None:
        """What refuses answers that depend on other queries or tasks; None where the test promises nothing of the kind."""
        if not is_inductive(spec, type(self.method)):
            return None
        return InductiveCheck(self.method, spec, self._conditions(spec), source, part, ask)

    def result(self, spec: TestSpec, scores: Mapping[str, Scores], test_s: float) -> Result:
        """The result of all episodes' scores by metric, for the record."""
        sampler = self.test_source(spec).sampler
        made = _predictions(spec, sampler)
        said = {"test": spec.model_dump(), **made}
        about: dict[str, Any] = {"trials": trials_of(said), "disjoint": is_disjoint(said)}
        intervals = {name: score_interval([one], metric=name, **about) for name, one in scores.items()}
        interval = intervals.pop(self.metric.name)
        return Result.of(
            {
                "id": result_id(replace(self.resolved, test=spec)),
                "test": spec,
                **made,
                "metric": self.metric.name,
                "direction": self.metric.direction,
                **_interval(interval),
                **({"extra": {name: ExtraPart.of(_interval(one)) for name, one in intervals.items()}} if intervals else {}),
                "digest": sampler.digest(spec.episodes),
                "source_sha256": self.resolved.source_sha256,
                "engine": ENGINE,
                "plan": PlanPart.of(self.plan.as_json()),
                "cost": TestCost(test_s=round(test_s, 3)),
                **self._tested_on(spec),
                **self._by_step(spec),
            }
        )

    def _tested_on(self, spec: TestSpec) -> dict[str, DataPart]:
        """The data set of the test, where it is not the one that was trained on."""
        if self.resolved.test_data is self.resolved.dataset:
            return {}
        data = DataPart(
            name=spec.dataset,
            reference=self.resolved.test_reference,
            identity=self.resolved.test_data.identity(),
            fingerprint=self.tested.fingerprint,
            splits=described(self.tested, self.resolved.test_data, "test"),
        )
        return {"data": data}

    def _by_step(self, spec: TestSpec) -> dict[str, list[StepPart]]:
        """For regression, the mean after each inner step and its interval."""
        if self.method.info.kind != "regression":
            return {}
        source, conditions = self.test_source(spec), self._conditions(spec)
        check = self._inductive(spec, source, ask=steps)
        found = scores_by_step(self.method, source, conditions, spec.episodes, self.plan.test_chunk, check)
        each = [] if found is None else list(found)
        for step, scores in enumerate(each, 1):
            check_finite(scores, f"test episodes after inner step {step}")
        intervals = [score_interval([scores], trials=0, metric=self.metric.name) for scores in each]
        rows = [StepPart(inner_steps=i, mean=at.mean, low=at.low, high=at.high) for i, at in enumerate(intervals, 1)]
        return {"by_step": rows}

    def test_source(self, spec: TestSpec) -> Source:
        """The tasks of a test."""
        return self.source("test", EpisodeSize.of(spec), spec.seed)

    def batch_size(self, spec: TestSpec) -> int:
        """How many episodes of a test are computed at once."""
        return batch_size(self.method, self.test_source(spec), self._conditions(spec), self.plan.test_chunk)

    def _conditions(self, spec: TestSpec) -> Conditions:
        return Conditions(spec.normalisation, spec.inner_steps, kernels=self.plan.kernels)


def result_id(resolved: Resolved) -> str:
    """The identity of a result within its record: its test, what that is on where it is not what was trained on, and the
    code that scores it."""
    other = None if resolved.test_data is resolved.dataset else resolved.test_data.identity()
    return identify_result(resolved.test, other, resolved.source_sha256)


def described(data: Prepared | FunctionData, dataset: Dataset | FunctionFamily, *splits: str) -> dict[Any, SplitPart]:
    """Structure id, classes and images of each named split of a data set, for a record."""
    several = {"related": dataset.related} if isinstance(dataset, Dataset) and dataset.related > 1 else {}
    return {name: SplitPart.of(about | several) for name, about in data.describe(*splits).items()}


def _interval(interval: Interval) -> dict[str, Any]:
    about = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {**about, "level": interval.level, "interval": interval.method}


def _predictions(spec: TestSpec, sampler: Sampler) -> dict[str, int]:
    """How many queries a test has in all, where its episodes differ in ways."""
    if spec.max_ways is None:
        return {}
    assert isinstance(sampler, VaryingSampler), "of images"
    return {"predictions": sampler.predictions(spec.episodes)}
