"""How many test episodes, or training seeds, would separate two results that differ by a given margin.

The spread is that of a pair at hand. The power of a t-test against a difference is that of the noncentral t distribution:
P(|T| > t(1 - alpha / 2)) where T has the noncentrality margin / standard error. That of several seeds is simulated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fewshot_bench.errors import UsageError
from fewshot_bench.results.pairs import Pair

MOST_EPISODES, MOST_SEEDS = 10_000_000, 10_000
SIMULATED = 20_000
"""Comparisons that are simulated for a power: it is found to about 0.003."""
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
    if not of_seeds:
        return Needed(episodes, None, _power(margin, of_episodes.variance, pair.episodes - 1, level))
    spread = _Spread.of(pair)
    seeds = _least(lambda k: spread.power(margin, (k, k), level) >= power, 2, MOST_SEEDS)
    return Needed(episodes, seeds, spread.power(margin, pair.seeds, level))


@dataclass(frozen=True)
class _Spread:
    """The variances behind a pair of several seeds each, on its episodes."""

    seed: tuple[float, ...]
    """Of one seed's mean, of each result."""
    chance: tuple[float, ...]
    """Of one seed's mean, by its own chance in each episode."""
    episodes: float
    """Of the mean difference, by the episodes alone."""
    freedom: int

    @classmethod
    def of(cls, pair: Pair) -> "_Spread":
        """Of a pair whose parts are those of both seeds, then that of the episodes with the chance of the seeds in it."""
        first, second, of_episodes = pair.parts
        seed = tuple(part.variance * count for part, count in zip((first, second), pair.seeds, strict=True))
        chance = tuple(one * count for one, count in zip(pair.residuals, pair.seeds, strict=True))
        return cls(seed, chance, max(of_episodes.variance - sum(pair.residuals), 0.0), pair.episodes - 1)

    def power(self, margin: float, seeds: tuple[int, int], level: float) -> float:
        """The share of `SIMULATED` comparisons with so many seeds whose interval leaves zero out.

        Simulated, because the seeds' part of an interval has few degrees of freedom and is cut off at zero: no t
        distribution describes it. The draws are always the same.
        """
        from scipy.special import stdtrit

        random = np.random.Generator(np.random.Philox(0))
        within = self.episodes + sum(one / k for one, k in zip(self.chance, seeds, strict=True))
        difference = margin + math.sqrt(within + sum(one / k for one, k in zip(self.seed, seeds, strict=True))) * (
            random.standard_normal(SIMULATED)
        )
        half = stdtrit(self.freedom, (1 + level) / 2) ** 2 * np.full(SIMULATED, within)
        for of_seed, chance, k in zip(self.seed, self.chance, seeds, strict=True):
            spread = (of_seed + chance) * random.chisquare(k - 1, SIMULATED) / (k - 1) - chance
            half += stdtrit(k - 1, (1 + level) / 2) ** 2 * np.maximum(spread, 0.0) / k
        return float((difference**2 > half).mean())


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
