"""Logistic regression is scikit-learn's, on features of unit length."""

import numpy as np
import pytest
import torch
from feature_tasks import feature_tasks, on_small_backbone
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_info

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.logistic_regression import LogisticRegression, LogisticRegressionHparams


def one(tasks: Tasks, task: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support, labels and queries of one task."""
    return tasks.support_x[task].numpy(), tasks.support_y[task].numpy(), tasks.query_x[task].numpy()


@pytest.mark.parametrize("penalty", [1.0, 10.0])
@pytest.mark.parametrize(("ways", "shots"), [(4, 1), (4, 5), (20, 2)])
def test_scores_are_those_of_a_pipeline_of_scikit_learn(ways: int, shots: int, penalty: float) -> None:
    """A `Normalizer` and a `LogisticRegression`, fitted to each task's support."""
    tasks = feature_tasks(9, ways, shots)
    for task, scores in enumerate(on_small_backbone(LogisticRegression, inverse_penalty=penalty).predict(tasks)):
        x, y, query = one(tasks, task)
        peer = make_pipeline(Normalizer(), Peer(C=penalty, max_iter=1000)).fit(x, y)
        np.testing.assert_allclose(scores, peer.decision_function(query), rtol=1e-12, atol=1e-12)


def test_two_ways_are_multinomial_as_any_others() -> None:
    """scipy minimises the objective of two weight vectors and finds the same scores."""
    tasks = feature_tasks(9, ways=2)
    scores = on_small_backbone(LogisticRegression).predict(tasks)[0]
    x, y, query = one(tasks, 0)
    x, query = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, query))

    def objective(flat: np.ndarray) -> float:
        weights, bias = flat[:-2].reshape(-1, 2), flat[-2:]
        logs = log_softmax(x @ weights + bias, axis=1)
        return float(-logs[np.arange(len(y)), y].sum() + 0.5 * (weights**2).sum())

    best = minimize(objective, np.zeros(2 * x.shape[1] + 2), options={"gtol": 1e-9}).x
    expected = softmax(query @ best[:-2].reshape(-1, 2) + best[-2:], axis=1)
    np.testing.assert_allclose(softmax(scores, 1), expected, atol=1e-3)  # scikit-learn stops at a gradient of 1e-4
    doubled = Peer(max_iter=1000).fit(x, y).predict_proba(query)  # one vector under the whole penalty
    assert abs(doubled - expected).max() > 0.01


def test_the_fit_is_the_minimum_of_the_penalised_cross_entropy() -> None:
    """No small step from scikit-learn's weights lowers C times the summed cross-entropy plus half their squared norm."""
    tasks = feature_tasks(9)
    x, y, _ = one(tasks, 0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = on_small_backbone(LogisticRegression)
    start, columns = found.fitted(x, y, np.zeros((1, 9))), found.fitted(x, y, np.eye(9))  # [1, N], [D, N]
    weights = columns - start

    def objective(weights: np.ndarray, bias: np.ndarray) -> float:
        logs = log_softmax(x @ weights + bias, axis=1)
        return float(-logs[np.arange(len(y)), y].sum() + 0.5 * (weights**2).sum())

    random = np.random.default_rng(0)
    at = objective(weights, start)
    for _ in range(20):
        step, shift = 0.05 * random.standard_normal(weights.shape), 0.05 * random.standard_normal(start.shape)
        assert objective(weights + step, start + shift) > at


def test_it_is_computed_in_float64_and_answered_in_the_type_of_the_features() -> None:
    """float32 features give float32 scores, those of the same features in float64."""
    tasks = feature_tasks(9)
    method = on_small_backbone(LogisticRegression)
    narrow, wide = (
        method.classify(tasks.support_x.to(kind), tasks.support_y, tasks.query_x.to(kind), 4, tasks.key)
        for kind in (torch.float32, torch.float64)
    )
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-5, atol=1e-5)


def test_the_threads_of_others_are_given_back() -> None:
    """The fit's one thread is not left behind."""
    before = [pool["num_threads"] for pool in threadpool_info()]
    on_small_backbone(LogisticRegression).predict(feature_tasks(9))
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("wrong", [{"inverse_penalty": 0.0}, {"max_iterations": 0}])
def test_impossible_hyper_parameters_are_refused(wrong: dict[str, float]) -> None:
    """A penalty must be positive, and there must be an iteration."""
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} must be"):
        build_hparams(LogisticRegressionHparams, wrong)
