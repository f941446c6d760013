"""A metric is one declaration; its scores are those of independent sources."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from fewshot_bench.metrics import BINS, METRICS, accuracy, calibration_error, extra_metrics, macro_f1, main_metric


def drawn(episodes: int, queries: int, ways: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [T, Q, N] and labels [T, Q], in every second episode without the last way."""
    random = np.random.default_rng(seed)
    labels = random.integers(ways, size=(episodes, queries))
    labels[::2] %= max(ways - 1, 1)
    scores = random.normal(size=(episodes, queries, ways)) * 3
    return torch.from_numpy(scores), torch.from_numpy(labels)


def calibration_error_by_loops(scores: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al.'s equation 3 for one episode, bin by bin, in plain numpy."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    confidence = (powers / powers.sum(1, keepdims=True)).max(1)
    right = scores.argmax(1) == labels
    error = 0.0
    for lower in range(BINS):
        inside = (confidence > lower / BINS) & (confidence <= (lower + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


@pytest.mark.parametrize("ways", [2, 5, 20])
def test_macro_f1_is_that_of_scikit_learn(ways: int) -> None:
    """Episode by episode, ways that are neither predicted nor true among them."""
    scores, labels = drawn(200, 10, ways)
    expected = [
        f1_score(true, said, average="macro", labels=range(ways), zero_division=0)
        for true, said in zip(labels.numpy(), scores.argmax(-1).numpy(), strict=True)
    ]
    np.testing.assert_allclose(macro_f1(scores, labels).numpy(), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("ways", [2, 5, 20])
def test_the_calibration_error_is_that_of_its_equation(ways: int) -> None:
    """Episode by episode, also where a score of -inf rules a way out."""
    scores, labels = drawn(200, 30, ways)
    scores[1::3, :, -1] = -torch.inf
    expected = [calibration_error_by_loops(one, true) for one, true in zip(scores.numpy(), labels.numpy(), strict=True)]
    np.testing.assert_allclose(calibration_error(scores, labels).numpy(), expected, rtol=0, atol=1e-14)


def test_a_certain_and_a_calibrated_learner_have_known_errors() -> None:
    """Certain and always wrong: 1. As often right as it is confident: 0."""
    labels = torch.tensor([[0, 0, 0, 1]])
    wrong = torch.nn.functional.one_hot(1 - labels, 2) * 1e4
    assert calibration_error(wrong, labels).tolist() == [1.0]
    calibrated = torch.tensor([0.75, 0.25]).double().log().expand(1, 4, 2)
    assert calibration_error(calibrated, labels).tolist() == pytest.approx([0.0])


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_scores_within_its_bounds(name: str) -> None:
    """One score a task, in float or double."""
    metric = METRICS[name]
    scores, labels = drawn(50, 7, 3) if metric.kind == "classification" else (torch.randn(50, 7, 2), torch.randn(50, 7, 2))
    found = metric.score(scores, labels)
    assert found.shape == (50,)
    assert all(metric.holds(one) for one in found.tolist())
    assert metric.holds(metric.low) and not metric.holds(metric.low - 1e-9) and not metric.holds(float("nan"))


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if one.of_queries], ids=lambda one: one.name)
def test_a_share_of_the_queries_is_a_multiple_of_one_query(metric: object) -> None:
    """As a record's scores are checked."""
    assert metric is METRICS["accuracy"]
    right = accuracy(*drawn(50, 7, 3)) * 7
    np.testing.assert_allclose(right, right.round(), atol=1e-12)


def test_each_kind_has_one_main_metric() -> None:
    """And the others are asked for by name."""
    assert {kind: main_metric(kind).name for kind in ("classification", "regression")} == {
        "classification": "accuracy",
        "regression": "mse",
    }
    assert len([one for one in METRICS.values() if one.main]) == 2
    assert set(extra_metrics()) == METRICS.keys() - {"accuracy", "mse"} == set(extra_metrics("classification"))
    assert extra_metrics("regression") == []


@pytest.mark.parametrize(
    ("name", "title", "text"),
    [("accuracy", "accuracy %", "51.23 %"), ("mse", "mse", "mse 0.512"), ("ece", "ECE %", "51.23 %")],
)
def test_a_metric_has_the_words_of_its_column(name: str, title: str, text: str) -> None:
    """Header, and a mean in the unit of print."""
    assert METRICS[name].title == title
    assert METRICS[name].text(0.5123) == text
