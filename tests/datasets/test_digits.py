"""The digits are scikit-learn's, class by class."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
import yaml
from scipy.ndimage import map_coordinates

from fewshot_bench.data.prepare import structure_id
from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets import digits
from fewshot_datasets.digits import Digits

Pixels = npt.NDArray[np.uint8]


def images(dataset: Digits) -> Pixels:
    """All images, [n, 1, side, side]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


@pytest.fixture(scope="module")
def loaded() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """scikit-learn's images and labels, digit by digit, each in its own order."""
    images, labels = sklearn.datasets.load_digits().images, sklearn.datasets.load_digits().target
    return np.concatenate([images[labels == d] for d in range(10)]), np.sort(labels)


def test_the_counts_are_scikit_learns(loaded: tuple[Pixels, Pixels]) -> None:
    """What `classes()` states without an import of scikit-learn is what that has."""
    stated = {one.name: len(one.image_ids) for one in Digits().classes()["test"]}
    assert stated == {str(digit): count for digit, count in Counter(loaded[1].tolist()).items()}


def test_all_classes_are_for_tests() -> None:
    """There is no training on them."""
    assert Digits.splits == tuple(Digits().classes()) == ("test",)


def test_native_images_are_the_squares_scaled_to_bytes(loaded: tuple[Pixels, Pixels]) -> None:
    """0 to 16 become 0 to 255, each within half a level; ink stays high."""
    native = images(Digits({"side": 8}))
    assert native.dtype == np.uint8 and native.shape == (1797, 1, 8, 8)
    assert np.abs(native[:, 0] - loaded[0] * 255 / 16).max() <= 0.5
    assert (native.min(), native.max()) == (0, 255)


def test_enlarged_images_are_interpolated_linearly(loaded: tuple[Pixels, Pixels]) -> None:
    """As scipy interpolates at the centres of the pixels, within the rounding of bytes, twice."""
    centres = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    grid = np.meshgrid(centres, centres, indexing="ij")
    for made, squares in zip(images(Digits())[::50, 0], loaded[0][::50], strict=True):
        expected = map_coordinates(squares * 255 / 16, grid, order=1)
        assert np.abs(made - expected).max() <= 1.5


@pytest.mark.parametrize("side", [8, 28, 84])
def test_images_have_the_declared_shape_in_the_order_of_the_classes(side: int) -> None:
    """One block a class."""
    dataset = Digits({"side": side})
    blocks = list(dataset.images(lambda done, total: None))
    assert [len(block) for block in blocks] == [len(one.image_ids) for one in dataset.classes()["test"]]
    assert {block.shape[1:] for block in blocks} == {dataset.shape}


def test_progress_reaches_all_images() -> None:
    """Digit by digit."""
    calls: list[tuple[int, int]] = []
    list(Digits({"side": 8}).images(lambda done, total: calls.append((done, total))))
    assert len(calls) == 10 and calls[0] == (178, 1797) and calls[-1] == (1797, 1797)


def test_any_side_gives_the_same_episodes_from_other_pixels() -> None:
    """One structure id; another identity."""
    native, enlarged = Digits({"side": 8}), Digits()
    assert structure_id(native.classes()["test"]) == structure_id(enlarged.classes()["test"])
    assert native.identity() != enlarged.identity()


@pytest.mark.parametrize("side", [0, 7, 257])
def test_a_side_out_of_range_is_refused(side: int) -> None:
    """The message says what is valid."""
    with pytest.raises(UsageError, match=f"8 to 256 pixels, not {side}"):
        Digits({"side": side})


def test_other_digits_of_scikit_learn_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counts are checked before any image is made."""
    fewer = sklearn.datasets.load_digits(n_class=9)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: fewer)
    with pytest.raises(DataError, match="scikit-learn"):
        images(Digits())


def test_classes_and_identity_import_no_scikit_learn() -> None:
    """A list of data sets does not wait for it."""
    code = "import sys; from fewshot_datasets.digits import Digits as D; D().classes(), D().identity(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "torch"} & set(done.stdout.split())


def test_the_card_states_what_the_data_set_is() -> None:
    """Classes, images, splits and shape."""
    card = yaml.safe_load(Path(digits.__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    classes = Digits().classes()["test"]
    stated = card["classes"], card["images"], card["splits"], tuple(card["shape"])
    assert stated == (len(classes), sum(len(one.image_ids) for one in classes), {"test": 10}, Digits().shape)
