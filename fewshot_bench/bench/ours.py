"""Our side of the works, through the code behind `fsbench run` and `fsbench test`.

Each class is one work: `seconds(count)` carries out that many units, `limit(peaks, count)` says how many units per second
the machine would allow.

Legend: n images, D features.
"""

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.bench import limits
from fewshot_bench.bench.works import (
    EPISODE,
    INDEX_CLASSES,
    INDEX_IMAGES,
    INNER_LR,
    LR,
    META_BATCH,
    TEST_STEPS,
    TRAINING,
    Size,
)
from fewshot_bench.data.bank import Ids, MemmapBank, TensorBank
from fewshot_bench.data.prepare import Prepared
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.varying import ImageSampler
from fewshot_bench.learning.base import Conditions
from fewshot_bench.metrics import accuracy
from fewshot_bench.request import Request
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.session import Session
from fewshot_bench.runs.testing import COMPARE_AT_ONCE, evaluated
from fewshot_bench.runs.training import Interrupted, Progressed
from fewshot_bench.specs import TestSpec

ENDLESS = (
    "train.split=train+val",  # no validation
    "train.selection=last",
    "train.updates=1000000000",
    "train.lr_halve_every=null",
    f"train.lr={LR}",
    "train.backbone=conv4-64",
)
MAML = (
    *ENDLESS,
    f"train.queries={EPISODE.queries}",
    f"train.meta_batch_size={META_BATCH}",
    "train.normalisation=separate",  # as a pass in torch's training mode
    f"method.inner_lr={INNER_LR}",
    "method.inner_steps=1",
    f"method.test_inner_steps={TEST_STEPS}",
    "method.adapt_shift=true",  # learn2learn adapts every parameter
)
PROTOTYPICAL = (
    *ENDLESS,
    f"train.ways={TRAINING.ways}",
    f"train.queries={TRAINING.queries}",
    "train.meta_batch_size=1",
    "train.normalisation=joint",
)
BLOCK = 256  # episodes drawn, or images embedded, at once


class OurWork(Protocol):
    """One work on our side."""

    def seconds(self, count: int) -> float:
        """How long `count` units take [s]."""

    def limit(self, peaks: limits.Peaks, count: int) -> float | None:
        """Units/s that the machine's peaks would allow in a run of `count`; None where nothing is computed."""


class Ours:
    """Our side: the data, the sessions, and the works made from them, each when it is first asked for."""

    def __init__(self, dataset: str, prepared: Prepared, device: str, root: Path | None, folder: Path) -> None:
        self.dataset, self.prepared, self.device, self.root, self.folder = dataset, prepared, device, root, folder

    def work(self, name: str) -> OurWork:
        """The work of that name."""
        makers: dict[str, Callable[[], OurWork]] = {
            "maml-training": lambda: Training(self.maml, self.folder / "maml", limits.maml_training),
            "prototypical-training": self._prototypical_training,
            "prototypical-test": lambda: PrototypicalTest(self.trained),
            "scoring": lambda: Scoring(self.trained),
            "maml-test": lambda: MamlTest(self.maml),
            "indices": Indices,
        }
        return makers[name]()

    @cached_property
    def maml(self) -> Session:
        """MAML as learn2learn's."""
        return self._session("maml", MAML, "standard-transductive")

    @cached_property
    def prototypical(self) -> Session:
        """Prototypical networks as learn2learn's, fresh."""
        return self._session("prototypical-networks", PROTOTYPICAL, "standard")

    @cached_property
    def trained(self) -> Session:
        """The same after at least one update, so that its running statistics come from real images."""
        self._prototypical_training().seconds(1)
        return self.prototypical

    def plans(self) -> dict[str, dict[str, Any]]:
        """The execution plans of the sessions that were opened, by method."""
        opened = [session for session in vars(self).values() if isinstance(session, Session)]
        return {session.resolved.method.name: session.plan.as_json() for session in opened}

    def _prototypical_training(self) -> "Training":
        return Training(self.prototypical, self.folder / "prototypical", limits.prototypical_training)

    def _session(self, method: str, settings: tuple[str, ...], protocol: str) -> Session:
        request = Request(
            method=method,
            dataset=self.dataset,
            ways=EPISODE.ways,
            shots=EPISODE.shots,
            recipe="default@glyphs",  # for any data set; what matters is set here
            protocol=protocol,
            settings=settings,
            device=self.device,
            data_root=self.root,
        )
        return Session.open(resolve(request), self.prepared, plan=None)


class Clock:
    """Watches a training and asks it to stop after `updates`; `ended` is when it did."""

    def __init__(self, updates: int) -> None:
        self.left, self.ended = updates, 0.0

    def trained(self, at: Progressed, loss: float) -> None:
        """Count an update; the last one is waited for."""
        self.left -= 1
        if not self.left and torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.ended = time.perf_counter()

    def stopped(self) -> bool:
        """Whether that was the last update."""
        return self.left <= 0


