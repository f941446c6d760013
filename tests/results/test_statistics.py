"""Intervals are checked against scipy, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.error_parts import SMALLEST_P, Part, half_width, p_value
from fewshot_bench.results.statistics import ONE_SEED, Scores, error_parts, score_interval, trials_of


def draw(seed: int, seeds: int, episodes: int, sd: tuple[float, float, float]) -> Scores:
    """Scores [seeds, episodes] around 0.5 with the given sd of seeds, episodes and residuals."""
    random = np.random.default_rng(seed)
    scores: Scores = (
        0.5
        + sd[0] * random.standard_normal((seeds, 1))
        + sd[1] * random.standard_normal((1, episodes))
        + sd[2] * random.standard_normal((seeds, episodes))
    )
    return scores


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_one_seed_gives_scipys_t_interval_over_episodes(level: float) -> None:
    """With one seed the interval is Student's t over the episodes."""
    scores = draw(0, 1, 200, (0, 0.1, 0))[0]
    interval = score_interval([scores], trials=75, level=level)
    expected = stats.t.interval(level, 199, loc=scores.mean(), scale=stats.sem(scores))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-12)


def test_the_method_of_one_seed_says_that_it_speaks_of_one_checkpoint() -> None:
    """A reader of a one-seed interval is told what it leaves out."""
    method = score_interval([draw(0, 1, 20, (0, 0.1, 0))[0]], trials=75).method
    assert method == f"95% t-interval over 20 episodes; {ONE_SEED}"


def test_the_method_of_several_seeds_names_episodes_and_seeds() -> None:
    """The phrase states the method, the level, the number of episodes and of seeds."""
    method = score_interval(list(draw(0, 3, 20, (0.1, 0.1, 0.1))), trials=75).method
    assert method == "95% t-interval (two-way random effects) over 20 episodes crossed with 3 seeds"


def test_seeds_that_dominate_give_the_t_interval_over_their_means() -> None:
    """Where the training noise is much larger than that of the episodes, only the seeds count."""
    scores = draw(1, 5, 400, (0.1, 1e-4, 1e-4))
    interval = score_interval(list(scores), trials=75)
    expected = stats.t.interval(0.95, 4, loc=scores.mean(), scale=stats.sem(scores.mean(axis=1)))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-4)


def test_equal_seeds_give_the_interval_of_one_of_them() -> None:
    """A method that ignores its seed gains nothing from five of them."""
    scores = draw(2, 1, 300, (0, 0.1, 0))[0]
    one, five = score_interval([scores], trials=75), score_interval([scores] * 5, trials=75)
    assert (five.low, five.high) == pytest.approx((one.low, one.high), rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sd", [(0.05, 0.05, 0.05), (0, 0.05, 0.05), (0.05, 0, 0.05), (0, 0, 0.05)])
def test_the_variance_is_never_below_that_of_the_means_of_seeds_or_of_episodes(
    seed: int, sd: tuple[float, float, float]
) -> None:
    """A negative estimate of one component does not eat into the other."""
    scores = draw(seed, 3, 30, sd)
    interval = score_interval(list(scores), trials=75)
    least = max(stats.sem(scores.mean(axis=1)), stats.sem(scores.mean(axis=0)))
    assert interval.high - interval.low >= 2 * stats.norm.ppf(0.975) * least


@pytest.mark.parametrize("sd", [(0.05, 0.05, 0.05), (0, 0.05, 0.05), (0.05, 0, 0.05)])
def test_the_parts_are_the_mean_squares_of_a_two_way_layout(sd: tuple[float, float, float]) -> None:
    """Written out cell by cell; an excess below zero counts as zero."""
    scores = draw(3, 3, 8, sd)
    mean = scores.mean()
    ms_seed = sum(8 * (row.mean() - mean) ** 2 for row in scores) / 2
    ms_episode = sum(3 * (column.mean() - mean) ** 2 for column in scores.T) / 7
    ms_rest = (
        sum((scores[k, e] - scores[k].mean() - scores[:, e].mean() + mean) ** 2 for k in range(3) for e in range(8)) / 14
    )
    expected = [(max(ms_seed - ms_rest, 0) / 24, 2), (max(ms_episode, ms_rest) / 24, 7)]
    np.testing.assert_allclose(error_parts(scores), expected, rtol=1e-12)


def test_a_p_value_is_1_less_the_level_of_the_interval_that_just_reaches_zero() -> None:
    """Student's where there is one part, at any size; never 0."""
    one = [Part(0.04, 7)]
    for distance in (0.1, 0.5, 3.0, 200.0):
        assert p_value(distance, one) == pytest.approx(2 * stats.t.sf(distance / 0.2, 7), rel=1e-9)
    several = [Part(0.04, 2), Part(0.01, 199)]
    assert half_width(several, 1 - p_value(0.7, several)) == pytest.approx(0.7, rel=1e-9)
    assert p_value(0.0, several) == 1
    assert p_value(1.0, [Part(1e-12, 1999)]) == SMALLEST_P


SPREADS = [
    (0.0, 0.08, 0.05),
    (0.002, 0.08, 0.05),
    (0.004, 0.08, 0.05),
    (0.01, 0.08, 0.05),
    (0.03, 0.08, 0.05),
    (0.005, 0.2, 0.1),
]
"""Deviations of seeds, episodes and residuals, as records show them: accuracies of 5 points from episode to episode with 75
queries, of 20 with 5; 0.2 to 3 points from seed to seed."""


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [600, 2000])
@pytest.mark.parametrize("sd", SPREADS, ids=str)
@pytest.mark.parametrize(
    ("seeds", "least", "most"), [(2, 0.93, 0.97), (3, 0.94, 0.975), (5, 0.94, 0.975), (10, 0.94, 0.975)]
)
def test_the_crossed_interval_covers_the_truth_as_often_as_it_says(
    seeds: int, least: float, most: float, sd: tuple[float, float, float], episodes: int
) -> None:
    """Over 20,000 simulated experiments, whose mean squares are drawn from their chi-squared distributions."""
    random = np.random.default_rng(0)
    experiments = 20_000
    free = np.array([seeds - 1, episodes - 1, (seeds - 1) * (episodes - 1)])
    expected = np.array([episodes * sd[0] ** 2 + sd[2] ** 2, seeds * sd[1] ** 2 + sd[2] ** 2, sd[2] ** 2])
    by_seed, by_episode, rest = (expected * random.chisquare(free, (experiments, 3)) / free).T
    error = random.normal(0, np.sqrt((expected[0] + expected[1] - expected[2]) / (seeds * episodes)), experiments)
    t = stats.t.ppf(0.975, free[:2])
    half = (t[0] ** 2 * np.maximum(by_seed - rest, 0) + t[1] ** 2 * np.maximum(by_episode, rest)) / (seeds * episodes)
    parts = [
        [Part(max(s - r, 0) / seeds / episodes, free[0]), Part(max(e, r) / seeds / episodes, free[1])]
        for s, e, r in zip(by_seed[:50], by_episode[:50], rest[:50], strict=True)
    ]
    np.testing.assert_allclose([half_width(one, 0.95) for one in parts], np.sqrt(half[:50]))
    held = float((error**2 < half).mean())
    assert least - 0.003 <= held <= most + 0.003  # two standard errors of 20,000 experiments


