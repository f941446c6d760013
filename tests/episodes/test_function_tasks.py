"""Families of functions: tasks are pure functions of their number, within their ranges, on the curve."""

import numpy as np
import pytest
import torch
from scipy import stats

from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_datasets.sinusoid import Sinusoid, SinusoidVaryingFrequency

FAMILIES = [Sinusoid, SinusoidVaryingFrequency]


def sampler(family: type[FunctionFamily] = SinusoidVaryingFrequency, split: str = "train", seed: int = 0) -> FunctionSampler:
    """Tasks of 5 support and 100 query points."""
    return FunctionSampler(family(), split, 5, 100, seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_and_point_is_uniform_in_its_range(family: type[FunctionFamily]) -> None:
    """By Kolmogorov and Smirnov's test on 4,000 tasks."""
    block = sampler(family).block(0, 4000)
    columns = dict(zip(family.parameters, block.parameters.T, strict=True)) | {"x": block.support[:, 0]}
    for name, values in columns.items():
        low, high = family.parameters.get(name, family.domain)
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3, name


@pytest.mark.parametrize("family", FAMILIES)
def test_targets_lie_on_the_curve(family: type[FunctionFamily]) -> None:
    """y = a sin(w x - b), by hand, for support and query."""
    made = sampler(family)
    block, tasks = made.block(10, 6), FunctionSource(made, torch.device("cpu"), torch.float64).tasks(10, 6)
    for row, (amplitude, phase, *frequency) in enumerate(block.parameters):
        for x, y in ((tasks.support_x, tasks.support_y), (tasks.query_x, tasks.targets)):
            expected = amplitude * np.sin((frequency or [1.0])[0] * x[row, :, 0].numpy() - phase)
            np.testing.assert_allclose(y[row, :, 0].numpy(), expected, rtol=1e-12)
    assert tasks.kind == "regression"
    assert tasks.support_x.shape == (6, 5, 1)
    assert tasks.query_x.shape == (6, 100, 1)


def test_a_task_is_a_function_of_its_number() -> None:
    """Entered anywhere the stream is the same; another split or seed has other tasks, and another digest."""
    whole, part = sampler().block(0, 20), sampler().block(13, 4)
    for name in ("parameters", "support", "query", "key"):
        assert np.array_equal(getattr(whole, name)[13:17], getattr(part, name)), name
    digests = {sampler(split=split, seed=seed).digest(50) for split in ("train", "test") for seed in (0, 1)}
    assert len(digests) == 4


def test_golden_digest() -> None:
    """The stream stays what it is on every platform."""
    assert sampler(Sinusoid, "test").digest(100)[:16] == "cf9403ac9d8766ad"
