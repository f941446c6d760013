"""Digits: 1,797 handwritten digits of 13 people that come with scikit-learn, for tests across domains.

They are the test set of Alpaydin & Kaynak's "Optical Recognition of Handwritten Digits" (UCI, 1998): each of 8 x 8 squares
gives the number of its 4 x 4 pixels that have ink.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.options import check_side

COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # of 0, 1, … 9: known without importing scikit-learn
NATIVE, LARGEST = 8, 256  # pixels
INK = 16  # the value of a full square


class Digits(Dataset):
    """Ten classes of 174 to 183 images, all for tests, ink high (paper 0, ink 255), 28 x 28.

    Option `side`: 28, or 8 to 256 pixels. With 8 they are the squares as they are, with 0 to 16 scaled to 0 to 255. Larger
    images are made with Pillow's bilinear filter, which, unlike Lanczos, leaves no rings of ink around a stroke.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"side": 28}
    splits = ("test",)

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_side(self.options["side"], NATIVE, LARGEST)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel of side x side."""
        return (1, self.options["side"], self.options["side"])

    def identity(self) -> str:
        """Changes with the side and with the version of this preparation."""
        return f"digits-v1-{self.options['side']}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """`0` to `9`; an image's id is its digit and its rank among that digit's in scikit-learn's order: `3/017`."""
        return {
            "test": [
                ImageClass(str(digit), tuple(f"{digit}/{rank:03}" for rank in range(count)))
                for digit, count in enumerate(COUNTS)
            ]
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [n, 1, side, side] a digit; raises `DataError` where scikit-learn has other digits."""
        from sklearn.datasets import load_digits

        loaded = load_digits()
        if tuple(np.bincount(loaded.target)) != COUNTS:
            raise DataError("scikit-learn's digits are not the 1,797 of UCI's test set. Install scikit-learn again.")
        squares = ((loaded.images * 255 + INK // 2) // INK).astype(np.uint8)  # [n, 8, 8]
        done = 0
        for digit in range(len(COUNTS)):
            own = squares[loaded.target == digit]
            yield np.stack([enlarged(one, self.options["side"]) for one in own])[:, None]  # [n, 1, side, side]
            progress(done := done + len(own), len(squares))


def enlarged(squares: Images, side: int) -> Images:
    """An image [8, 8] as [side, side]."""
    return np.asarray(Image.fromarray(squares).resize((side, side), Image.Resampling.BILINEAR))
