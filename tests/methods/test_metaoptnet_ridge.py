"""MetaOptNet's ridge regression equals the optimum of its quadratic programme, found by scipy and numpy.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from feature_tasks import feature_tasks
from held import held
from plain_loop import images_tasks
from scipy.optimize import minimize
from scipy.special import log_softmax

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4 import Conv4, conv4_64
from fewshot_methods.metaoptnet_ridge import MetaOptNetRidge, MetaOptNetRidgeHparams, smoothed_cross_entropy

PENALTY, SCALE = 2.5, 3.0
sizes = pytest.mark.parametrize("features", [4, 30], ids=["more images than features", "more features than images"])


def build(ways: int = 4, **hparams: Any) -> MetaOptNetRidge:
    """The method in float64 on a small Conv4, with random parameters of the network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Conv4((1, 16, 16), filters=5, strided=False, scale=True, eps=1e-5)
        info = MethodInfo("classification", ways, ways, (1, 16, 16), 20)
        given = build_hparams(MetaOptNetRidgeHparams, {"penalty": PENALTY, "scale": SCALE} | hparams)
        method = MetaOptNetRidge(given, info, backbone).double()
        for name, parameter in method.network.named_parameters():
            noise = torch.randn(parameter.shape, dtype=torch.float64)
            parameter.data = 0.5 * noise + float(name.endswith("_scale"))
    held(method, Conditions("joint"))
    return method


def kernel(tasks: Tasks, task: int) -> npt.NDArray[np.float64]:
    """K + lambda I of one task [S, S]."""
    x = tasks.support_x[task].numpy()
    penalised: npt.NDArray[np.float64] = x @ x.T + PENALTY * np.eye(len(x))
    return penalised


def scores_of(tasks: Tasks, task: int, duals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores [Q, N] of dual variables [S, N]: each query's kernel with the support, weighted."""
    scores: npt.NDArray[np.float64] = SCALE * (tasks.query_x[task].numpy() @ tasks.support_x[task].numpy().T) @ duals
    return scores


def block_programme(tasks: Tasks, task: int) -> npt.NDArray[np.float64]:
    """Dual variables [S, N] where the gradient of the authors' programme over all ways at once, G z - 2 vec(Y), is zero."""
    labels = np.eye(tasks.ways)[tasks.support_y[task].numpy()]  # [S, N]
    solution: npt.NDArray[np.float64] = np.linalg.solve(
        np.kron(kernel(tasks, task), np.eye(tasks.ways)), 2 * labels.reshape(-1)
    )
    return solution.reshape(labels.shape)


@sizes
def test_scores_are_those_of_the_authors_programme(features: int) -> None:
    """Of their block matrix over images and ways, solved whole."""
    tasks = feature_tasks(features)
    for task, scores in enumerate(build().predict(tasks).detach()):
        expected = scores_of(tasks, task, block_programme(tasks, task))
        np.testing.assert_allclose(scores, expected, rtol=1e-8, atol=1e-10)


def test_scores_are_the_optimum_of_the_dual() -> None:
    """scipy's optimiser, which knows the dual's value and slope alone, finds the same for each way."""
    tasks = feature_tasks(30)
    matrix, labels = kernel(tasks, 0), np.eye(4)[tasks.support_y[0].numpy()]
    duals = []
    for y in labels.T:
        found = minimize(
            lambda a, y=y: a @ matrix @ a / 2 - 2 * y @ a,
            np.zeros(len(y)),
            jac=lambda a, y=y: matrix @ a - 2 * y,
            method="BFGS",
            options={"gtol": 1e-9},
        )
        duals.append(found.x)
    expected = scores_of(tasks, 0, np.stack(duals, 1))
    np.testing.assert_allclose(build().predict(tasks).detach()[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_the_loss_is_the_cross_entropy_against_smoothed_labels(epsilon: float) -> None:
    """1 - epsilon for the right way, epsilon / (N - 1) for each other, the mean over a task's queries."""
    tasks = feature_tasks(30)
    for task, loss in enumerate(build(label_smoothing=epsilon).loss(tasks).detach()):
        right = np.eye(4)[tasks.targets[task].numpy()]
        target = right * (1 - epsilon) + (1 - right) * epsilon / 3
        logs = log_softmax(scores_of(tasks, task, block_programme(tasks, task)), axis=1)
        np.testing.assert_allclose(loss, -(target * logs).sum(1).mean(), rtol=1e-8)


def test_smoothing_is_torchs_of_another_epsilon() -> None:
    """torch spreads its epsilon over all ways, the right one included: ours times N / (N - 1)."""
    scores, labels = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12).reshape(2, 6) % 5
    expected = F.cross_entropy(scores.mT, labels, reduction="none", label_smoothing=0.1 * 5 / 4)
    torch.testing.assert_close(smoothed_cross_entropy(scores, labels, 0.1), expected)


@pytest.mark.parametrize("shots", [1, 3], ids=["more features than images", "more images than features"])
def test_the_meta_gradient_is_that_of_finite_differences(shots: int) -> None:
    """Through the optimum and the network: by a filter, a scale, a shift and gamma."""
    method, tasks, step = build(ways=3, label_smoothing=0.1).train(), images_tasks(shots), 1e-6
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


def test_parameters_are_the_networks_and_a_scale() -> None:
    """Conv4-64 on mini-ImageNet's 84x84 counted by hand, and gamma."""
    method = MetaOptNetRidge(
        MetaOptNetRidgeHparams(), MethodInfo("classification", 5, 25, (3, 84, 84), 64), conv4_64((3, 84, 84))
    )
    assert sum(p.numel() for p in method.parameters()) == 9 * 3 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64 + 1


def test_training_may_have_more_ways_and_shots_than_the_test() -> None:
    """A method built for 16 ways learns from tasks of 16 with 5 shots and answers tasks of 4 with 1."""
    method = build(ways=16)
    assert method.loss(feature_tasks(30, ways=16, shots=5)).shape == (3,)
    tasks = feature_tasks(30, shots=1)
    torch.testing.assert_close(method.predict(tasks), build().predict(tasks))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"penalty": 0.0}, "penalty must be a number > 0, got 0.0"),
        ({"scale": -1.0}, "scale must be a number > 0, got -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be a number >= 0 and < 1, got 1.0"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(given: dict[str, float], reason: str) -> None:
    """The error names the hyper-parameter and what was given."""
    with pytest.raises(UsageError, match=reason):
        build_hparams(MetaOptNetRidgeHparams, given)
