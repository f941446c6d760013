"""A world of classes and images in which accuracies over new images and new classes can be had to any precision.

A class is a Gaussian in D dimensions, with a centre and a width of its own; a method answers with the nearest mean of the
support. Legend: U classes, M images a class, N ways, K shots, Q queries a class, E episodes, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot_bench.results.data_parts import Drawn

Floats = npt.NDArray[np.float64]
N, K, Q, D = 5, 1, 5, 8


@dataclass(frozen=True)
class World:
    """Classes drawn from a population of classes."""

    centres: Floats  # [U, D]
    widths: Floats  # [U]

    @classmethod
    def draw(cls, dice: np.random.Generator, classes: int) -> "World":
        """Some are easy and some are hard."""
        far = 0.9 * dice.gamma(2, 0.5, (classes, 1))
        return cls(far * dice.normal(size=(classes, D)), dice.gamma(4, 0.25, classes))

    def images(self, dice: np.random.Generator, each: int) -> Floats:
        """So many images of each class [U, M, D]."""
        return self.centres[:, None] + self.widths[:, None, None] * dice.normal(size=(len(self.centres), each, D))

    def accuracy(self, dice: np.random.Generator, episodes: int) -> float:
        """The mean over episodes of which each has images of its own."""
        classes = _subsets(dice, episodes, len(self.centres), N)
        shown = self.centres[classes][:, :, None] + self.widths[classes][:, :, None, None] * dice.normal(
            size=(episodes, N, K + Q, D)
        )
        return float(_accuracies(shown).mean())


def episodes_of(dice: np.random.Generator, images: Floats, count: int) -> tuple[Floats, Drawn]:
    """Episodes of given images, drawn with replacement from one another: accuracies [E], and what stands in each."""
    many, each = images.shape[:2]
    classes = _subsets(dice, count, many, N)
    within = _subsets(dice, count * N, each, K + Q).reshape(count, N, K + Q)
    ids = classes[:, :, None] * each + within
    return _accuracies(images.reshape(-1, D)[ids]), Drawn(classes, ids.reshape(count, -1))


def _subsets(dice: np.random.Generator, rows: int, of: int, size: int) -> npt.NDArray[np.int64]:
    return np.argsort(dice.random((rows, of)), axis=1)[:, :size]


def _accuracies(shown: Floats) -> Floats:
    """Of the nearest mean, for images [E, N, K+Q, D]."""
    means, queries = shown[:, :, :K].mean(2), shown[:, :, K:].reshape(len(shown), N * Q, D)
    far = (means**2).sum(-1)[:, None] - 2 * queries @ means.transpose(0, 2, 1)  # but for the queries' own part
    right: Floats = (far.argmin(-1) == np.repeat(np.arange(N), Q)).mean(1)
    return right
