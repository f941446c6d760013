"""The ridge solver equals scikit-learn's, in both of its forms, with gradients that finite differences confirm.

Legend: T tasks, S support images, D features, N columns of targets.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from fewshot_methods.ridge import one_hot, ridge, ridge_by_features, ridge_by_images

T, N = 3, 5
Solver = Callable[[Tensor, Tensor, float], Tensor]
sizes = pytest.mark.parametrize(("support", "features"), [(5, 40), (25, 40), (40, 40), (60, 13)])
forms = pytest.mark.parametrize("form", [ridge_by_features, ridge_by_images], ids=["by features", "by images"])


def problem(support: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random inputs [T, S, D] in float64 and one-hot targets [T, S, N], labels shuffled."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, support, features, dtype=torch.float64, generator=generator)
    labels = torch.stack([torch.randperm(support, generator=generator) % N for _ in range(T)])
    return x, one_hot(labels, N, x)


@sizes
@forms
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 50.0])
def test_weights_are_scikit_learns(form: Solver, support: int, features: int, penalty: float) -> None:
    """Each task's weights are those of `Ridge(alpha=penalty, fit_intercept=False)`, in either form."""
    x, y = problem(support, features)
    for task, found in enumerate(form(x, y, penalty)):
        expected = Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(x[task].numpy(), y[task].numpy()).coef_
        np.testing.assert_allclose(found, expected.T, rtol=1e-8, atol=1e-10)


@sizes
def test_both_forms_are_equal_and_the_smaller_system_is_solved(
    monkeypatch: pytest.MonkeyPatch, support: int, features: int
) -> None:
    """Woodbury's form equals the other; `ridge` takes the one whose system is smaller."""
    x, y = problem(support, features)
    torch.testing.assert_close(ridge_by_images(x, y, 0.7), ridge_by_features(x, y, 0.7), rtol=1e-9, atol=1e-12)
    factorise, solved = torch.linalg.cholesky, []

    def watched(system: Tensor) -> Tensor:
        solved.append(tuple(system.shape))
        factor: Tensor = factorise(system)
        return factor

    monkeypatch.setattr(torch.linalg, "cholesky", watched)
    torch.testing.assert_close(ridge(x, y, 0.7), ridge_by_features(x, y, 0.7), rtol=1e-9, atol=1e-12)
    assert solved[0] == (T, min(support, features), min(support, features))


@pytest.mark.parametrize(("support", "features"), [(4, 6), (6, 4)])
def test_gradients_are_those_of_finite_differences(support: int, features: int) -> None:
    """First and second derivatives by inputs, targets and penalty, in either form."""
    x, y = problem(support, features)
    given = (x.requires_grad_(), y.requires_grad_(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(ridge, given)
    assert torch.autograd.gradgradcheck(ridge, given)


@sizes
def test_tasks_in_one_call_equal_a_call_for_each(support: int, features: int) -> None:
    """The tasks of a batch do not see each other."""
    x, y = problem(support, features)
    alone = torch.cat([ridge(x[i : i + 1], y[i : i + 1], 0.7) for i in range(T)])
    torch.testing.assert_close(ridge(x, y, 0.7), alone, rtol=1e-9, atol=1e-12)


def test_equal_images_have_a_solution() -> None:
    """A support of one image again and again, whose kernel has rank 1, still has the one solution of scikit-learn."""
    x, y = problem(10, 30)
    x = x[:, :1].expand(-1, 10, -1)
    expected = Ridge(alpha=1.0, fit_intercept=False).fit(x[0].numpy(), y[0].numpy()).coef_.T
    np.testing.assert_allclose(ridge(x, y, 1.0)[0], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("penalty", [0.5, 50.0])
@pytest.mark.parametrize("features", [1600, 3584])
@pytest.mark.parametrize("shots", [1, 5])
def test_predictions_in_float32_are_those_in_float64(shots: int, features: int, penalty: float) -> None:
    """Of features as a network gives them, many and far from zero mean, each prediction is right to 1e-5 of the largest."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(T, N * shots + 75, features, dtype=torch.float64, generator=generator).relu() + 0.5
    support, query = x[:, : N * shots], x[:, N * shots :]
    y = one_hot(torch.arange(N).repeat(shots).expand(T, -1), N, support)
    double = query @ ridge(support, y, penalty)
    single = query.float() @ ridge(support.float(), y.float(), penalty)
    assert (single - double).abs().max() <= 1e-5 * double.abs().max()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_large_systems_are_solved_on_any_number_of_threads(threads: int) -> None:
    """Of 20 ways and 9 shots, as R2-D2 trains, where torch 2.15's batched LU solver fails on two threads."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(4, 180, 256)), np.eye(20)[random.integers(20, size=(4, 180))]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = ridge(torch.tensor(x).float(), torch.tensor(y).float(), 9.0)
    finally:
        torch.set_num_threads(before)
    turned = x.swapaxes(1, 2)
    np.testing.assert_allclose(found, np.linalg.solve(turned @ x + 9 * np.eye(256), turned @ y), rtol=1e-3, atol=1e-5)
