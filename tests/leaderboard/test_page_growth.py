"""Ten times the records cost about ten times the work."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from example_records import make_record

from fewshot_bench.results.records import find_records
from fewshot_leaderboard.page import page

FEW, MANY = 200, 2000


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results of one table, over the same 2,000 episodes."""
    folder, random = tmp_path_factory.mktemp("records"), np.random.default_rng(0)
    hard = random.normal(0, 0.08, 2000)
    for number in range(MANY):
        means = random.uniform(0.4, 0.9) + hard + random.normal(0, 0.05, 2000)
        make_record(folder, f"method-{number}", np.clip(np.round(means * 75) / 75, 0, 1))
    return folder


def processor_s(folders: Sequence[Path]) -> float:
    """Processor time of reading records and building their page: what else runs changes it little."""
    started = time.process_time()
    assert page(find_records(folders)).count("<tr") > len(folders)
    return time.process_time() - started


@pytest.mark.slow
def test_ten_times_the_records_cost_at_most_twelve_times_the_work(records: Path) -> None:
    """If each pair of rows cost what a row costs, it would be a hundred times."""
    folders = sorted(records.iterdir())
    processor_s(folders[:FEW])  # what is imported and kept
    assert processor_s(folders) <= 12 * max(processor_s(folders[:FEW]) for _ in range(2))
