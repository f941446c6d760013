"""Ties of many results: the verdicts of a family, whose p-values are computed pair by pair."""

import numpy as np
import pytest

from fewshot_bench.results import ties
from fewshot_bench.results.families import Family, all_pairs
from fewshot_bench.results.pairs import compare_pair
from fewshot_bench.results.ties import tied_with_best

EPISODES = 60


def pair_by_pair(results: list[np.ndarray], direction: str = "max", level: float = 0.95) -> list[int]:
    """What the family of all pairs says."""
    pairs = {(i, j): compare_pair(results[i], results[j], direction=direction) for i, j in all_pairs(len(results))}
    return Family.of(pairs, len(results), level).tied_with_best


def drawn(seed: int, count: int, episodes: int = EPISODES) -> list[np.ndarray]:
    """Results of one to five seeds, best first: some close, some of equal scores, some a constant apart, some constant."""
    random = np.random.default_rng(seed)
    hard = random.normal(0, 0.1, episodes)
    results: list[np.ndarray] = []
    for _ in range(count):
        kind = random.integers(6)
        table = random.uniform(0.6, 0.7) + hard + random.normal(0, 0.02, (random.integers(1, 6), episodes))
        if kind == 0 and results:
            table = results[random.integers(len(results))].copy()
        elif kind == 1 and results:
            table = results[random.integers(len(results))] - random.choice([0.25, 1e-12])
        elif kind == 2:
            table = np.full((1, episodes), random.choice([0.5, 1.0]))
        results.append(table)
    return sorted(results, key=lambda table: -table.mean())


@pytest.mark.parametrize("seed", range(60))
def test_ties_are_those_of_the_family_of_all_pairs(seed: int) -> None:
    """Of results of all kinds, also of so few episodes that a sign test cannot separate them."""
    random = np.random.default_rng(seed)
    results = drawn(seed, int(random.integers(1, 14)), int(random.choice([4, 8, EPISODES])))
    assert tied_with_best(results) == pair_by_pair(results)
    lowest = results[::-1]
    assert tied_with_best(lowest, direction="min", level=0.8) == pair_by_pair(lowest, "min", 0.8)


def test_rejections_make_room_for_others() -> None:
    """Holm's later steps: the best would not be separated from the next at alpha / pairs."""
    random = np.random.default_rng(1)
    noise = random.normal(0, 1, (5, 400))
    noise -= noise.mean(axis=1, keepdims=True)
    results = [noise[i : i + 1] + mean for i, mean in enumerate((100.0, 99.815, 50.0, 0.0, -50.0))]
    first = compare_pair(results[0], results[1])
    assert 0.05 / 10 < first.p < 0.05
    assert tied_with_best(results) == [0] == pair_by_pair(results)


def test_pairs_of_other_bands_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """More results than are compared at once."""
    monkeypatch.setattr(ties, "BAND", 3)
    for seed in range(100, 110):
        results = drawn(seed, 13)
        assert tied_with_best(results) == pair_by_pair(results)
