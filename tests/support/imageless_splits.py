"""Splits without images for tests of samplers, and what their episodes are held against."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.varying import VaryingSampler

PARTS = ("support", "support_y", "query", "query_y", "key")
SIZES = [20 + i % 11 for i in range(40)]  # images of each class of the bank that the golden digests are of
UNLIKELY = 1e-3  # what a chi-squared test may call chance


def make_bank(sizes: list[int], structure: str = "synthetic") -> Any:
    """What the sampler reads of a bank with classes of `sizes` images; it has no images."""
    names = tuple(f"class{i}" for i in range(len(sizes)))
    return SimpleNamespace(class_names=names, starts=np.cumsum([0, *sizes], dtype=np.int64), structure_id=structure)


def classes_of(sampler: EpisodeSampler | VaryingSampler, images: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class that owns each image id."""
    owners = np.repeat(np.arange(len(sampler.sizes)), sampler.sizes)
    return owners[images]


def documented_draw(words: list[int], size: int) -> list[int]:
    """A Fisher-Yates shuffle of 0 to size - 1 that stops after as many steps as there are words."""
    items = list(range(size))
    for step, word in enumerate(words):
        other = step + (((word >> 32) * (size - step)) >> 32)
        items[step], items[other] = items[other], items[step]
    return items[: len(words)]


def is_uniform(values: npt.NDArray[np.int64], cells: int) -> bool:
    """Whether a chi-squared test finds nothing against `values` being even over 0 to cells - 1."""
    return bool(stats.chisquare(np.bincount(values, minlength=cells)).pvalue > UNLIKELY)
