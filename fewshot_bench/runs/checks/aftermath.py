"""Whether a test has left anything that its method's answers depend on.

Before the test a twin of the process is forked (`twin`) and asked about noise. After the test one or two of its tasks, with
few of their queries and half of these replaced, are given to the twin and to a copy of the method here. A method that keeps
nothing from one call for the next says the same bit for bit: the sums are the same. Where one has kept something of the
test's queries, the twin has kept it of noise.

What is kept in a file both processes share. It is of noise, if it is of the first call: then the score owes nothing to the
test's queries, and nothing is refused.

Legend: T tasks, S support images, Q query images in all.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.own_generators import generators_of
from fewshot_bench.episodes.philox import key_of, one_below, words
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.sources import Source, TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Method
from fewshot_bench.runs.checks.rescoring import BOUND, BOUND_64, IMAGES, differing
from fewshot_bench.runs.checks.twin import Twin, one_thread
from fewshot_bench.runs.testing import Ask, answers
from fewshot_bench.specs import Kind

TASKS, QUERIES, LARGEST = 2, 20, 100
"""Tasks that are asked about, with so many queries at most, and one alone where two have more images than that."""
LEAST = 32
"""A test of fewer episodes, which only protocol `custom` has, is a trial without a twin, which would take longer."""


class Fresh(Protocol):
    """The method as it was before the test, in a dtype."""

    def __call__(self, dtype: torch.dtype | None = None) -> AbstractContextManager[Method]:
        """Within a context."""


@dataclass(frozen=True)
class Question:
    """Episodes to answer, each with the one whose queries replace half of its own; none: noise."""

    episodes: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    key: int = 0
    dtype: torch.dtype | None = None


class Left(NamedTuple):
    """A query that the test has left a mark on: its output after the test, and where there was none."""

    episode: int
    query: int
    way: int
    here: float
    apart: float


class Aftermath:
    """Forked before a test of a source's tasks; `found` after it says what the test has left."""

    def __init__(self, fresh: Fresh, source: Source, ask: Ask, episodes: int) -> None:
        self.fresh, self.source, self.ask = fresh, source, ask
        first = source.tasks(0, 1)
        self.kind: Kind = first.kind
        images = first.support_x.shape[1] + min(QUERIES, first.query_x.shape[1])
        self.size = max(1, min(TASKS, LARGEST // images))
        self.twin = Twin(self._answer) if Twin.possible(first.key.device) and episodes >= LEAST else None
        if self.twin is not None:
            self.twin.ask(Question())

    def found(self, part: range, key: int) -> Left | None:
        """What the test of the episodes `part` has left; None where nothing is seen of it. The twin ends."""
        if self.twin is None or not self.twin.close.alive or len(part) < 2:
            return None
        episodes = tuple(part[one_below(len(part), key, i)] for i in range(self.size))
        others = tuple(part[(part.index(one) + 1 + one_below(len(part) - 1, key, one)) % len(part)] for one in episodes)
        question = Question(episodes, others, key)
        left = self._left(question, BOUND)
        if left is not None and self._left(replace(question, dtype=torch.float64), BOUND_64, exact=True) is None:
            left = None
        self.twin.close()
        return left

    def _left(self, question: Question, bound: float, *, exact: bool = False) -> Left | None:
        assert self.twin is not None
        self.twin.begin(question)
        try:
            with one_thread():
                here = self._answer(question)
        except (RuntimeError, TypeError, ValueError):
            if not exact:
                raise
            return _UNKNOWN  # a method that cannot compute in float64
        apart = self.twin.end()
        if apart is None:
            return _UNKNOWN if exact else None
        for number, (episode, ours, theirs) in enumerate(zip(question.episodes, here, apart, strict=True)):
            before, after = (torch.from_numpy(x)[None] for x in (ours, theirs))
            kept = torch.from_numpy(_kept(question.key, number, len(ours)))[None]
            unlike = differing(before, after, kept, self.kind, torch.finfo(before.dtype).eps, bound)
            if unlike.any():
                gap = (before - after).abs().nan_to_num(torch.inf).masked_fill(~unlike[..., None], -1)
                _, query, way = np.unravel_index(int(gap.argmax()), gap.shape)
                number = _chosen(question.key, self.source.tasks(episode, 1).query_x.shape[1])[query]
                return Left(episode, int(number), int(way), float(ours[query, way]), float(theirs[query, way]))
        return None

    def _answer(self, question: Question) -> list[np.typing.NDArray[Any]]:
        """What a fresh copy says of the tasks of a question: outputs [Q, n] of each."""
        source, dtype = self.source, question.dtype
        if not question.episodes:
            tasks = [_noise(_some(source.tasks(0, 1), 0))]
        else:
            tasks = [_some(source.tasks(question.others[0], 1), question.key)]  # so that the first call begins with another
            for number, (one, other) in enumerate(zip(question.episodes, question.others, strict=True)):
                tasks.append(_mixed(_some(source.tasks(one, 1), question.key), source.tasks(other, 1), question.key, number))
        tasks = [_of(one.without_query_labels(), dtype) for one in tasks]
        alike = len({one.query_x.shape + one.support_x.shape for one in tasks}) == 1
        with self.fresh(dtype) as method:
            calls = [_joined(tasks)] if alike else tasks
            outputs = [answers(method, self._embedded(method, one), self.ask) for one in calls]
        each = [x for several in outputs if several is not None for x in several]
        return [_flat(x).numpy() for x in each[1:]]

    def _embedded(self, method: Method, tasks: Tasks) -> Tasks:
        """The tasks with embeddings in the place of images, where the test has them."""
        if not isinstance(self.source, TaskSource):
            return tasks
        held = [(name, x) for name in IMAGES if (x := getattr(tasks, name)) is not None]
        with seeded(0, tasks.key.device, generators_of(method)) as drew:
            features = method.embed_images(torch.cat([x.flatten(0, 1) for _, x in held]))
            if features is None or drew():
                return tasks
        parts = features.split([x.shape[0] * x.shape[1] for _, x in held])
        return replace(tasks, **{k: one.unflatten(0, x.shape[:2]) for (k, x), one in zip(held, parts, strict=True)})


_UNKNOWN = Left(0, 0, 0, 0.0, 0.0)


def _flat(x: Tensor) -> Tensor:
    x = x.flatten(1)
    return x if x.is_floating_point() else x.double()


def _kept(key: int, number: int, queries: int) -> np.typing.NDArray[np.bool_]:
    """Which queries of a task are its own [Q]: half of them."""
    rank = words(key_of("aftermath", key, number), queries).argsort().argsort()
    return np.asarray(rank < (queries + 1) // 2)


def _mixed(tasks: Tasks, others: Tasks, key: int, number: int) -> Tasks:
    """One task, half of whose queries are another's."""
    size = tasks.query_x.shape[1]
    kept = torch.from_numpy(_kept(key, number, size))
    theirs = others.query_x[:, torch.arange(size) % others.query_x.shape[1]]
    return replace(
        tasks, query_x=torch.where(kept.reshape(1, size, *[1] * (tasks.query_x.dim() - 2)), tasks.query_x, theirs)
    )


def _chosen(key: int, queries: int) -> np.typing.NDArray[np.int64]:
    """Numbers of the queries that are asked about, of so many: wherever they stand."""
    return np.sort(words(key_of("queries", key), queries).argsort()[:QUERIES])


def _some(tasks: Tasks, key: int) -> Tasks:
    """One task with few of its queries."""
    chosen = torch.from_numpy(_chosen(key, tasks.query_x.shape[1]))
    return replace(tasks, query_x=tasks.query_x[:, chosen], query_y=None)


def _noise(tasks: Tasks) -> Tasks:
    """One task whose images are noise, of the range of its own."""
    dice = torch.Generator().manual_seed(0)

    def noise(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        low, high = x.amin(), x.amax()
        return (low + (high - low) * torch.rand(x.shape, generator=dice)).to(x.dtype)

    return replace(tasks, **{name: noise(getattr(tasks, name)) for name in IMAGES})  # type: ignore[arg-type]


def _of(tasks: Tasks, dtype: torch.dtype | None) -> Tasks:
    if dtype is None:
        return tasks
    held = {one.name: getattr(tasks, one.name) for one in fields(Tasks)}
    exact = {k: x.to(dtype) for k, x in held.items() if isinstance(x, Tensor) and x.is_floating_point()}
    return replace(tasks, **exact)  # type: ignore[arg-type]


def _joined(tasks: list[Tasks]) -> Tasks:
    names = [one.name for one in fields(Tasks) if isinstance(getattr(tasks[0], one.name), Tensor)]
    return replace(tasks[0], **{name: torch.cat([getattr(one, name) for one in tasks]) for name in names})  # type: ignore[arg-type]
