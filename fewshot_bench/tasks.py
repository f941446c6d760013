"""Tasks: T episodes at once as tensors on the device, and the source that makes them from a bank.

Legend: T tasks, S support images, Q query images, in all (not per class).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.bank import ImageBank, on_device
from fewshot_bench.sampling import EpisodeIndices, EpisodeSampler

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Tasks:
    """T tasks of the same shape (masks say which places are empty where tasks differ in size)."""

    support_x: Tensor  # [T, S, ...]
    support_y: Tensor  # [T, S] labels, or [T, S, D] targets
    query_x: Tensor  # [T, Q, ...]
    query_y: Tensor | None  # [T, Q]; None at test: no method sees a query label
    ways: int
    key: Tensor  # [T] int64: a task's own randomness
    kind: Kind = "classification"
    support_mask: Tensor | None = None  # [T, S] bool
    query_mask: Tensor | None = None  # [T, Q] bool
    unlabelled_x: Tensor | None = None  # [T, U, ...]

    def __len__(self) -> int:
        return len(self.support_x)

    @property
    def targets(self) -> Tensor:
        """The query labels [T, Q], for a loss; there are none at test."""
        assert self.query_y is not None, "query labels are never shown at test"
        return self.query_y

    def without_query_labels(self) -> "Tasks":
        """The same tasks as a learner may see them at test."""
        return replace(self, query_y=None)


class TaskSource:
    """Episodes of one size from one bank, as `Tasks` on a device."""

    def __init__(self, bank: ImageBank, sampler: EpisodeSampler, device: torch.device, dtype: torch.dtype) -> None:
        self.bank, self.sampler, self.device, self.dtype = bank, sampler, device, dtype

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks of episodes `first` to `first + count - 1`: one gather of all their images."""
        return self.make(self.sampler.block(first, count))

    def make(self, episodes: EpisodeIndices) -> Tasks:
        """Tasks of the given episodes."""
        ids = np.concatenate([episodes.support, episodes.query], axis=1)  # [T, S+Q]
        images = to_float(on_device(self.bank.gather(ids.reshape(-1)), self.device), self.dtype)
        images = images.unflatten(0, ids.shape)  # [T, S+Q, ...]
        size = episodes.support.shape[1]
        return Tasks(
            support_x=images[:, :size],
            support_y=on_device(torch.from_numpy(episodes.support_y), self.device),
            query_x=images[:, size:],
            query_y=on_device(torch.from_numpy(episodes.query_y), self.device),
            ways=self.sampler.ways,
            key=on_device(torch.from_numpy(episodes.key.view(np.int64)), self.device),
        )


def to_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images uint8 in [0, 255] -> [0, 1] in `dtype`; features pass unchanged."""
    return images.to(dtype).div_(255) if images.dtype == torch.uint8 else images
