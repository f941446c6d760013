"""Moments equal torch's, running statistics are numpy's pooled ones, and an inductive test refuses transductive modes.

Legend: G groups that share statistics (tasks), M values of a channel in a group, C channels.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fewshot_bench.episodes.protocols import check_test_mode
from fewshot_bench.episodes.protocols import test_default as default_test_mode
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.normalisation import RunningStatistics, Statistics, merged, moments
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation

G, M, C = 5, 24, 3
INDUCTIVE: tuple[Normalisation, ...] = ("none", "running", "support", "support+1", "episode-running")


def values(seed: int, *shape: int) -> Tensor:
    """Normal values in float64, away from zero mean and unit variance."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3 + 2


def statistics_of(x: Tensor) -> Statistics:
    """What a pass would report of one layer that saw x [G, M, C]."""
    return {"layer": (x.mean(1), x.var(1, correction=0))}


def test_moments_are_those_of_torch() -> None:
    """Mean and biased variance of each group and channel equal `torch.var_mean`."""
    x = values(0, G, M, C)
    variance, mean = torch.var_mean(x, dim=1, correction=0)
    torch.testing.assert_close(moments(x), (mean, variance))


def test_moments_do_not_cancel_where_the_mean_is_large() -> None:
    """In float32 a mean of 10,000 times the deviation leaves the variance right to the rounding of the input."""
    x = (values(0, G, M, C) + 30_000).float()
    torch.testing.assert_close(moments(x)[1], x.double().var(1, correction=0).float(), rtol=1e-4, atol=0)


def test_the_variance_of_one_value_is_zero() -> None:
    """A group of a single value has its value as mean, and no variance."""
    x = values(0, G, 1, C)
    assert torch.equal(moments(x)[0], x[:, 0])
    assert not moments(x)[1].any()


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_moments_have_the_derivatives_of_finite_differences(check: torch.autograd.gradcheck) -> None:
    """First and second derivatives of both outputs."""
    assert check(moments, values(0, 2, 4, C).requires_grad_())


@pytest.mark.parametrize("output", [0, 1])
def test_each_moment_alone_has_torchs_gradient(output: int) -> None:
    """Where only the mean, or only the variance, is used, the gradient is that of `torch.var_mean`."""
    x = values(0, G, M, C).requires_grad_()
    weights = values(1, G, C)
    ours = torch.autograd.grad((moments(x)[output] * weights).sum(), x)
    theirs = torch.autograd.grad((torch.var_mean(x, dim=1, correction=0)[1 - output] * weights).sum(), x)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_merged_statistics_are_the_mean_of_the_passes(count: int) -> None:
    """Merging pass after pass gives each layer the plain mean of their means and of their variances."""
    passes = [statistics_of(values(seed, G, M, C)) for seed in range(count)]
    running = None
    for number, used in enumerate(passes, start=1):
        running = merged(running, used, number)
    assert running is not None
    for part in range(2):
        expected = torch.stack([used["layer"][part] for used in passes]).mean(0)
        torch.testing.assert_close(running["layer"][part], expected)


def updated(running: RunningStatistics, chunks: Iterable[Tensor]) -> RunningStatistics:
    """`running` after an update whose tasks came in `chunks`."""
    for chunk in chunks:
        running.collect(statistics_of(chunk))
    running.commit()
    return running


def layer(momentum: float = 0.1) -> RunningStatistics:
    """Fresh running statistics of one layer, in float64."""
    return RunningStatistics({"layer": C}, momentum).double()


def test_running_statistics_start_at_zero_mean_and_unit_variance() -> None:
    """Before the first update they leave a standard normal value as it is."""
    mean, variance = layer().statistics()["layer"]
    assert torch.equal(mean, torch.zeros(1, C).double())
    assert torch.equal(variance, torch.ones(1, C).double())


def test_an_update_enters_as_its_pooled_mean_and_variance() -> None:
    """With momentum 1 the statistics are numpy's over all values of all tasks together."""
    x = values(0, G, M, C)
    mean, variance = updated(layer(momentum=1.0), [x]).statistics()["layer"]
    pooled = x.numpy().reshape(-1, C)
    np.testing.assert_allclose(mean[0], pooled.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance[0], pooled.var(0), rtol=1e-12)


