"""The numbers of episodes and seeds that a pair needs, against the closed form and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from fewshot_bench.errors import UsageError
from fewshot_bench.results.pairs import compare_pair
from fewshot_bench.results.power import _Spread, needed

RANDOM = np.random.default_rng(0)
FIRST, SECOND = RANDOM.normal(0.6, 0.1, 400), RANDOM.normal(0.6, 0.1, 400)


@pytest.mark.parametrize("margin", [0.002, 0.02, 0.1])
def test_episodes_are_those_of_the_textbook(margin: float) -> None:
    """(z(0.975) + z(0.8))^2 times the variance over the margin squared, and one or two for Student's t."""
    spread = float((FIRST - SECOND).std(ddof=1))
    textbook = math.ceil(((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * spread / margin) ** 2)
    found = needed(compare_pair(FIRST, SECOND), margin).episodes
    assert found is not None
    assert textbook <= found <= textbook * 1.001 + 3


def test_as_many_episodes_find_the_margin_as_often_as_was_said() -> None:
    """Simulated: a shift of the margin, tested by scipy on so many episodes."""
    spread = float((FIRST - SECOND).std(ddof=1))
    count = needed(compare_pair(FIRST, SECOND), 0.05).episodes
    assert count is not None
    gaps = np.random.default_rng(1).normal(0.05, spread, (4000, count))
    assert (stats.ttest_1samp(gaps, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_seeds_are_needed_where_seeds_differ() -> None:
    """More of them for a smaller margin, none that would do where the episodes alone hide it."""
    random = np.random.default_rng(2)
    episodes = random.normal(0.6, 0.1, 2000)
    tables = [episodes + random.normal(0, 0.02, (5, 1)) + random.normal(0, 0.05, (5, 2000)) for _ in range(2)]
    pair = compare_pair(*tables)
    wide, narrow, hidden = (needed(pair, margin).seeds for margin in (0.05, 0.02, 0.0005))
    assert wide is not None and narrow is not None
    assert 2 < wide < narrow
    assert hidden is None
    assert needed(compare_pair(FIRST, SECOND), 0.05).seeds is None


def drawn_pair(random: np.random.Generator, seeds: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Two results of so many seeds that differ by the margin, on 100 episodes."""
    hard, own = random.normal(0.6, 0.1, 100), random.normal(0, 0.05, (2, 100))
    tables = hard + own[:, None] + random.normal(0, 0.01, (2, seeds, 1)) + random.normal(0, 0.04, (2, seeds, 100))
    return tables[0] + margin, tables[1]


@pytest.mark.parametrize("seeds", [2, 5, 12])
def test_as_many_seeds_find_the_margin_as_often_as_was_said(seeds: int) -> None:
    """Tables are drawn whole and compared; power is said of the variances that they are drawn with."""
    random = np.random.default_rng(3)
    found = [compare_pair(*drawn_pair(random, seeds, 0.02)) for _ in range(1500)]
    spread = _Spread((0.01**2,) * 2, (0.04**2 / 100,) * 2, 2 * 0.05**2 / 100, 99)
    apart = [pair.low is not None and pair.high is not None and (pair.low > 0 or pair.high < 0) for pair in found]
    assert np.mean(apart) == pytest.approx(spread.power(0.02, (seeds, seeds), 0.95), abs=0.04)


def test_more_seeds_average_their_chance_in_each_episode() -> None:
    """What is left with very many seeds is the episodes' part alone."""
    pair = compare_pair(*drawn_pair(np.random.default_rng(5), 3, 0.02))
    spread = _Spread.of(pair)
    alone = math.sqrt(spread.episodes)
    bound = float(stats.t.ppf(0.975, 99)) - 0.02 / alone
    assert spread.power(0.02, (5000, 5000), 0.95) == pytest.approx(float(stats.norm.sf(bound)), abs=0.02)


@pytest.mark.parametrize(
    ("margin", "power", "words"), [(0, 0.8, "--margin"), (math.nan, 0.8, "--margin"), (1, 1, "--power")]
)
def test_what_is_no_question_is_refused(margin: float, power: float, words: str) -> None:
    """With the option that mends it."""
    with pytest.raises(UsageError, match=words):
        needed(compare_pair(FIRST, SECOND), margin, power=power)
