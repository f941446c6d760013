"""Where the difference of two results comes from: their accuracies on each class of the test split.

An episode that shows a class gives one share of right answers for it, of all queries of that class there. These shares are
compared as the scores of whole episodes are (`pairs`), over the episodes that show the class.

Legend: K training seeds, A answers, G shares, one for each class and episode that shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fewshot_bench.request import TestRequest
from fewshot_bench.results.drawn_queries import draw_queries, no_answers
from fewshot_bench.results.families import holm
from fewshot_bench.results.pairs import Pair, compare_pair
from fewshot_bench.results.pooling import Pooled

Bits = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OfClass:
    """The queries of one class of a test."""

    place: int
    """Of the class in the test split."""
    shares: Scores
    """[K, episodes that show it]: the share of its queries there that each seed answered right."""
    queries: int
    """In all these episodes."""


@dataclass(frozen=True)
class ClassDifference:
    """A class, and what two results come to on it."""

    name: str
    first: float
    """Accuracy of the first result on its queries, over all seeds."""
    second: float
    episodes: int
    """That show the class."""
    queries: int
    contribution: float
    """To the difference of the two results: that of the class times its part of all queries. They add up to it."""
    pair: Pair | None
    """None where a single episode shows the class, which has no spread."""
    p_holm: float | None
    """After Holm's correction over all classes that have a pair."""

    @property
    def difference(self) -> float:
        """The first minus the second."""
        return self.first - self.second


@dataclass(frozen=True)
class ByClass:
    """Two results by class, the largest difference first."""

    labels: tuple[str, str]
    classes: Sequence[ClassDifference]
    level: float
    unseen: int
    """Classes of the test split that no query is of."""
    unnamed: str
    """Why classes have numbers in the place of names, and what mends it; empty where they have names."""

    @property
    def difference(self) -> float:
        """Of the two results over all classes, each query counted once."""
        return sum(one.contribution for one in self.classes)


def compare_classes(
    first: Pooled, second: Pooled, labels: tuple[str, str], episodes: int, level: float, given: TestRequest
) -> ByClass:
    """Compare two results of the same stream of episodes class by class over its first `episodes`.

    Raises `DataError` where a result has no answers, or where its episodes cannot be drawn here, `UsageError` as
    `draw_queries` does.
    """
    tables = [_right(pooled, episodes) for pooled in (first, second)]
    longest = max((first, second), key=lambda pooled: int(pooled.test["episodes"])).runs[0]
    drawn = draw_queries(longest.record, longest.result, given)
    answers = tables[0].shape[1]
    assert tables[1].shape[1] == answers, "they answer the same queries"
    sizes = np.concatenate([np.full(len(block), block.query.shape[1]) for block in drawn.blocks])[:episodes]
    shown = np.repeat(np.arange(episodes), sizes)
    each = [list(of_classes(drawn.classes[:answers], shown, table)) for table in tables]
    found = [
        (one, other, compare_pair(one.shares, other.shares, level=level) if one.shares.shape[1] > 1 else None)
        for one, other in zip(*each, strict=True)
    ]
    corrected = iter(holm([pair.p for *_, pair in found if pair is not None]))
    rows = []
    for one, other, pair in found:
        mine, theirs = float(one.shares.mean()), float(other.shares.mean())
        p_holm = None if pair is None else next(corrected)
        part = (mine - theirs) * one.queries / answers
        shows = one.shares.shape[1]
        rows.append(ClassDifference(drawn.names[one.place], mine, theirs, shows, one.queries, part, pair, p_holm))
    rows.sort(key=lambda row: (-abs(row.difference), row.name))
    return ByClass(labels, rows, level, len(drawn.names) - len(rows), drawn.unnamed)


def of_classes(classes: Ids, episodes: Ids, right: Bits) -> Iterator[OfClass]:
    """The classes that queries are of, in the order of the split, from the class [A] and the episode [A] of each query and
    whether each seed answered it right [K, A]."""
    order = np.lexsort((episodes, classes))
    keys = np.stack([classes[order], episodes[order]])  # [2, A]
    first = np.flatnonzero(np.r_[True, (np.diff(keys) != 0).any(0)])  # [G]
    counts = np.diff(np.r_[first, len(order)])
    shares = np.add.reduceat(right[:, order], first, axis=1, dtype=np.int64) / counts  # [K, G]
    owners = keys[0, first]
    for start, end in pairwise(np.flatnonzero(np.r_[True, np.diff(owners) != 0, True])):
        yield OfClass(int(owners[start]), shares[:, start:end], int(counts[start:end].sum()))


def _right(pooled: Pooled, episodes: int) -> Bits:
    """Which queries of the first episodes each seed answered right [K, A]."""
    rows = []
    for run in pooled.runs:
        if (answers := run.record.answers(run.result)) is None:
            raise no_answers(run.record, run.result)
        rows.append(answers.right[: answers.sizes[:episodes].sum()])
    return np.stack(rows)
