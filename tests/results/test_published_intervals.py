"""The worked example of docs/explanation/statistics.md is what the published records say."""

from pathlib import Path

import pytest

from fewshot_bench import compare, load_record
from fewshot_bench.results.data_interval import Over, data_interval
from fewshot_bench.results.pooling import Pooled, pool
from fewshot_bench.results.tables import interval_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "statistics.md").read_text(encoding="utf-8")
RUNS = {"matching networks": "91b167ed8639", "prototypical networks": "6171deee403a", "MAML": "f28a1d7f48a6"}


def folder(run_id: str) -> Path:
    """Where a published run lies."""
    (found,) = (ROOT / "leaderboard" / "results").glob(f"*-cifar-fs-{run_id}")
    return found


def result(run_id: str) -> Pooled:
    """A run's only result."""
    ((pooled,), _) = pool([load_record(folder(run_id))])
    return pooled


@pytest.mark.parametrize("name", RUNS)
def test_each_row_is_that_of_its_record(name: str) -> None:
    """Mean and all three intervals."""
    pooled = result(RUNS[name])
    mean, half = interval_text(pooled.interval, "accuracy").split(" ± ")
    new = [interval_text(data_interval(pooled, over), "accuracy").split(" ± ")[1] for over in _NEW]
    assert f"| {name} | {mean} | ± {half} | ± {new[0]} | ± {new[1]} |" in PAGE


_NEW: tuple[Over, Over] = ("images", "classes")


def test_the_differences_are_those_of_the_records() -> None:
    """Over episodes and over new classes, with the p-values of the latter."""
    folders = [folder(run_id) for run_id in RUNS.values()]
    (usual,), (new,) = compare(folders), compare(folders, over="classes")
    for first, second, said in (
        ("matching-networks", "prototypical-networks", "matching − prototypical networks"),
        ("prototypical-networks", "maml", "prototypical networks − MAML"),
    ):
        one, other = usual.pair(first, second), new.pair(first, second)
        halves = [100 * (pair.high - pair.low) / 2 for pair in (one.pair, other.pair)]  # type: ignore[operator]
        gap = f"{100 * one.pair.difference:+.2f}"
        p = f"{other.p_holm:.6f}" if other.p_holm < 1e-4 else f"{other.p_holm:.5f}"
        assert f"| {said} | {gap} ± {halves[0]:.2f} | {gap} ± {halves[1]:.2f} | {p} |" in PAGE
