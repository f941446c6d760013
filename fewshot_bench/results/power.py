"""How many test episodes, or training seeds, would separate two results that differ by a given margin.

The spread is that of a pair at hand. The power of a t-test against a difference is that of the noncentral t distribution:
P(|T| > t(1 - alpha / 2)) where T has the noncentrality margin / standard error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from fewshot_bench.errors import UsageError
from fewshot_bench.results.pairs import Pair

MOST_EPISODES, MOST_SEEDS = 10_000_000, 10_000
NORMAL = 1000
"""Degrees of freedom from which the normal distribution takes the place of t's; the power differs by less than 0.001."""


@dataclass(frozen=True)
class Needed:
    """What a pair would need to be separated."""

    episodes: int | None
    """Test episodes for these checkpoints; None where `MOST_EPISODES` are too few."""
    seeds: int | None
    """Training seeds of each method on the episodes at hand; None where there are none, or `MOST_SEEDS` are too few."""
    power_now: float
    """The chance that so many episodes and seeds as there are separate them."""


def needed(pair: Pair, margin: float, *, level: float = 0.95, power: float = 0.8) -> Needed:
    """Episodes and seeds that separate two results which differ by `margin` (in the metric's unit) with the chance `power`.

    Raises `UsageError` for a margin or a chance that is none, and for pairs without spread.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise UsageError(f"--margin must be above 0, got {margin}: write --margin 1.0 for one point.")
    if not 0 < power < 1:
        raise UsageError(f"--power must lie between 0 and 1, got {power}: write --power 0.8.")
    if pair.low is None:
        raise UsageError("The two results differ by the same in every episode, so that no number of episodes is too small.")
    *of_seeds, of_episodes = pair.parts
    one_episode = of_episodes.variance * pair.episodes
    episodes = _least(lambda n: _power(margin, one_episode / n, n - 1, level) >= power, 2, MOST_EPISODES)
    seeds = None
    if of_seeds:
        one_seed = sum(part.variance * count for part, count in zip(of_seeds, pair.seeds, strict=True))
        rest = of_episodes.variance
        seeds = _least(lambda k: _power(margin, one_seed / k + rest, k - 1, level) >= power, 2, MOST_SEEDS)
    variance = sum(part.variance for part in pair.parts)
    freedom = min(pair.seeds) - 1 if of_seeds else pair.episodes - 1
    return Needed(episodes, seeds, _power(margin, variance, freedom, level))


def _power(margin: float, variance: float, freedom: float, level: float) -> float:
    from scipy.stats import nct, norm, t

    if variance == 0:
        return 1.0
    bound, shift = float(t.ppf((1 + level) / 2, freedom)), margin / math.sqrt(variance)
    if freedom > NORMAL:
        return float(norm.sf(bound - shift) + norm.cdf(-bound - shift))
    return float(nct.sf(bound, freedom, shift))  # below -bound lies next to nothing, where scipy's answer may be NaN


def _least(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The least whole number from `low` to `high` that is enough, where more is never less; None if none is."""
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
