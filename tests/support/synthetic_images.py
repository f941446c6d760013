"""Synthetic colour images in as many classes as mini-ImageNet's smaller splits have, made in no time.

It stands in for mini-ImageNet where a test wants its shape and not its photographs:
`--dataset tests/support/synthetic_images.py:SyntheticImages --set data.side=84`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress

CLASSES = {"train": 32, "val": 20, "test": 20}  # training of up to 32 ways, tests of up to 20
IMAGES = 110  # of a class: the recipe with the most queries takes 105
COARSE = 4  # a class is a pattern of 4 x 4 colours


class SyntheticImages(Dataset):
    """Noisy copies of a coarse pattern of colours, each class its own: easy to tell apart, the same on every machine."""

    defaults: ClassVar[Mapping[str, Any]] = {"side": 32}  # pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, side x side."""
        return (3, self.options["side"], self.options["side"])

    def identity(self) -> str:
        """Changes with the side."""
        return f"synthetic-images-v3-{self.options['side']}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """`train00`, `train01` and so on."""
        return {
            split: [ImageClass(name, tuple(f"{name}/{i:03}" for i in range(IMAGES))) for name in _names(split)]
            for split in self.splits
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [IMAGES, 3, side, side] a class."""
        side = self.options["side"]
        cell = np.arange(side) * COARSE // side  # the cell of the pattern that a pixel shows
        total = sum(CLASSES.values())
        for number in range(total):
            random = np.random.default_rng(number)
            pattern = random.integers(30, 226, (3, COARSE, COARSE))
            noise = random.integers(-30, 31, (IMAGES, 3, side, side), np.int8)
            yield (pattern[:, cell[:, None], cell] + noise).astype(np.uint8)
            progress((number + 1) * IMAGES, total * IMAGES)


def _names(split: str) -> list[str]:
    return [f"{split}{number:02}" for number in range(CLASSES[split])]
