"""Comparisons of two results have the answers of scipy and of closed forms.

The scores and answers are small cases made by hand.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.error_parts import SMALLEST_P
from fewshot_bench.results.families import Family, all_pairs, holm
from fewshot_bench.results.pairs import Pair, compare_pair, compare_unpaired

A = np.array([0.95, 0.85, 0.6, 0.75, 0.9, 0.55, 0.7, 0.8])
B = np.array([0.9, 0.8, 0.6, 0.65, 0.85, 0.55, 0.65, 0.7])
CHAIN = np.array(
    [
        [0.9, 0.8, 0.75, 0.8, 0.65, 0.65, 0.55, 0.6, 0.65, 0.8, 0.8, 0.65],
        [0.75, 0.75, 0.75, 0.85, 0.65, 0.55, 0.65, 0.6, 0.65, 0.7, 0.8, 0.5],
        [0.7, 0.7, 0.7, 0.8, 0.6, 0.55, 0.45, 0.55, 0.55, 0.65, 0.8, 0.6],
    ]
)


def family(*rows: np.ndarray, level: float = 0.95) -> Family:
    """All pairs of rows of scores, best first."""
    pairs = {(i, j): compare_pair(rows[i], rows[j], level=level) for i, j in all_pairs(len(rows))}
    return Family.of(pairs, len(rows), level)


def test_a_pair_is_scipys_paired_t_test() -> None:
    """Difference 0.05, t the square root of 14; pairs make the interval 4.52 times narrower."""
    pair, scipys = compare_pair(A, B), stats.ttest_rel(A, B)
    interval = scipys.confidence_interval()
    assert pair.difference == pytest.approx(0.05, abs=1e-12)
    assert pair.t == pytest.approx(math.sqrt(14), rel=1e-9)
    assert pair.p == pytest.approx(scipys.pvalue, rel=1e-9) == pytest.approx(0.007246989820287885, rel=1e-9)
    assert (pair.low, pair.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (pair.wins, pair.ties, pair.losses) == (6, 2, 0)
    assert pair.narrower == pytest.approx(4.518648333386135, rel=1e-9)
    welch = compare_unpaired(A, B)
    assert welch.p == pytest.approx(stats.ttest_ind(A, B, equal_var=False).pvalue, rel=1e-9)
    assert welch.unpaired_half == pair.unpaired_half == pytest.approx(0.14278305479429135, rel=1e-9)


def test_swapping_flips_signs_alone() -> None:
    """Width, p and evidence stay."""
    one, other = compare_pair(A, B), compare_pair(B, A)
    assert (one.difference, one.low, one.wins) == (-other.difference, -other.high, other.losses)  # type: ignore[operator]
    assert (one.p, one.narrower) == (other.p, other.narrower)


def test_a_smaller_error_is_better() -> None:
    """The metric's direction decides who wins; the difference keeps its sign."""
    pair = compare_pair(np.array([0.1, 0.2, 0.3, 0.15]), np.array([0.12, 0.25, 0.33, 0.15]), direction="min")
    assert (pair.difference, pair.p) == pytest.approx((-0.025, 0.09570892463402966), rel=1e-9)
    assert (pair.wins, pair.ties, pair.losses) == (3, 1, 0)


def test_the_same_scores_have_a_p_of_1() -> None:
    """And no interval, t or gain from pairs."""
    pair = compare_pair(A, A)
    assert (pair.test, pair.p, pair.difference, pair.low, pair.t, pair.narrower) == ("same scores", 1, 0, None, None, None)
    assert (pair.wins, pair.ties, pair.losses) == (0, 8, 0)


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_equal_differences_get_a_sign_test(noise: float) -> None:
    """Whether or not quotients of counts differ in the last bit, where scipy's t is 1e16."""
    scores = np.arange(1, 9) / 10
    pair = compare_pair(scores + 0.1 + noise * np.arange(8), scores)
    assert (pair.test, pair.p, pair.wins) == ("exact sign test", stats.binomtest(8, 8).pvalue, 8)
    assert (pair.difference, pair.low) == (pytest.approx(0.1), None)


@pytest.mark.parametrize("episodes", [2, 2000])
def test_no_p_value_is_0(episodes: int) -> None:
    """However many episodes agree, in a sign test or a t."""
    scores = np.linspace(0, 0.4, episodes)
    constant = compare_pair(scores + 0.1, scores)
    random = np.random.default_rng(0)
    spread = compare_pair(scores + 0.5 + 1e-4 * random.standard_normal(episodes), scores)
    assert SMALLEST_P <= constant.p < 1
    assert SMALLEST_P <= spread.p < 1


