"""Intervals are checked against scipy, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.statistics import ONE_SEED, Scores, score_interval, trials_of


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
    assert method == "95% t-interval (two-way random effects, Satterthwaite) over 20 episodes crossed with 3 seeds"


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


@pytest.mark.parametrize(
    "sd", [(0.005, 0.05, 0.05), (0.002, 0.05, 0.1), (0, 0.1, 0.1)], ids=["seeds", "episodes", "no-seed-effect"]
)
def test_the_crossed_interval_covers_the_truth_as_often_as_it_says(sd: tuple[float, float, float]) -> None:
    """Over 600 simulated experiments of five seeds the 95 % interval holds the true mean about 95 times in 100."""
    held = 0
    for seed in range(600):
        interval = score_interval(list(draw(seed, 5, 200, sd)), trials=75)
        held += interval.low <= 0.5 <= interval.high
    assert 0.93 <= held / 600 <= 0.975


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
