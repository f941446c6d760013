"""Two results on the same test episodes, compared episode by episode.

The difficulty of an episode moves both scores, so it cancels in their difference. With one training seed of each the test
is Student's paired t over the episodes, and speaks of the two checkpoints. With several of each the seeds add their part
(`error_parts`), and it speaks of the two methods; seeds are no partners of each other, whatever their numbers.

Legend: K and L training seeds, E test episodes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.error_parts import (
    SMALLEST_P,
    Part,
    Scores,
    episode_part,
    half_width,
    p_value,
    residual,
    seed_part,
)

Test = Literal["paired t", "Welch's t", "exact sign test", "same scores"]
EQUAL = 1e-9
"""Scores are quotients of counts: what differs by less than this share of them is equal."""


@dataclass(frozen=True)
class Pair:
    """What two results on the same episodes come to: the first minus the second, in the metric's unit."""

    difference: float
    low: float | None
    """The interval at `level`; None where no spread gives one."""
    high: float | None
    p: float
    """Two-sided, before any correction; in (0, 1]."""
    test: Test
    level: float
    episodes: int
    seeds: tuple[int, int]
    wins: int
    """Episodes in which the first is better, in the metric's direction."""
    ties: int
    losses: int
    parts: tuple[Part, ...]
    """Of the variance of the difference."""
    unpaired_half: float
    """Half the width of the interval that does without pairs."""
    residuals: tuple[float, float] = (0.0, 0.0)
    """What the chance of each seed in each episode adds to the variance of the first and of the second mean."""

    @property
    def of_methods(self) -> bool:
        """Whether it speaks of the methods, over their training seeds, and not of these checkpoints alone."""
        return min(self.seeds) > 1

    @property
    def t(self) -> float | None:
        """Student's statistic, where there is one."""
        return (
            self.difference / math.sqrt(self.parts[0].variance) if self.test == "paired t" and len(self.parts) == 1 else None
        )

    @property
    def narrower(self) -> float | None:
        """How many times narrower pairs made the interval; None where there is none, or no pairs."""
        if self.test != "paired t":
            return None
        return self.unpaired_half / half_width(self.parts, self.level)

    @property
    def least_p(self) -> float:
        """The smallest p-value that so many episodes could have given."""
        return max(2.0 ** (1 - self.wins - self.losses), SMALLEST_P) if self.test == "exact sign test" else SMALLEST_P

    def smallest(self, level: float) -> float | None:
        """The smallest difference that this pair could have shown at `level`, with the spread that it has; None without
        one."""
        return half_width(self.parts, level) if self.test in ("paired t", "Welch's t") else None


DataParts = Callable[[Scores], list[Part]]
"""The parts of the variance of the mean of [E] over new data, the part of the episodes first (`data_parts`)."""


def compare_pair(
    first: Scores, second: Scores, *, direction: str = "max", level: float = 0.95, data: DataParts | None = None
) -> Pair:
    """Compare scores [K, E] with scores [L, E] of the same episodes in the same order; with `data` over new images or
    classes.

    Equal differences in all episodes have no spread and so no t: an exact sign test takes its place. Where all scores are
    equal, p is 1. Raises `FewshotError` for tables that are no such pair.
    """
    first, second = _tables(first, second)
    if first.shape[1] != second.shape[1]:
        raise FewshotError(f"A pair has the same episodes; got {first.shape[1]} and {second.shape[1]}.")
    mine, theirs = first.mean(axis=0), second.mean(axis=0)  # [E]
    gaps = mine - theirs
    gaps[np.abs(gaps) <= EQUAL * np.maximum(np.abs(mine), np.abs(theirs))] = 0.0
    better = gaps if direction == "max" else -gaps
    wins, losses = int((better > 0).sum()), int((better < 0).sum())
    several = [seed_part(table) for table in (first, second)] if min(len(first), len(second)) > 1 else []
    data = data if gaps.any() else None  # the same scores are the same on any data
    by_chance, *of_data = [episode_part(gaps)] if data is None else data(gaps)
    least = (residual(first) / first.size, residual(second) / second.size) if several else (0.0, 0.0)
    parts = (*several, Part(max(by_chance.variance, sum(least)), by_chance.freedom), *of_data)
    spread = sum(part.variance for part in parts)
    equal = math.sqrt(spread) <= EQUAL * max(float(np.abs(mine).max()), float(np.abs(theirs).max()))
    difference, half = float(gaps.mean()), half_width(parts, level)
    test: Test = "paired t"
    if equal:
        test = "exact sign test" if wins + losses else "same scores"
    return Pair(
        difference=difference,
        low=None if equal else difference - half,
        high=None if equal else difference + half,
        p=max(min(2.0 ** (1 - wins - losses), 1.0), SMALLEST_P) if equal else p_value(difference, parts),
        test=test,
        level=level,
        episodes=len(gaps),
        seeds=(len(first), len(second)),
        wins=wins,
        ties=len(gaps) - wins - losses,
        losses=losses,
        parts=parts,
        unpaired_half=half_width(_unpaired_parts(first, second, data), level),
        residuals=least,
    )


def compare_unpaired(first: Scores, second: Scores, *, level: float = 0.95) -> Pair:
    """Compare scores [K, E] with scores [L, F] of other episodes: Welch's t over the episodes, and the seeds' parts where
    both have several."""
    first, second = _tables(first, second)
    parts = _unpaired_parts(first, second)
    difference = float(first.mean() - second.mean())
    half = half_width(parts, level)
    episodes = min(first.shape[1], second.shape[1])
    seeds = len(first), len(second)
    if half == 0:
        raise FewshotError("Neither result has any spread over its episodes, so that nothing tells them apart but chance.")
    ends = difference - half, difference + half
    p = p_value(difference, parts)
    return Pair(difference, *ends, p, "Welch's t", level, episodes, seeds, 0, 0, 0, parts, half)


def _tables(*given: Scores) -> list[Scores]:
    tables = [np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in given]
    for table in tables:
        if table.ndim != 2 or table.shape[1] < 2:
            raise FewshotError(f"A comparison needs at least 2 episodes, got {table.shape[-1]}.")
        if not np.isfinite(table).all():
            raise FewshotError("A score is not finite, so nothing can be compared with it.")
    return tables


def _unpaired_parts(first: Scores, second: Scores, data: DataParts | None = None) -> tuple[Part, ...]:
    """Those of a difference without pairs: the episodes of both as one part, with Welch and Satterthwaite's freedom; with
    `data` as if each were of data of its own."""
    one, other = (episode_part(table.mean(axis=0)) for table in (first, second))
    total = one.variance + other.variance
    below = one.variance**2 / one.freedom + other.variance**2 / other.freedom
    several = [seed_part(table) for table in (first, second)] if min(len(first), len(second)) > 1 else []
    of_data = [part for table in (first, second) for part in data(table.mean(axis=0))[1:]] if data else []
    return (*several, Part(total, total**2 / below if below else one.freedom), *of_data)