class Training:
    """Updates, from prepared images on, as `fsbench run` makes them."""

    def __init__(self, session: Session, folder: Path, limit: Callable[[limits.Peaks, Size], float]) -> None:
        spec = session.resolved.train
        folder.mkdir(parents=True, exist_ok=True)
        self.session, self.allowed = session, limit
        assert spec.ways and spec.shots and spec.queries, "the works train on episodes"
        self.size, self.batch = Size(spec.ways, spec.shots, spec.queries), spec.meta_batch_size
        self.trainer = session.trainer(folder)

    def seconds(self, count: int) -> float:
        """The time without saving the state at the end."""
        clock, started = Clock(count // self.batch), time.perf_counter()
        try:
            self.trainer.train(clock)
        except Interrupted:
            return clock.ended - started
        raise AssertionError("trained to the end")

    def limit(self, peaks: limits.Peaks, count: int) -> float:
        """See `limits`."""
        return self.allowed(peaks, self.size)


class PrototypicalTest:
    """A test as `fsbench test` makes it: every image that occurs embedded once, scores, interval, digest."""

    def __init__(self, session: Session) -> None:
        self.session, self.spec = session, session.resolved.test

    def seconds(self, count: int) -> float:
        """The time of a whole test of `count` episodes."""
        return test_s(self.session, self.spec, count)

    def limit(self, peaks: limits.Peaks, count: int) -> float:
        """The limit for the images that occur in so many episodes."""
        source = test_source(self.session, self.spec)
        return limits.prototypical_test(peaks, count, distinct_images(source.sampler, count))


class MamlTest:
    """A test as `fsbench test` makes it: each episode adapts."""

    def __init__(self, session: Session) -> None:
        self.session, self.spec = session, session.resolved.test

    def seconds(self, count: int) -> float:
        """The time of a whole test of `count` episodes."""
        return test_s(self.session, self.spec, count)

    def limit(self, peaks: limits.Peaks, count: int) -> float:
        """See `limits`."""
        return limits.maml_test(peaks, EPISODE)


class Scoring:
    """Episodes from ready embeddings of the test split: indices, gather, scores, accuracies."""

    def __init__(self, session: Session) -> None:
        self.method, source = session.method, test_source(session, session.resolved.test)
        self.conditions = Conditions(session.resolved.test.normalisation, kernels=session.plan.kernels)
        with evaluated(self.method, self.conditions):
            rows = TensorBank(embed_all(session, source), source.bank)
        self.source = TaskSource(rows, source.sampler, source.device, source.dtype)

    def seconds(self, count: int) -> float:
        """The time in blocks, as in a test."""
        with evaluated(self.method, self.conditions):
            return self._seconds(count)

    def _seconds(self, count: int) -> float:
        started = time.perf_counter()
        for first in range(0, count, COMPARE_AT_ONCE):
            tasks = self.source.tasks(first, min(COMPARE_AT_ONCE, count - first))
            accuracy(self.method.predict(tasks.without_query_labels()), tasks.targets).cpu()
        return time.perf_counter() - started

    def limit(self, peaks: limits.Peaks, count: int) -> float:
        """See `limits`."""
        return limits.scoring(peaks, EPISODE)


class Indices:
    """Episode indices of a split as large as Omniglot's test split, without images."""

    def __init__(self) -> None:
        starts = np.arange(INDEX_CLASSES + 1, dtype=np.int64) * INDEX_IMAGES
        names = tuple(f"class{number}" for number in range(INDEX_CLASSES))
        bank = MemmapBank(np.empty(0, np.uint8), names, starts, "bench")
        self.sampler = EpisodeSampler(bank, EPISODE.ways, EPISODE.shots, EPISODE.queries, seed=0)

    def seconds(self, count: int) -> float:
        """The time in blocks, as in a test."""
        started = time.perf_counter()
        for first in range(0, count, BLOCK):
            self.sampler.block(first, min(BLOCK, count - first))
        return time.perf_counter() - started

    def limit(self, peaks: limits.Peaks, count: int) -> None:
        """None: no measured peak bounds it."""


def test_s(session: Session, spec: TestSpec, count: int) -> float:
    """How long a test of `count` episodes takes [s]: the protocol's own, or fewer of the same."""
    fewer = spec.model_copy(update={"protocol": "custom", "episodes": count})
    started = time.perf_counter()
    session.test(spec if count == spec.episodes else fewer, Listener())
    return time.perf_counter() - started


def test_source(session: Session, spec: TestSpec) -> TaskSource:
    """The episodes of a test."""
    source = session.test_source(spec)
    assert isinstance(source, TaskSource), "the works are of images"
    return source


def distinct_images(sampler: ImageSampler, count: int) -> int:
    """How many images occur in episodes 0 to `count - 1`."""
    return len(np.unique(np.concatenate([block.images.reshape(-1) for block in sampler.blocks(0, count)])))


def embed_all(session: Session, source: TaskSource) -> Tensor:
    """Embeddings [n, D] of every image of a split."""
    ids: Ids = np.arange(source.bank.starts[-1])
    blocks = np.array_split(ids, -(-len(ids) // BLOCK))
    parts = [session.method.embed_images(source.images(b)) for b in blocks]
    return torch.cat([part for part in parts if part is not None])
