"""The synthetic images are what a data set must be, and cheap and easy."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_images import IMAGES, SyntheticImages

from fewshot_bench.data.prepare import prepare
from fewshot_bench.plugins import registry

FILE = Path(__file__).parents[1] / "support" / "synthetic_images.py"


@pytest.mark.parametrize("side", [32, 84])
def test_it_is_prepared_from_its_file_at_any_side(side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By reference, with every class in its split and at least 35 images in each, as the largest training episode needs."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path))
    plugin = registry.find("datasets", f"{FILE}:SyntheticImages")
    ready = prepare(plugin.name, plugin.load()({"side": side}))
    assert ready.shape == (3, side, side)
    assert [len(ready.bank(split).class_names) for split in ("train", "val", "test")] == [32, 20, 20]
    assert IMAGES >= 35


def test_classes_are_easy_to_tell_apart() -> None:
    """Every image is nearest to the mean of its own class, on pixels."""
    images = np.stack(list(SyntheticImages().images(lambda done, total: None))).astype(float)  # [classes, IMAGES, 3, 32, 32]
    flat = images.reshape(*images.shape[:2], -1)
    means = flat.mean(1)
    distances = (flat**2).sum(-1)[..., None] - 2 * flat @ means.T + (means**2).sum(-1)
    assert (distances.argmin(-1) == np.arange(len(images))[:, None]).all()
