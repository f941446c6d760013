"""Parts of the error of a mean, each with its own degrees of freedom, and the interval and p-value of their sum.

The squared half-widths of the parts add up (MOVER, Zou & Donner 2008, as Graybill & Wang 1980 combine variances):

    half(level)^2 = sum over parts of t(level, freedom)^2 * variance

With one part it is Student's interval. Of parts with few degrees of freedom it is a little too wide, where Satterthwaite's
rule is too narrow: `docs/explanation/statistics.md` has the simulation.

Legend: K training seeds, E test episodes, K x E a score of each episode by each seed.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
SMALLEST_P = 1e-300
"""No p-value is smaller: the numbers of a computer end there, the evidence does not."""


class Part(NamedTuple):
    """A part of the variance of a mean, and the degrees of freedom with which it was estimated."""

    variance: float
    freedom: float


def seed_part(table: Scores) -> Part:
    """What K seeds [K, E], K at least 2, add to the variance of the grand mean.

    Two-way random effects, score[k, e] = mean + seed[k] + episode[e] + residual[k, e]: (MS_seed - MS_residual) / (K E),
    because E[MS_seed] = E var_seed + var_residual. An estimate below zero counts as zero.
    """
    seeds, episodes = table.shape
    by_seed = table.mean(axis=1)
    excess = episodes * float(by_seed.var(ddof=1)) - residual(table)
    return Part(max(excess, 0.0) / (seeds * episodes), seeds - 1)


def episode_part(by_episode: Scores) -> Part:
    """The variance of the mean of independent episodes [E], E at least 2."""
    episodes = len(by_episode)
    return Part(float(by_episode.var(ddof=1)) / episodes, episodes - 1)


def residual(table: Scores) -> float:
    """MS_residual of seeds and episodes [K, E], K and E at least 2: what neither explains."""
    seeds, episodes = table.shape
    by_seed, by_episode = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    squares: float = ((table - by_seed - by_episode + table.mean()) ** 2).sum()
    return float(squares) / float((seeds - 1) * (episodes - 1))


def half_width(parts: Sequence[Part], level: float) -> float:
    """Half the width of the confidence interval at `level`."""
    return _half_width(parts, (1 - level) / 2)


def p_value(difference: float, parts: Sequence[Part]) -> float:
    """The two-sided p-value of a difference from zero: 1 less the level of the interval that just reaches zero."""
    from scipy.optimize import bisect
    from scipy.special import stdtr

    distance, spread = abs(difference), [part for part in parts if part.variance]
    if distance == 0:
        return 1.0
    if len(spread) == 1:
        return max(2 * float(stdtr(spread[0].freedom, -distance / math.sqrt(spread[0].variance))), SMALLEST_P)
    if _half_width(parts, SMALLEST_P / 2) < distance:
        return SMALLEST_P

    def beyond(log_p: float) -> float:
        return _half_width(parts, math.exp(log_p) / 2) - distance

    return math.exp(bisect(beyond, math.log(SMALLEST_P), 0.0, xtol=1e-12))  # the quantile may overflow: no secants


def _half_width(parts: Sequence[Part], tail: float) -> float:
    return math.hypot(*(t_quantile(tail, part.freedom) * math.sqrt(part.variance) for part in parts if part.variance))


@lru_cache(maxsize=4096)
def t_quantile(tail: float, freedom: float) -> float:
    """How far above zero Student's t lies with probability `tail`."""
    from scipy.special import stdtrit  # that of `scipy.stats.t`, without the seconds that it takes to import

    quantile: float = stdtrit(freedom, tail)
    return -float(quantile)
