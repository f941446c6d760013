"""A block of a test, scored again in each way that must not matter (`inductive` says which and why).

Legend: T tasks, Q query images in all, N ways.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_bench.episodes.own_generators import generators_of
from fewshot_bench.episodes.philox import key_of, one_below, words
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.sources import Source, TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Method
from fewshot_bench.runs.checks.refusal import NotInductive, not_inductive
from fewshot_bench.runs.checks.rescoring import (
    BOUND,
    BOUND_64,
    Again,
    alone,
    copied,
    differing,
    gaps,
    in_float64,
    jittered,
    nudged,
    replaced,
    turned,
)
from fewshot_bench.runs.testing import Ask, answers, embed, embedded_together
from fewshot_bench.specs import TestSpec

FIRST = 16
"""So many episodes from the first on are scored again, and at most so many tasks of a chunk, wherever they stand in it."""
ALONE = 4
"""Of so many tasks of a chunk one query is asked about alone."""
EMBEDDED = 4
"""Of so many tasks of a chunk an image of the support and a query are embedded alone."""
NUDGES = (8, 16, 32, 64)
"""Roundings by which images are changed, to see how far roundings move a method's scores."""
TIMES = 8
"""So many times as far may they move in another order."""
RARELY = 4
"""So many tasks, or half of all, may move in the dtype of the test and agree in float64."""


class Asked(Protocol):
    """What a block must know of the check that it belongs to (`inductive.InductiveCheck`)."""

    original: Method
    spec: TestSpec
    images: Source
    ask: Ask
    part: range
    key: int
    compared: int
    moved: int

    def fresh(self, dtype: torch.dtype | None = None) -> AbstractContextManager[Method]:
        """The method as it was before the test."""

    def refuse(self, error: NotInductive) -> None:
        """What becomes of a score that moved."""


