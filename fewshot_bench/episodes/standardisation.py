"""Standardised images: each channel less its mean and divided by its deviation, both over the training split.

The two numbers of a channel come from a histogram of its pixel values, so they are exact whatever the order of the images.
They are those of the training data wherever a test takes place. Augmentation comes before, as in torchvision's usual
pipelines: the rows of zeros of a padded crop are black, not the mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fewshot_bench.data.bank import ImageBank
from fewshot_bench.errors import UsageError

COUNTED_AT_ONCE = 4096
"""Images of a split whose pixels are counted at once."""


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of each channel [C], of pixels in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, bank: ImageBank) -> "Standard":
        """Those of all images of a bank. A channel that never varies has the deviation 1."""
        counts = pixel_counts(bank).astype(np.float64)  # [C, 256]; exact below 2^53
        counts /= counts.sum(1, keepdims=True)
        values = np.arange(256) / 255
        mean = counts @ values
        deviation = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1))
        return cls(tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def __call__(self, images: Tensor) -> Tensor:
        """Images [..., C, H, W] in [0, 1], standardised in place."""
        mean, deviation = (images.new_tensor(one)[:, None, None] for one in (self.mean, self.deviation))
        return images.sub_(mean).div_(deviation)


def pixel_counts(bank: ImageBank) -> npt.NDArray[np.int64]:
    """How often each value occurs in each channel of a bank's images [C, 256]."""
    total = int(bank.starts[-1])
    counts: npt.NDArray[np.int64] = np.zeros((), np.int64)
    for ids in np.array_split(np.arange(total), -(-total // COUNTED_AT_ONCE)):
        channels = bank.gather(ids).transpose(0, 1).flatten(1)  # [C, n H W]
        counts = counts + np.stack([torch.bincount(one, minlength=256).cpu().numpy() for one in channels])
    return counts


def check_standardise(standardise: bool, shape: tuple[int, ...]) -> None:
    """Refuse to standardise what has no channels of pixels; raises `UsageError`."""
    if standardise and len(shape) != 3:
        raise UsageError("standardise applies only to images; this data set has none: leave train.standardise out.")
