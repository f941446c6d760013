"""Confidence intervals of a score over test episodes and training seeds.

K training seeds, E test episodes; every seed is tested on the same episodes, so the design is crossed. An interval over
the seeds' means alone would be blind to the noise of the episodes that they share; one over the episodes alone, to that
of training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import FewshotError
from fewshot_bench.metrics import METRICS
from fewshot_bench.results.error_parts import Part, episode_part, half_width, residual, seed_part

Scores = npt.NDArray[np.float64]

DISJOINT = "without an image in common: speaks of new images of these classes"
ONE_SEED = "one seed: speaks of this checkpoint only"
RESAMPLES = 9_999
TWO_SEEDS = "two seeds: covers 93 to 97 % in simulations"


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, in the metric's unit (accuracies in [0, 1])."""

    mean: float
    low: float
    high: float
    method: str
    """One phrase for people: the method, the level, the number of episodes and of seeds."""
    level: float = 0.95


def score_interval(
    scores: Sequence[Scores],
    *,
    trials: float,
    metric: str = "accuracy",
    level: float = 0.95,
    disjoint: bool = False,
    bootstrap: bool = False,
) -> Interval:
    """The confidence interval of the mean score.

    One seed: Student's t over its episodes. Several: two-way random effects, see `error_parts`. Shares of the queries
    (accuracies) that are all equal: the exact binomial interval (Clopper & Pearson 1934) on the predictions of one seed's
    queries, because a spread of zero over episodes is no certainty. Other metrics have no such model: where all are equal,
    low = high = mean and `method` says so. Bounds are clipped to the metric's range.

    Args:
        scores: one array [E] a training seed, all over the same episodes in the same order.
        trials: query predictions in one episode, on average where episodes differ in ways (`trials_of`).
        metric: name of the metric, for its bounds; what is none of `metrics.METRICS` has none.
        level: confidence level in (0, 1).
        disjoint: whether no two episodes share an image, which the interval says.
        bootstrap: BCa in place of t for one seed (Efron 1987), of a fixed seed; for several seeds t remains.

    Raises:
        FewshotError: no seed, fewer than two episodes, seeds of different lengths, or a score that is not finite.

    """
    table = _table(scores)
    seeds, episodes = table.shape
    mean = float(table.mean())
    over = f"{episodes} episodes" + (f" {DISJOINT}" if disjoint else "")
    over += f"; {ONE_SEED}" if seeds == 1 else f" crossed with {seeds} seeds"
    over += f"; {TWO_SEEDS}" if seeds == 2 and level == 0.95 else ""
    known = METRICS.get(metric)
    if np.ptp(table) < 1e-12:
        return _without_spread(mean, over, round(episodes * trials) if known and known.of_queries else 0, level)
    if bootstrap and seeds == 1:
        low, high = _bca(table[0], level)
        return Interval(mean, low, high, f"{level:.0%} BCa bootstrap interval ({RESAMPLES:,} resamples) over {over}", level)
    half = half_width(error_parts(table), level)
    lowest, highest = (known.low, known.high) if known else (-math.inf, math.inf)
    method = f"{level:.0%} t-interval{'' if seeds == 1 else ' (two-way random effects)'} over {over}"
    return Interval(mean, max(mean - half, lowest), min(mean + half, highest), method, level)


def _bca(scores: Scores, level: float) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of a mean, the same each time."""
    from scipy import stats

    found = stats.bootstrap(
        (scores,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        batch=500,
        method="BCa",
        rng=0,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def trials_of(result: Mapping[str, Any]) -> float:
    """Query predictions in one episode of a result in a record; on average where its episodes differ in ways."""
    test = result["test"]
    if result.get("predictions") is not None:
        return float(result["predictions"] / test["episodes"])
    return float(test["ways"] * test["queries"])


def is_disjoint(result: Mapping[str, Any]) -> bool:
    """Whether no two test episodes of a result share an image."""
    return bool(result["test"].get("sampling") == "disjoint")


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


def error_parts(table: Scores) -> list[Part]:
    """The parts of the variance of the grand mean of [K, E]: that of the seeds, where there are several, and the rest.

    Two-way random effects without replication: Var(grand mean) = var_seed / K + var_episode / E + var_residual / (K E). The
    last two are estimated together, (MS_episode - MS_residual) / (K E) + MS_residual / (K E), where the first counts as zero
    if it is below, so that the variance is never below that of the seeds' means alone, nor below that of the episodes' means
    alone.
    """
    seeds, episodes = table.shape
    by_episode = episode_part(table.mean(axis=0))
    if seeds == 1:
        return [by_episode]
    least = residual(table) / (seeds * episodes)
    return [seed_part(table), Part(max(by_episode.variance, least), by_episode.freedom)]


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
