"""Confidence intervals of a score over test episodes and training seeds.

K training seeds, E test episodes; every seed is tested on the same episodes, so the design is crossed. An interval over
the seeds' means alone would be blind to the noise of the episodes that they share; one over the episodes alone, to that
of training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import FewshotError
from fewshot_bench.metrics import METRICS

Scores = npt.NDArray[np.float64]

ONE_SEED = "one seed: speaks of this checkpoint only"


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, in the metric's unit (accuracies in [0, 1])."""

    mean: float
    low: float
    high: float
    method: str
    """One phrase for people: the method, the level, the number of episodes and of seeds."""
    level: float = 0.95


@dataclass(frozen=True)
class _Spread:
    """Variance of the grand mean, its degrees of freedom and the name of the method that gave them."""

    variance: float
    freedom: float
    method: str


def score_interval(scores: Sequence[Scores], *, trials: float, metric: str = "accuracy", level: float = 0.95) -> Interval:
    """The confidence interval of the mean score.

    One seed: Student's t over its episodes. Several: two-way random effects, see `_crossed`. Shares of the queries
    (accuracies) that are all equal: the exact binomial interval (Clopper & Pearson 1934) on the predictions of one seed's
    queries, because a spread of zero over episodes is no certainty. Other metrics have no such model: where all are equal,
    low = high = mean and `method` says so. Bounds are clipped to the metric's range.

    Args:
        scores: one array [E] a training seed, all over the same episodes in the same order.
        trials: query predictions in one episode, on average where episodes differ in ways (`trials_of`).
        metric: name of the metric, for its bounds; what is none of `metrics.METRICS` has none.
        level: confidence level in (0, 1).

    Raises:
        FewshotError: no seed, fewer than two episodes, seeds of different lengths, or a score that is not finite.

    """
    table = _table(scores)
    seeds, episodes = table.shape
    mean = float(table.mean())
    over = f"{episodes} episodes" + (f"; {ONE_SEED}" if seeds == 1 else f" crossed with {seeds} seeds")
    known = METRICS.get(metric)
    if np.ptp(table) < 1e-12:
        return _without_spread(mean, over, round(episodes * trials) if known and known.of_queries else 0, level)
    spread = _one_seed(table) if seeds == 1 else _crossed(table)
    half = _t_quantile(level, spread.freedom) * math.sqrt(spread.variance)
    lowest, highest = (known.low, known.high) if known else (-math.inf, math.inf)
    method = f"{level:.0%} {spread.method} over {over}"
    return Interval(mean, max(mean - half, lowest), min(mean + half, highest), method, level)


def trials_of(result: Mapping[str, Any]) -> float:
    """Query predictions in one episode of a result in a record; on average where its episodes differ in ways."""
    test = result["test"]
    if result.get("predictions") is not None:
        return float(result["predictions"] / test["episodes"])
    return float(test["ways"] * test["queries"])


def _table(scores: Sequence[Scores]) -> Scores:
    """The scores as one array [K, E]; refuses what has no interval."""
    lengths = {len(one) for one in scores}
    if len(lengths) != 1:
        raise FewshotError(f"Seeds are pooled over the same episodes; got {sorted(lengths) or 'no'} episodes.")
    table = np.stack([np.asarray(one, dtype=np.float64) for one in scores])  # [K, E]
    if table.shape[1] < 2:
        raise FewshotError(f"An interval needs at least 2 episodes, got {table.shape[1]}.")
    if not np.isfinite(table).all():
        raise FewshotError("A score is not finite, so its mean has no interval.")
    return table


def _one_seed(table: Scores) -> _Spread:
    episodes = table.shape[1]
    return _Spread(float(table.var(ddof=1)) / episodes, episodes - 1, "t-interval")


def _crossed(table: Scores) -> _Spread:
    """Two-way random effects without replication: score[k, e] = mean + seed[k] + episode[e] + residual[k, e].

    Var(grand mean) = (MS_seed + MS_episode - MS_residual) / KE, because E[MS_seed] = E var_seed + var_residual and
    E[MS_episode] = K var_episode + var_residual. A component's estimate below zero counts as zero (its mean square is
    raised to MS_residual), so the variance is never below that of the seeds' means alone, nor below that of the
    episodes' means alone. Degrees of freedom: Satterthwaite 1946. Simulated coverage of the 95 % interval: 0.94 to 0.96
    from five seeds on; three can fall to 0.93, two to 0.89.
    """
    seeds, episodes = table.shape
    mean = table.mean()
    by_seed, by_episode = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)  # [K, 1], [1, E]
    free_seed, free_episode = seeds - 1, episodes - 1
    free_residual = free_seed * free_episode
    ms_residual = float(((table - by_seed - by_episode + mean) ** 2).sum()) / free_residual
    ms_seed = max(episodes * float(by_seed.var(ddof=1)), ms_residual)
    ms_episode = max(seeds * float(by_episode.var(ddof=1)), ms_residual)
    total = ms_seed + ms_episode - ms_residual
    freedom = total**2 / (ms_seed**2 / free_seed + ms_episode**2 / free_episode + ms_residual**2 / free_residual)
    return _Spread(total / (seeds * episodes), freedom, "t-interval (two-way random effects, Satterthwaite)")


@lru_cache(maxsize=1024)
def _t_quantile(level: float, freedom: float) -> float:
    from scipy.special import stdtrit  # that of `scipy.stats.t`, without the seconds that it takes to import

    return float(stdtrit(freedom, (1 + level) / 2))


def _without_spread(mean: float, over: str, predictions: int, level: float) -> Interval:
    """The interval of equal scores: exact where they are proportions of `predictions`, none where that is 0.

    Seeds answer the same queries, so only one seed's predictions count.
    """
    if not predictions:
        return Interval(mean, mean, mean, f"no interval: all scores are equal, over {over}", level)
    from scipy import stats

    exact = stats.binomtest(round(mean * predictions), predictions).proportion_ci(level, method="exact")
    low, high = min(float(exact.low), mean), max(float(exact.high), mean)
    method = f"{level:.0%} exact binomial interval over {predictions} query predictions, all scores equal, over {over}"
    return Interval(mean, low, high, method, level)