def test_seeds_of_both_add_their_part() -> None:
    """With several seeds the difference speaks of the methods; numbers and order of the seeds mean nothing."""
    random = np.random.default_rng(1)
    episodes = random.normal(0, 0.1, 300)
    first, second = (
        mean + random.normal(0, 0.02, (seeds, 1)) + episodes + random.normal(0, 0.05, (seeds, 300))
        for mean, seeds in ((0.6, 4), (0.5, 3))
    )
    pair = compare_pair(first, second)
    alone = compare_pair(first.mean(0), second.mean(0))
    assert pair.of_methods and not alone.of_methods
    assert pair.difference == pytest.approx(alone.difference)
    assert pair.high - pair.low > 2 * (alone.high - alone.low)  # type: ignore[operator]
    assert compare_pair(first[::-1], second[[1, 0, 2]]).p == pytest.approx(pair.p, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(3, 3), (2, 5), (5, 5), (10, 3)], ids=str)
@pytest.mark.parametrize("sd", [(0.0, 0.08, 0.05), (0.004, 0.08, 0.05), (0.02, 0.08, 0.05)], ids=str)
def test_the_interval_of_a_difference_covers_the_truth(seeds: tuple[int, int], sd: tuple[float, float, float]) -> None:
    """Over 2,000 simulated experiments on 200 shared episodes, whose difficulty both share in part."""
    random, held = np.random.default_rng(2), 0
    for _ in range(2000):
        shared = random.normal(0, sd[1], 200)
        tables = [
            random.normal(0, sd[0], (count, 1))
            + shared
            + random.normal(0, sd[1] / 2, 200)
            + random.normal(0, sd[2], (count, 200))
            for count in seeds
        ]
        pair = compare_pair(*tables)
        held += pair.low <= 0 <= pair.high  # type: ignore[operator]
    assert 0.93 <= held / 2000 <= 0.985


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.02, 0.03, 0.005], [0.03, 0.04, 0.04, 0.02]),
        ([0.0125, 0.017, 0.026], [0.0375, 0.0375, 0.0375]),
        ([0.001, 0.6, 0.6], [0.003, 1, 1]),
        ([0.04], [0.04]),
    ],
)
def test_holm(p: list[float], expected: list[float]) -> None:
    """By hand, in the order of the input."""
    assert holm(p) == pytest.approx(expected, abs=1e-12)


def test_tied_with_the_best_is_not_transitive() -> None:
    """b is tied with a, and c with b, but c is not tied with a."""
    found = family(*CHAIN)
    assert [one.p_holm for one in found.judged.values()] == pytest.approx(
        [0.16608681351829557, 0.0019190321696436908, 0.08365390224588867], rel=1e-9
    )
    assert found.tied_with_best == [0, 1]
    assert found.ranks == [1, 1, 2]
    assert found.groups == [(0, 1), (1, 2)]
    b_c = found.judged[1, 2]
    assert b_c.contradicts and b_c.verdict == "not separated"
    assert (b_c.pair.low, b_c.pair.high) == pytest.approx((0.0020260430226949067, 0.08964062364397177), rel=1e-6)


def test_a_copy_makes_the_family_larger() -> None:
    """Two copies of one result are one more member, and every other pair is harder to separate."""
    plain, copied = family(A, B), family(A, A, B)
    assert copied.judged[0, 1].verdict == "same scores"
    assert copied.judged[0, 2].p_holm == pytest.approx(3 * plain.judged[0, 1].p_holm)


def test_what_could_not_have_been_separated_is_not_tied() -> None:
    """Three episodes of equal differences cannot go below 0.25."""
    found = family(A[:3] + 0.1, A[:3])
    assert found.judged[0, 1].verdict == "not testable"
    assert found.tied_with_best == [0]


def test_the_smallest_difference_is_where_separation_begins() -> None:
    """At Holm's step of the pair: one that is a little larger would have been separated."""
    found = family(*CHAIN).judged[1, 2]
    assert found.smallest is not None
    shifted = CHAIN[1] + (found.smallest - found.pair.difference)
    for factor, verdict in ((1.001, "separated"), (0.999, "not separated")):
        rows = [CHAIN[0] + 1, shifted + (factor - 1) * found.smallest, CHAIN[2]]
        pairs: dict[tuple[int, int], Pair] = {(i, j): compare_pair(rows[i], rows[j]) for i, j in all_pairs(3)}
        pairs[0, 1] = compare_pair(CHAIN[0], CHAIN[1])  # 0.166: the pair stands at the second step, as before
        assert Family.of(pairs, 3, 0.95).judged[1, 2].verdict == verdict


def test_ranks_of_a_ladder() -> None:
    """Each step clearly below the one before."""
    random = np.random.default_rng(3)
    rows = [0.9 - 0.2 * i + random.normal(0, 0.01, 50) for i in range(4)]
    found = family(*rows)
    assert found.ranks == [1, 2, 3, 4]
    assert found.groups == []
    assert all(found.apart(i, j) for i, j in pairwise(range(4)))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [(A, B[:5], "8 and 5"), (A[:1], B[:1], "at least 2"), (A, np.where(B > 0.8, np.nan, B), "not finite")],
)
def test_what_is_no_pair_is_refused(first: np.ndarray, second: np.ndarray, words: str) -> None:
    """With the reason."""
    with pytest.raises(FewshotError, match=words):
        compare_pair(first, second)