def test_a_task_of_few_values_weighs_as_much_as_one_of_many() -> None:
    """The mean is that of two means, the variance the mean of two variances plus the variance of the means."""
    tasks = [values(0, 1, 10, C), 3 + values(1, 1, 90, C)]
    mean, variance = updated(layer(momentum=1.0), tasks).statistics()["layer"]
    means, variances = ([of(task[0].numpy(), axis=0) for task in tasks] for of in (np.mean, np.var))
    np.testing.assert_allclose(mean[0], np.mean(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance[0], np.mean(variances, axis=0) + np.var(means, axis=0), rtol=1e-12)


def test_updates_enter_with_momentum() -> None:
    """After two updates the statistics are the exponential average of the initial, the first and the second."""
    first, second = values(0, G, M, C), values(1, G, M, C)
    mean, variance = updated(updated(layer(), [first]), [second]).statistics()["layer"]
    pooled = [x.numpy().reshape(-1, C) for x in (first, second)]
    np.testing.assert_allclose(mean[0], 0.09 * pooled[0].mean(0) + 0.1 * pooled[1].mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance[0], 0.81 + 0.09 * pooled[0].var(0) + 0.1 * pooled[1].var(0), rtol=1e-12)


@given(cuts=st.sets(st.integers(1, 11)))
def test_running_statistics_do_not_depend_on_the_chunks(cuts: set[int]) -> None:
    """Twelve tasks give the same update in chunks of any, also unequal, sizes."""
    x = values(0, 12, M, C)
    chunks = [x[start:end] for start, end in pairwise([0, *sorted(cuts), 12])]
    torch.testing.assert_close(updated(layer(), chunks).statistics(), updated(layer(), [x]).statistics())


def test_a_commit_without_tasks_changes_nothing() -> None:
    """Neither a first commit nor a second one after the same update moves the statistics."""
    running = updated(layer(), [])
    assert running.statistics()["layer"][1].eq(1).all()
    before = [part.clone() for part in updated(running, [values(0, G, M, C)]).statistics()["layer"]]
    running.commit()
    assert all(map(torch.equal, running.statistics()["layer"], before))


def test_running_statistics_hold_no_graph() -> None:
    """What is collected from a pass with gradients leaves none behind."""
    running = updated(layer(), [values(0, G, M, C).requires_grad_()])
    assert not any(part.requires_grad for part in running.statistics()["layer"])


def test_running_statistics_are_in_the_checkpoint() -> None:
    """They travel in the state dict: loaded elsewhere, they are the same."""
    trained, fresh = updated(layer(), [values(0, G, M, C)]), layer()
    fresh.load_state_dict(trained.state_dict())
    assert all(map(torch.equal, fresh.statistics()["layer"], trained.statistics()["layer"]))


@pytest.mark.parametrize("mode", sorted(TRANSDUCTIVE_MODES))
def test_an_inductive_protocol_refuses_a_transductive_mode(mode: Normalisation) -> None:
    """The error names the mode, the protocol, and what to ask for instead."""
    with pytest.raises(UsageError, match=rf"'{mode}'.*'standard' is inductive[^$]*standard-transductive"):
        check_test_mode(mode, "standard", transductive=False)


@pytest.mark.parametrize("mode", sorted(TRANSDUCTIVE_MODES))
def test_a_transductive_protocol_takes_a_transductive_mode(mode: Normalisation) -> None:
    """Nothing is raised."""
    check_test_mode(mode, "standard-transductive", transductive=True)


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("mode", INDUCTIVE)
def test_every_protocol_takes_an_inductive_mode(mode: Normalisation, transductive: bool) -> None:
    """Nothing is raised."""
    check_test_mode(mode, "any", transductive)


@pytest.mark.parametrize("trained", [*INDUCTIVE, *sorted(TRANSDUCTIVE_MODES)])
def test_the_default_mode_of_an_inductive_test_is_inductive(trained: Normalisation) -> None:
    """However a method was trained, the mode that an inductive protocol chooses is one that it accepts."""
    check_test_mode(default_test_mode(trained, transductive=False), "standard", transductive=False)