class Block:
    """A block of a test, from episode `first` on, of which at most `FIRST` tasks are scored again."""

    def __init__(self, parent: Asked, source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        self.parent, self.source, self.first, self.whole = parent, source, first, tasks
        drawn = words(key_of("rows", parent.key, first), len(tasks)).argsort()[:FIRST]
        self.rows = torch.from_numpy(np.sort(drawn)).to(tasks.key.device)
        self.tasks = tasks.some(self.rows) if len(tasks) > FIRST else tasks
        self.size, self.queries = self.tasks.query_x.shape[:2]
        self.before = self._flat(outputs[self.rows.to(outputs.device)])
        precisions = [torch.finfo(x.dtype).eps for x in (self.before, tasks.query_x) if x.is_floating_point()]
        self.precision = max(precisions)

    def check(self, *, thoroughly: bool) -> None:
        """Score it again in each way; one of a later chunk is only replaced."""
        others = self._others()
        for turn in (0, 1) if thoroughly else (0,):
            again = replaced(self.tasks, others, self._kept(turn))
            if again.kept.any() and (found := self._unlike(again)) is not None:
                self.parent.refuse(self._refusal(*self._why(others, again, found)))
        if not thoroughly:
            return
        if self.source is not self.parent.images and (found := self._unlike_embedded()) is not None:
            self.parent.refuse(self._refusal("embedding", *found))
        moves = {"order": [turned(self.tasks)]} if self.first + self.size <= FIRST else {}
        moves["alone"] = [alone(self.tasks, i, self._one(self.queries, i)) for i in range(min(ALONE, self.size))]
        halves = self._kept(0) | self._kept(1) if self.size > 1 else self._kept(0)
        moves["kept"] = [nudged(self.tasks, others.some(slice(ALONE)), halves)]
        for cause, several in moves.items():
            for again in several:
                self.ask(cause, again)

    def ask(self, cause: str, again: Again) -> None:
        """Score it again in one way more, whose name is a key of `CAUSES`."""
        if (found := self._unlike(again)) is not None:
            self.parent.refuse(self._refusal(cause, *found))

    def _kept(self, turn: int) -> Tensor:
        """Which queries stay [T, Q]: a random half, in every second task; of a single task one half, then the other."""
        drawn = words(key_of("queries", self.parent.key, self.first), self.size * self.queries)
        rank = drawn.reshape(self.size, self.queries).argsort(1).argsort(1)
        first_half = rank < (self.queries + 1) // 2
        if self.size == 1:
            kept = first_half if turn == 0 else ~first_half
        else:
            kept = first_half & (np.arange(self.size) % 2 == turn)[:, None]
        return torch.from_numpy(kept).to(self.tasks.key.device)

    def _others(self) -> Tasks:
        """Other tasks of this test in the same number, rolled by one task and one query, so that none meets itself."""
        part = self.parent.part
        start = part.start + self._one(max(1, len(part) - self.size + 1), 0)
        if start == self.first and self.first + 2 * self.size <= part.stop:
            start += self.size
        found = self.source.tasks(start, self.size).without_query_labels()
        held = {name: x.roll(1, 0) for name, x in vars(found).items() if isinstance(x, Tensor)}
        held["query_x"] = held["query_x"].roll(1, 1)
        return replace(found, **held)  # type: ignore[arg-type]

    def _one(self, limit: int, number: int) -> int:
        """An integer below `limit`, drawn for this block."""
        return one_below(limit, self.parent.key, 1 + self.first * (FIRST + 1) + number)

    def _unlike(self, again: Again) -> tuple[Tensor, Tensor] | None:
        """Queries [T, Q] that are answered otherwise, and their outputs; None where all are as they were, or where that is
        rounding's doing."""
        after = again.back(self._asked(again.tasks))
        unlike = self._differing(self.before, after, again.kept, self.precision, BOUND)
        self.parent.compared += int(again.kept.any(1).sum()) if again.in_place else 0
        return (unlike, after) if unlike.any() and not self._is_rounding(again, unlike, after) else None

    def _is_rounding(self, again: Again, unlike: Tensor, after: Tensor) -> bool:
        """Whether what differs is no more than roundings do: in the dtype of the test, and in float64 where a method can
        compute in it. Of a method that draws from a global generator nothing but replacing is asked."""
        parent = self.parent
        if again.in_place and self.size == len(self.whole) and self.tasks.key.device.type == "cpu":  # the very same sums
            parent.moved += int(unlike.any(1).sum())
            if parent.moved > max(RARELY, parent.compared // 2):
                return False
        if not again.in_place and self._draws():
            return True
        if not self._within_roundings(self._as_tested(), self.before, after, again.kept & unlike.any(1)[:, None]):
            return False
        try:
            exact, tested = again.exact or in_float64(again.tasks), in_float64(self._as_tested())
            before, after = (self._asked(x, torch.float64) for x in (tested, exact))
        except (RuntimeError, TypeError, ValueError):  # a method that cannot compute in float64
            return not again.in_place
        before, after, eps = self._chosen(before), again.back(after), torch.finfo(torch.float64).eps
        moved = self._differing(before, after, again.kept, eps, BOUND_64)
        if moved.any() and (again.in_place or not self._within_roundings(tested, before, after, again.kept)):
            return False
        return not again.in_place or not self._unlike_as_it_was()[0].any()

    def _within_roundings(self, tasks: Tasks, before: Tensor, after: Tensor, kept: Tensor) -> bool:
        """Whether the outputs of each task moved about as far as its images' roundings alone can move them, all in place.

        A sum in another order is the sum of numbers that are changed by roundings (backward stability). So what another
        order does to an honest method, however large, changing its images by roundings does too: where images are equal,
        and nothing but roundings is left of a distance, or where one decides what passes a ReLU. What a method takes from
        other queries, scaled by whatever it likes, is not there where these stay.
        """
        reached = before.new_zeros(self.size)
        for turn, roundings in enumerate(NUDGES):
            dtype = tasks.query_x.dtype if tasks.query_x.is_floating_point() else None
            moved = self._asked(jittered(tasks, roundings, key_of("nudge", self.parent.key, self.first, turn)), dtype)
            reached = torch.maximum(reached, gaps(before, self._chosen(moved), torch.ones_like(kept)))
        return bool((gaps(before, after, kept) <= TIMES * reached).all())

    def _as_tested(self) -> Tasks:
        """The whole chunk on a CPU; on an accelerator, where memory is dear, only the tasks that are scored again."""
        return self.whole if self.tasks.key.device.type == "cpu" else self.tasks

    def _chosen(self, outputs: Tensor) -> Tensor:
        """Of outputs of the whole chunk those of the tasks that are scored again."""
        return outputs[self.rows] if len(outputs) > self.size else outputs

    def _unlike_as_it_was(self) -> tuple[Tensor, Tensor]:
        """Queries that a copy answers otherwise when it is asked the very same; an accelerator need not repeat its sums."""
        after = self._chosen(self._asked(self.whole))
        everything = torch.ones(self.size, self.queries, dtype=torch.bool, device=after.device)
        unlike = self._differing(self.before, after, everything, self.precision, BOUND)
        repeats = self.tasks.key.device.type == "cpu" or unlike.any(1).sum() > self.size // 2
        return unlike & repeats, after

    def _draws(self) -> bool:
        """Whether the method draws from a generator that the engine seeds."""
        with self.parent.fresh() as method, seeded(0, self.tasks.key.device, generators_of(method)) as drew:
            self.parent.ask(method, self.tasks)
            return drew()

    def _unlike_embedded(self) -> tuple[Tensor, Tensor] | None:
        """Queries that are answered otherwise where of each task an image of the support and a query are embedded alone."""
        images = self.parent.images
        assert isinstance(images, TaskSource), "points are not embedded"
        block = images.sampler.block(self.first, len(self.whole))
        rows = self.rows.cpu().numpy()
        support_x, query_x = self.tasks.support_x.clone(), self.tasks.query_x.clone()
        for x, ids in ((support_x, block.support[rows]), (query_x, block.query[rows])):
            for task in range(min(EMBEDDED, self.size)):
                column = self._one(ids.shape[1], task)
                features = self._embedded(images, ids[task, column : column + 1])[0]
                if features is not None:
                    x[task, column] = features[0]
        everything = torch.ones(self.size, self.queries, dtype=torch.bool, device=support_x.device)
        after = self._asked(replace(self.tasks, support_x=support_x, query_x=query_x))
        unlike = self._differing(self.before, after, everything, self.precision, BOUND)
        if not unlike.any():
            return None
        moved = everything & unlike.any(1)[:, None]
        rounding = self._within_roundings(self._as_tested(), self.before, after, moved) and self._embeds_alike()
        return None if rounding else (unlike, after)

    def _embeds_alike(self) -> bool:
        """Whether images of the test's first call of `embed_images` have the same embeddings alone, in float64."""
        images = self.parent.images
        assert isinstance(images, TaskSource), "points are not embedded"
        exact = TaskSource(images.bank, images.sampler, images.device, torch.float64, standard=images.standard)
        ids = embedded_together(images, self.parent.spec.episodes)[0]
        try:
            apart = [self._embedded(exact, one, torch.float64)[0] for one in ids[:EMBEDDED, None]]
            together = self._embedded(exact, ids, torch.float64, calls=2)  # the second meets what the first leaves
        except (RuntimeError, TypeError, ValueError):  # a method that cannot compute in float64
            return False
        if any(one is None for one in (*apart, *together)):
            return False
        single = torch.cat([one for one in apart if one is not None])
        gaps = [(one[: len(single)] - single).abs().amax() for one in together if one is not None]
        return all(bool(gap <= BOUND_64 * BOUND * single.abs().amax()) for gap in gaps)

    def _why(self, others: Tasks, again: Again, found: tuple[Tensor, Tensor]) -> tuple[str, Tensor, Tensor]:
        """Which of several changes an answer depends on, found by making each alone; the queries and outputs that show."""
        unlike, after = self._unlike_as_it_was()
        if unlike.any():
            return "earlier", unlike, after
        stays = again.kept.any(1)[:, None]
        nothing = torch.ones_like(again.kept)  # of a chunk that was cut: fewer tasks in the call
        for cause, kept in (("tasks", nothing), ("queries", again.kept | ~stays), ("tasks", stays.expand_as(nothing))):
            after = self._asked(replaced(self.tasks, others, kept).tasks)
            unlike = self._differing(self.before, after, again.kept, self.precision, BOUND)
            if unlike.any():
                return cause, unlike, after
        return "together", *found

    def _refusal(self, cause: str, unlike: Tensor, after: Tensor) -> NotInductive:
        """The error that names a query, its two scores and what to do."""
        gap = torch.where(self.before == after, 0, (self.before - after).abs().nan_to_num(torch.inf))
        gap = gap.masked_fill(~unlike[:, :, None], -1)
        task, query, way = map(int, np.unravel_index(int(gap.argmax()), gap.shape))
        before, now = float(self.before[task, query, way]), float(after[task, query, way])
        asked, episode = self.parent, self.first + int(self.rows[task])
        return not_inductive(asked.original, asked.spec.protocol, cause, episode, query, way, before, now)

    def _embedded(
        self, images: TaskSource, ids: NDArray[np.int64], dtype: torch.dtype | None = None, calls: int = 1
    ) -> list[Tensor | None]:
        """Embeddings of images in each of several calls of one fresh copy, to which no other images have left anything."""
        with self.parent.fresh(dtype) as method:
            return [embed(method, images, ids) for _ in range(calls)]

    def _asked(self, tasks: Tasks, dtype: torch.dtype | None = None) -> Tensor:
        with self.parent.fresh(dtype) as method:
            outputs = answers(method, copied(tasks), self.parent.ask)
        assert outputs is not None, "it had steps in the test"
        return self._flat(outputs)

    def _flat(self, outputs: Tensor) -> Tensor:
        """Outputs [T, Q, ...] of any number of axes as [T, Q, n], of floating point, where the tasks are."""
        outputs = outputs.flatten(2).to(self.tasks.key.device)
        return outputs if outputs.is_floating_point() else outputs.double()

    def _differing(self, before: Tensor, after: Tensor, kept: Tensor, precision: float, bound: float) -> Tensor:
        return differing(before, after, kept, self.tasks.kind, precision, bound)
