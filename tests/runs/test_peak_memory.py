"""Peak memory does not grow with the number of episodes, in training and in testing.

Each pair of runs differs in the number of episodes alone. They are small, so that whatever is kept of an episode (its
images, a graph) would be much of the memory.
"""

from pathlib import Path
from typing import Any

import peak_memory
import pytest

from fewshot_bench.runs.testing import COMPARE_AT_ONCE

TIMES = 8
UPDATES, TASKS = 4, 8  # the fewer; tasks of each
IMAGES_MIB = 5 * 16 * 28 * 28 * 4 / 2**20
"""The images of one episode of 5 ways, 1 shot and 15 queries, as floats."""
TRAINING = {
    "train.ways": 5,
    "train.queries": 15,
    "meta_batch_size": TASKS,
    "validation.every": 1000,
    "validation.episodes": 2,
}
NARROW = {"backbone": f"{peak_memory.__file__}:narrow"}
TESTED: dict[str, tuple[int, dict[str, Any]]] = {
    "maml": (60, NARROW),
    "prototypical-networks": (
        60,
        NARROW | {"test.normalisation": "support"},
    ),  # images in every episode, not ready embeddings
    "nearest-centroid": (2 * COMPARE_AT_ONCE, {}),  # each image embedded once, as the image itself
}
"""The fewer episodes, which fill two chunks or more, and the settings of the test."""


@pytest.mark.parametrize("method", ["maml", "prototypical-networks"])
def test_eight_times_the_training_episodes_need_no_more_memory(method: str, tmp_path: Path) -> None:
    """Within half of what the images of the further episodes alone would need."""
    few, many = (peak_mib(tmp_path, method, 2, updates=updates, **NARROW) for updates in (UPDATES, TIMES * UPDATES))
    assert many - few < (TIMES - 1) * UPDATES * TASKS * IMAGES_MIB / 2


@pytest.mark.parametrize("method", TESTED)
def test_eight_times_the_test_episodes_need_no_more_memory(method: str, tmp_path: Path) -> None:
    """Within half of what the images of the further episodes alone would need."""
    fewer, settings = TESTED[method]
    few, many = (peak_mib(tmp_path, method, episodes, updates=0, **settings) for episodes in (fewer, TIMES * fewer))
    assert many - few < (TIMES - 1) * fewer * IMAGES_MIB / 2


def peak_mib(out: Path, method: str, episodes: int, **settings: Any) -> float:
    """Peak memory of a run that tests on so many episodes [MiB], in a folder of its own: in a common one the second test
    would be added to the first run's record."""
    folder = out / str(len(list(out.iterdir())))
    training = {} if method == "nearest-centroid" else TRAINING  # it trains nothing
    return peak_memory.peak_mib(
        method=method, protocol="custom", queries=15, episodes=episodes, settings=training | settings, out=folder
    )
