"""A task's own draws: uniform, a function of key and purpose alone, equal to SplitMix64 in Python's integers."""

import numpy as np
import pytest
import torch
from scipy import stats

from fewshot_bench.episodes.randomness import task_orders, task_uniforms
from fewshot_bench.episodes.seeds import derive_seed

KEYS = torch.tensor([0, 1, -1, 2**62, -(2**63)])


def splitmix(z: int) -> int:
    """The output function, in unbounded integers cut to 64 bits."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_draws_are_those_of_splitmix64() -> None:
    """Key by key and word by word in Python."""
    found = task_uniforms(KEYS, (2, 3), "mask").reshape(len(KEYS), 6)
    for key, row in zip(KEYS.tolist(), found.tolist(), strict=True):
        start = splitmix((key % 2**64) ^ derive_seed(0, "mask"))
        words = [splitmix((start + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(1, 7)]
        assert row == [((word >> 11) + 0.5) / 2**53 for word in words]


def test_a_task_draws_alike_wherever_it_stands() -> None:
    """Alone or among others; another purpose draws otherwise."""
    assert torch.equal(task_uniforms(KEYS, (4,), "mask")[2:3], task_uniforms(KEYS[2:3], (4,), "mask"))
    assert not torch.equal(task_uniforms(KEYS, (4,), "mask"), task_uniforms(KEYS, (4,), "order"))


@pytest.mark.parametrize("shape", [(20000, 1), (1, 20000)])
def test_draws_are_uniform_over_tasks_and_within_one(shape: tuple[int, int]) -> None:
    """By Kolmogorov and Smirnov's test, and without correlation between neighbours."""
    tasks, count = shape
    values = task_uniforms(torch.arange(tasks), (count,), "mask").flatten().numpy()
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03
    assert 0 < values.min() < values.max() < 1


def test_orders_are_permutations() -> None:
    """Each of its own, all equally likely: 6 orders of 3 places over 6,000 tasks."""
    orders = task_orders(torch.arange(3000), 3, "batch", repeats=2)
    assert orders.shape == (3000, 2, 3)
    _, counts = np.unique(orders.reshape(-1, 3).numpy(), axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
