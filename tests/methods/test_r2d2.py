"""R2-D2 equals its equation in numpy, as the authors' code writes it, and scikit-learn's ridge regression.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from feature_tasks import feature_tasks
from held import held
from plain_loop import images_tasks
from scipy.special import log_softmax
from sklearn.linear_model import Ridge

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4 import Conv4, conv4_64
from fewshot_methods.r2d2 import R2D2, R2D2Hparams

PENALTY, SCALE = 0.3, 4.0
sizes = pytest.mark.parametrize("features", [4, 30], ids=["more images than features", "more features than images"])
learned = pytest.mark.parametrize("learn_penalty", [True, False], ids=["learned", "fixed"])


def build(ways: int = 4, **hparams: Any) -> R2D2:
    """The method in float64 on a small Conv4, with random parameters of the network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Conv4((1, 16, 16), filters=5, strided=False, scale=True, eps=1e-5)
        info = MethodInfo("classification", ways, ways, (1, 16, 16), 20)
        method = R2D2(build_hparams(R2D2Hparams, {"penalty": PENALTY, "scale": SCALE} | hparams), info, backbone).double()
        for name, parameter in method.network.named_parameters():
            noise = torch.randn(parameter.shape, dtype=torch.float64)
            parameter.data = 0.5 * noise + float(name.endswith("_scale"))
        if method.hparams.learn_penalty:  # it was rounded to float32
            assert float(torch.as_tensor(method.penalty).detach()) == pytest.approx(PENALTY, rel=1e-6)
            method.log_penalty.data = torch.tensor(math.log(PENALTY), dtype=torch.float64)
    held(method, Conditions("joint"))
    return method


def as_the_authors_write_it(tasks: Tasks, task: int, woodbury: bool) -> npt.NDArray[np.float64]:
    """Scores [Q, N] of one task of features: both sides divided by the square root of the number of images, an inverse."""
    labels = np.eye(tasks.ways)[tasks.support_y[task].numpy()]
    x = np.concatenate([tasks.support_x[task].numpy(), np.ones((len(labels), 1))], 1)
    x, y = x / np.sqrt(len(labels)), labels / np.sqrt(len(labels))
    if woodbury:
        weights = x.T @ np.linalg.inv(x @ x.T + PENALTY * np.eye(len(x))) @ y
    else:
        weights = np.linalg.inv(x.T @ x + PENALTY * np.eye(x.shape[1])) @ x.T @ y
    scores: npt.NDArray[np.float64] = SCALE * (tasks.query_x[task].numpy() @ weights[:-1] + weights[-1])
    return scores


@sizes
@learned
@pytest.mark.parametrize("woodbury", [True, False])
def test_scores_are_those_of_the_authors_equation(features: int, learn_penalty: bool, woodbury: bool) -> None:
    """In numpy, by either of their two forms, whatever the size of the support."""
    tasks = feature_tasks(features)
    for task, scores in enumerate(build(learn_penalty=learn_penalty).predict(tasks).detach()):
        np.testing.assert_allclose(scores, as_the_authors_write_it(tasks, task, woodbury), rtol=1e-8, atol=1e-10)


@sizes
def test_scores_are_those_of_scikit_learns_ridge_regression(features: int) -> None:
    """With a penalty of lambda an image and a column of ones for the bias, which is penalised too."""
    tasks = feature_tasks(features)
    for task, scores in enumerate(build().predict(tasks).detach()):
        x, query = (
            np.pad(part[task].numpy(), ((0, 0), (0, 1)), constant_values=1) for part in (tasks.support_x, tasks.query_x)
        )
        model = Ridge(alpha=len(x) * PENALTY, fit_intercept=False).fit(x, np.eye(4)[tasks.support_y[task]])
        np.testing.assert_allclose(scores, SCALE * model.predict(query), rtol=1e-7, atol=1e-9)


def test_the_loss_is_the_cross_entropy_of_the_scores() -> None:
    """For each task: the mean over its queries of minus the log-probability of the right class."""
    tasks = feature_tasks(30)
    for task, loss in enumerate(build().loss(tasks).detach()):
        logs = log_softmax(as_the_authors_write_it(tasks, task, woodbury=True), axis=1)
        np.testing.assert_allclose(loss, -logs[np.arange(len(logs)), tasks.targets[task]].mean(), rtol=1e-8)


@pytest.mark.parametrize("shots", [1, 3], ids=["more features than images", "more images than features"])
def test_the_meta_gradient_is_that_of_finite_differences(shots: int) -> None:
    """Through the solution and the network: by a filter, a scale, a shift, alpha and the logarithm of lambda."""
    method, tasks, step = build(ways=3).train(), images_tasks(shots), 1e-6
    method.loss(tasks).mean().backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None
        entries, losses = parameter.data.view(-1), []
        for change in (step, -2 * step):
            entries[0] += change
            losses.append(method.loss(tasks).mean().item())
        entries[0] += step
        slope = (losses[0] - losses[1]) / (2 * step)
        assert parameter.grad.view(-1)[0].item() == pytest.approx(slope, rel=1e-4, abs=1e-8), name


@learned
def test_parameters_are_the_networks_and_those_of_the_base_learner(learn_penalty: bool) -> None:
    """Conv4-64 on 28x28 counted by hand, alpha, and lambda where it is learned; beta would change nothing."""
    info = MethodInfo("classification", 5, 5, (1, 28, 28), 20)
    method = R2D2(R2D2Hparams(learn_penalty=learn_penalty), info, conv4_64((1, 28, 28)))
    network = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64
    assert sum(p.numel() for p in method.parameters()) == network + 1 + int(learn_penalty)


def test_training_may_have_more_ways_than_the_test() -> None:
    """A method built for 16 ways learns from tasks of 16 and answers tasks of 4."""
    method = build(ways=16)
    assert method.loss(feature_tasks(30, ways=16)).shape == (3,)
    tasks = feature_tasks(30)
    torch.testing.assert_close(method.predict(tasks), build().predict(tasks))


def test_shots_may_differ_from_class_to_class() -> None:
    """Of a support with one image of a class and three of another, scores still are those of the equation."""
    tasks = feature_tasks(30)
    tasks = replace(tasks, support_x=tasks.support_x[:, :7], support_y=tasks.support_y[:, :7])
    for task, scores in enumerate(build().predict(tasks).detach()):
        np.testing.assert_allclose(scores, as_the_authors_write_it(tasks, task, woodbury=True), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("given", [{"penalty": 0.0}, {"penalty": -1.0}, {"scale": 0.0}])
def test_what_is_not_positive_is_refused(given: dict[str, float]) -> None:
    """The error names the hyper-parameter and what was given."""
    name, value = next(iter(given.items()))
    with pytest.raises(UsageError, match=f"{name} must be a number > 0, got {value}"):
        build_hparams(R2D2Hparams, given)
