"""Stripes: a class is a direction and a period; noise lies over each image. Drawn by numpy, needs no files.

Legend: n images of a class, S the side of an image.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from fewshot_bench import Dataset, ImageClass
from fewshot_bench.data.dataset import Images, Progress

SIDE = 16
IMAGES = 20  # of a class
DIRECTIONS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))  # across the stripes
PERIODS = {"train": (4, 6, 8), "val": (5,), "test": (7, 9)}  # in pixels along x or y


class Stripes(Dataset):
    """Stripes in 8 directions: 24 training, 8 validation and 16 test classes of 20 images of 16 x 16."""

    defaults: ClassVar = {"noise": 200}  # the highest grey value that the noise adds

    @property
    def shape(self) -> tuple[int, int, int]:
        """One grey channel of 16 x 16."""
        return 1, SIDE, SIDE

    def identity(self) -> str:
        """The version of this drawing and its noise, which decide every pixel."""
        return f"stripes-v1-noise{self.options['noise']}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """Every direction at every period of the split."""
        return {
            split: [image_class(period, *step) for period in periods for step in DIRECTIONS]
            for split, periods in PERIODS.items()
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [n, 1, S, S] a class."""
        drawn = [(period, *step) for periods in PERIODS.values() for period in periods for step in DIRECTIONS]
        for done, (period, dx, dy) in enumerate(drawn, start=1):
            y, x = np.mgrid[:SIDE, :SIDE]
            stripes = 55 * ((x * dx + y * dy) % period < period // 2)  # [S, S]
            words = np.random.Philox(key=done).random_raw(IMAGES * SIDE * SIDE)
            noise = (words >> np.uint64(40)) % np.uint64(self.options["noise"] + 1)
            yield (stripes + noise.reshape(IMAGES, 1, SIDE, SIDE).astype(np.int64)).astype(np.uint8)
            progress(done * IMAGES, len(drawn) * IMAGES)


def image_class(period: int, dx: int, dy: int) -> ImageClass:
    """The class of stripes across (dx, dy) with that period."""
    name = f"across{dx:+}{dy:+}/period{period}"
    return ImageClass(name, tuple(f"{name}/{number:02}" for number in range(IMAGES)))
