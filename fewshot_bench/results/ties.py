"""Which of many results are tied with the best, as `Family.tied_with_best` says, without a p-value for each of all pairs.

Holm's correction rejects a pair whose p is at most alpha / (pairs - rejected so far), over and over until nothing is added
(Holm 1979). That p is at most some level says that the interval at that level leaves zero out, and for this the distance of
the pair and the parts of its variance suffice (`error_parts`). The variances of all differences come from one matrix
product: var(a - b) = var(a) + var(b) - 2 cov(a, b).

Legend: n results, best first; K training seeds of a result, E test episodes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from fewshot_bench.results.error_parts import Scores, residual, seed_part, t_quantile
from fewshot_bench.results.families import is_testable
from fewshot_bench.results.pairs import Pair, compare_pair

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
BAND = 256
"""So many results are compared with all others at once."""
NEAR = 1e-6
"""Where the variance of a difference is a smaller share of that of the scores, or its error of the scores themselves, the
pair is compared by itself: it may have no spread at all."""


def tied_with_best(results: Sequence[Scores], *, direction: str = "max", level: float = 0.95) -> list[int]:
    """The best and those that are not separated from it, of the pairs that could have been, in ascending order.

    Args:
        results: [K, E] each, best first, all of the same episodes in the same order.
        direction: `max` or `min`, which scores are better.
        level: confidence level in (0, 1).

    Raises:
        FewshotError: tables that are no pairs.

    """
    places: dict[tuple[int, bytes], list[int]] = {}
    for place, one in enumerate(results):  # equal scores are compared once, however often they come
        places.setdefault((len(one), sha256(one.tobytes()).digest()), []).append(place)
    groups = list(places.values())
    rows = _Rows.of([results[same[0]] for same in groups], [len(same) for same in groups])
    apart = _apart_from_best(rows, direction, 1 - level) if len(groups) > 1 else set()
    return sorted(place for row, same in enumerate(groups) if row not in apart for place in same)


@dataclass
class _Rows:
    """Results of different scores, and what each brings to its pairs."""

    tables: Sequence[Scores]
    count: Numbers
    """How many results have these scores."""
    centred: Numbers
    """Scores averaged over the seeds, less their mean [n, E]."""
    mean: Numbers
    largest: Numbers
    """The largest of the averaged scores, without sign."""
    of_seeds: Numbers
    """The seeds' part of the variance of the mean; 0 of one seed."""
    freedom: Numbers
    """Of that part; 0 of one seed."""
    least: Numbers
    """The least that the episodes' part can be, where it stands for several seeds; 0 of one seed."""

    @classmethod
    def of(cls, tables: Sequence[Scores], count: Sequence[int]) -> "_Rows":
        """Of results [K, E]."""
        by_episode = np.stack([one.mean(axis=0) for one in tables])
        mean = by_episode.mean(axis=1)
        parts = [(*seed_part(one), residual(one) / one.size) if len(one) > 1 else (0.0, 0.0, 0.0) for one in tables]
        largest = np.abs(by_episode).max(axis=1)
        by_episode -= mean[:, None]
        return cls(tables, np.array(count), by_episode, mean, largest, *np.array(parts, dtype=np.float64).T)

    @property
    def pairs(self) -> int:
        """Of all results."""
        count = int(self.count.sum())
        return count * (count - 1) // 2


@dataclass
class _Pairs:
    """Pairs (i, j) of rows, i < j, whose differences have a spread over the episodes."""

    rows: _Rows
    i: Places
    j: Places
    of_episodes: Numbers
    """The episodes' part of the variance of each difference."""

    @property
    def weight(self) -> Numbers:
        """How many pairs of results each stands for."""
        return self.rows.count[self.i] * self.rows.count[self.j]

    def separated(self, alpha: float) -> npt.NDArray[np.bool_]:
        """Whether the interval of each at 1 - `alpha` leaves zero out: its p is at most `alpha`."""
        rows, episodes = self.rows, self.rows.centred.shape[1]
        squares = {one: t_quantile(alpha / 2, one) ** 2 if one else 0.0 for one in {*rows.freedom.tolist()}}
        of_seeds = rows.of_seeds * [squares[one] for one in rows.freedom.tolist()]
        several = (rows.freedom[self.i] > 0) & (rows.freedom[self.j] > 0)
        half = t_quantile(alpha / 2, episodes - 1) ** 2 * self.of_episodes
        half += np.where(several, of_seeds[self.i] + of_seeds[self.j], 0.0)
        apart: npt.NDArray[np.bool_] = (rows.mean[self.i] - rows.mean[self.j]) ** 2 >= half
        return apart

    def at(self, chosen: npt.NDArray[np.bool_]) -> "_Pairs":
        """Some of them."""
        return _Pairs(self.rows, self.i[chosen], self.j[chosen], self.of_episodes[chosen])


def _apart_from_best(rows: _Rows, direction: str, alpha: float) -> set[int]:
    """The rows that are separated from the first, or could not have been."""
    sure, undecided, alone = 0, list[_Pairs](), list[tuple[int, int, Pair]]()
    for pairs, near in _bands(rows):
        decided = pairs.separated(alpha / rows.pairs) & (pairs.i > 0)  # whatever the others are
        sure += int(pairs.weight[decided].sum())
        undecided.append(pairs.at(pairs.separated(alpha) & ~decided))
        alone += [(i, j, compare_pair(rows.tables[i], rows.tables[j], direction=direction)) for i, j in near]
    before, rejected, step = -1, 0, alpha / rows.pairs
    while rejected > before and rejected < rows.pairs:
        before, step = rejected, alpha / (rows.pairs - rejected)
        rejected = sure + sum(int(pairs.weight[pairs.separated(step)].sum()) for pairs in undecided)
        rejected += sum(int(rows.count[i] * rows.count[j]) for i, j, pair in alone if pair.p <= step)
    apart = {int(j) for pairs in undecided for j in pairs.j[(pairs.i == 0) & pairs.separated(step)]}
    of_best = [(j, pair) for i, j, pair in alone if i == 0]
    return apart | {j for j, pair in of_best if pair.p <= step or not is_testable(pair, rows.pairs, alpha)}


def _bands(rows: _Rows) -> Iterator[tuple[_Pairs, list[tuple[int, int]]]]:
    """All pairs, and apart from them those that have to be compared by themselves."""
    episodes = rows.centred.shape[1]
    variance = (rows.centred**2).sum(axis=1) / (episodes - 1)
    for start in range(0, len(rows.mean), BAND):
        band = slice(start, start + BAND)
        covariance = rows.centred[band] @ rows.centred.T / (episodes - 1)
        both = variance[band, None] + variance
        of_difference = both - 2 * covariance
        error = np.sqrt(np.maximum(of_difference, 0.0) / episodes)
        near = (of_difference <= NEAR * both) | (error <= NEAR * np.maximum(rows.largest[band, None], rows.largest))
        later = np.arange(len(variance)) > np.arange(start, start + len(covariance))[:, None]
        i, j = np.nonzero(later & ~near)
        several = (rows.freedom[i + start] > 0) & (rows.freedom[j] > 0)
        least = np.where(several, rows.least[i + start] + rows.least[j], 0.0)
        pairs = _Pairs(rows, i + start, j, np.maximum(of_difference[i, j] / episodes, least))
        yield pairs, [(int(a) + start, int(b)) for a, b in zip(*np.nonzero(later & near), strict=True)]
