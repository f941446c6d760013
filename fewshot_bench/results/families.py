"""Several pairs at once: Holm's correction, who is tied with the best, and ranks.

A family is all pairs of the compared results. Every pair that is tested is counted, so that testing more makes each harder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fewshot_bench.results.pairs import Pair


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values in the order given (Holm 1979): the smallest times their number, the next times one less,
    ..., each at least the one before it and at most 1."""
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.asarray(p, dtype=np.float64)[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(one) for one in adjusted]


@dataclass(frozen=True)
class Judged:
    """One pair of a family, after Holm's correction."""

    pair: Pair
    p_holm: float
    verdict: str
    """`separated`, `not separated`, `not testable` (no outcome could have been) or `same scores`."""
    smallest: float | None
    """The smallest difference that would have been separated at this pair's step of Holm's correction."""

    @property
    def contradicts(self) -> bool:
        """Whether the pair's own interval leaves zero out though Holm's correction does not separate it."""
        ends = self.pair.low, self.pair.high
        return self.verdict == "not separated" and None not in ends and (ends[0] > 0 or ends[1] < 0)  # type: ignore[operator]


@dataclass(frozen=True)
class Family:
    """All pairs of the results 0 to n - 1, which come best first."""

    judged: Mapping[tuple[int, int], Judged]
    """By i < j: the i-th against the j-th."""
    count: int

    @classmethod
    def of(cls, pairs: Mapping[tuple[int, int], Pair], count: int, level: float) -> "Family":
        """Judge the pairs (i, j), i < j, at `level`."""
        keys = list(pairs)
        adjusted = holm([pairs[key].p for key in keys])
        ascending = np.sort([pairs[key].p for key in keys])
        judged = {}
        for key, p_holm in zip(keys, adjusted, strict=True):
            pair = pairs[key]
            step = len(keys) - int(np.searchsorted(ascending, pair.p))  # less the smaller ones
            smallest = pair.smallest(1 - (1 - level) / step)
            judged[key] = Judged(pair, p_holm, _verdict(pair, p_holm, len(keys), 1 - level), smallest)
        return cls(judged, count)

    def apart(self, i: int, j: int) -> bool:
        """Whether two results are separated."""
        return i != j and self.judged[min(i, j), max(i, j)].verdict == "separated"

    @property
    def tied_with_best(self) -> list[int]:
        """The best and those that are not separated from it, of the pairs that could have been."""
        untestable = {key for key, one in self.judged.items() if one.verdict == "not testable"}
        return [i for i in range(self.count) if not self.apart(0, i) and (0, i) not in untestable]

    @property
    def ranks(self) -> list[int]:
        """1 for the best and those that are not separated from it, 2 for the next of the others and those not separated
        from that one, ..."""
        ranks, leader = [1] * self.count, 0
        for i in range(1, self.count):
            if self.apart(leader, i):
                leader = i
                ranks[i] = ranks[i - 1] + 1
            else:
                ranks[i] = ranks[leader]
        return ranks

    @property
    def groups(self) -> list[tuple[int, int]]:
        """The longest runs first to last, in order of the mean, in which no two are separated; runs of one left out."""
        ends = []
        for first in range(self.count):
            last = first
            while last + 1 < self.count and not any(self.apart(i, last + 1) for i in range(first, last + 1)):
                last += 1
            ends.append((first, last))
        longest = [run for run in ends if not any(o[0] <= run[0] and run[1] <= o[1] and o != run for o in ends)]
        return [run for run in longest if run[0] < run[1]]


def all_pairs(count: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of `count` results."""
    return list(combinations(range(count), 2))


def is_testable(pair: Pair, count: int, alpha: float) -> bool:
    """Whether some outcome of a pair of `count` would have been separated; the same scores leave nothing to test."""
    return pair.test == "same scores" or pair.least_p * count <= alpha


def _verdict(pair: Pair, p_holm: float, count: int, alpha: float) -> str:
    if pair.test == "same scores":
        return "same scores"
    if not is_testable(pair, count, alpha):
        return "not testable"
    return "separated" if p_holm <= alpha else "not separated"