def test_an_interval_over_episodes_alone_would_cover_too_little() -> None:
    """The crossed interval earns its keep: the episodes' own interval misses the truth far too often."""
    held = 0
    for seed in range(300):
        interval = score_interval([draw(seed, 5, 200, (0.02, 0.05, 0.05)).mean(axis=0)], trials=75)
        held += interval.low <= 0.5 <= interval.high
    assert held / 300 < 0.8


def test_perfect_scores_give_the_closed_form_of_clopper_and_pearson() -> None:
    """n successes of n have the exact lower bound (alpha / 2) ** (1 / n) and the upper bound 1."""
    interval = score_interval([np.ones(2000)], trials=75)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1, 0.025 ** (1 / 150_000), 1), rel=1e-12)


def test_equal_scores_below_one_give_the_beta_quantiles_of_clopper_and_pearson() -> None:
    """k successes of n have the beta distribution's quantiles as exact bounds."""
    interval = score_interval([np.full(40, 0.8)], trials=25)
    low, high = stats.beta.ppf(0.025, 800, 201), stats.beta.ppf(0.975, 801, 200)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("predictions", [1000, 1234])
def test_equal_scores_of_varying_ways_are_exact_over_the_predictions_that_were_made(predictions: int) -> None:
    """A record says how many there were where that is not ways times queries times episodes."""
    test = {"ways": 2, "queries": 5, "episodes": 100}
    assert trials_of({"test": test}) == 10
    interval = score_interval([np.ones(100)], trials=trials_of({"test": test, "predictions": predictions}))
    assert (interval.low, interval.high) == pytest.approx((0.025 ** (1 / predictions), 1), rel=1e-12)
    assert f"over {predictions} query predictions" in interval.method


def test_seeds_that_all_agree_count_their_shared_queries_once() -> None:
    """Five seeds that are right on the same queries are no stronger evidence than one."""
    one, five = score_interval([np.ones(100)], trials=5), score_interval([np.ones(100)] * 5, trials=5)
    assert (five.low, five.high) == (one.low, one.high)


def test_an_error_that_never_varies_says_that_it_has_no_interval() -> None:
    """A mean squared error has no binomial model to fall back on."""
    assert score_interval([np.full(10, 0.3)], trials=5, metric="mse").method.startswith("no interval")


@pytest.mark.parametrize(("metric", "lowest", "highest"), [("accuracy", 0, 1), ("mse", 0, 9)])
def test_bounds_stay_within_the_range_of_the_metric(metric: str, lowest: float, highest: float) -> None:
    """No accuracy above 1 and no squared error below 0 is ever shown."""
    interval = score_interval([np.array([0.0, 1.0, 1.0])], trials=5, metric=metric)
    assert lowest <= interval.low < interval.mean < interval.high <= highest


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([], "no episodes"),
        ([np.array([1.0])], "at least 2"),
        ([np.ones(3), np.ones(4)], r"\[3, 4\]"),
        ([np.array([1.0, np.nan])], "not finite"),
    ],
    ids=["no-seed", "one-episode", "unequal", "nan"],
)
def test_scores_without_an_interval_are_refused(scores: list[Scores], words: str) -> None:
    """What cannot be summarised is refused with the reason."""
    with pytest.raises(FewshotError, match=words):
        score_interval(scores, trials=5)
