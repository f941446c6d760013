"""Which data set is taken, and its images as files for learn2learn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import blobs

from fewshot_bench.bench import data
from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.data.prepare import Prepared
from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets.glyphs.glyphs import Glyphs
from fewshot_datasets.omniglot.omniglot import Omniglot


class Blobs(Prepared):
    """Twelve classes of random images, in every split."""

    def bank(self, split: str) -> MemmapBank:
        """The same for all."""
        return blobs()


BLOBS = Blobs(Path(), {})


def test_a_data_set_without_files_gives_its_prepared_images(tmp_path: Path) -> None:
    """As grey PNG files, paper high, class by class."""
    classes, what = data.image_files(Glyphs(), BLOBS, "test", tmp_path, print)
    assert what == "prepared images as PNG"
    assert [len(paths) for paths in classes] == [20] * 12
    with Image.open(classes[3][7]) as image:
        assert image.mode == "L"
        assert (255 - np.asarray(image) == blobs().images[3 * 20 + 7, 0]).all()


def test_a_source_that_is_gone_is_said(tmp_path: Path) -> None:
    """The prepared images serve in its place."""
    said: list[str] = []
    _, what = data.image_files(Omniglot(root=tmp_path), BLOBS, "test", tmp_path / "files", said.append)
    assert what == "prepared images as PNG"
    assert "No Omniglot in" in said[0]


@pytest.fixture
def nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no data, and preparation that takes no time but looks for the source."""

    def prepare(name: str, dataset: Glyphs | Omniglot) -> Prepared:
        if isinstance(dataset, Omniglot):
            raise DataError(f"No Omniglot in {dataset.root}.")
        return BLOBS

    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FSBENCH_DATA", raising=False)
    monkeypatch.setattr(data, "prepare", prepare)


@pytest.mark.parametrize("given", [False, True])
def test_glyphs_are_taken_where_omniglot_is_not_at_hand(nothing_prepared: None, given: bool, tmp_path: Path) -> None:
    """And it is said why; nothing is downloaded unasked."""
    said: list[str] = []
    name, _, _ = data.open_data(None, tmp_path if given else None, said.append)
    assert name == "glyphs"
    assert said[-2].startswith("Data set glyphs, because omniglot is not at hand:")


def test_a_data_set_that_is_asked_for_is_not_replaced(nothing_prepared: None, tmp_path: Path) -> None:
    """Its own error stands."""
    with pytest.raises(DataError, match="No Omniglot"):
        data.open_data("omniglot", tmp_path, print)


def test_images_of_another_size_are_refused(nothing_prepared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The works are of 28 x 28."""
    monkeypatch.setattr(Glyphs, "shape", (3, 84, 84))
    with pytest.raises(UsageError, match=r"28x28.*\(3, 84, 84\)"):
        data.open_data("glyphs", None, print)
