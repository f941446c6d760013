"""Tasks: T episodes at once as tensors on the device, and the source that makes them from a bank.

Legend: T tasks, S support images, Q query images, U unlabelled images, in all (not per class).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.augmentation import augmented
from fewshot_bench.bank import ImageBank, on_device
from fewshot_bench.philox import one_below
from fewshot_bench.randomness import derive_seed
from fewshot_bench.sampling import EpisodeIndices, EpisodeSampler
from fewshot_bench.specs import Kind
from fewshot_bench.varying import VaryingSampler


@dataclass(frozen=True)
class Tasks:
    """T tasks of the same shape."""

    support_x: Tensor  # [T, S, ...]
    support_y: Tensor  # [T, S] labels, or [T, S, D] targets
    query_x: Tensor  # [T, Q, ...]
    query_y: Tensor | None  # [T, Q]; None at test: no method sees a query label
    ways: int
    key: Tensor  # [T] int64: a task's own randomness
    kind: Kind = "classification"
    unlabelled_x: Tensor | None = None  # [T, U, ...]

    def __len__(self) -> int:
        return len(self.support_x)

    @property
    def targets(self) -> Tensor:
        """The query labels [T, Q], for a loss; there are none at test."""
        assert self.query_y is not None, "query labels are never shown at test"
        return self.query_y

    def some(self, part: slice | Tensor) -> "Tasks":
        """Some of the tasks: of a slice as views, of their numbers as copies."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        parts: dict[str, Any] = {name: x[part] for name, x in held.items() if isinstance(x, Tensor)}
        return replace(self, **parts)

    def without_query_labels(self) -> "Tasks":
        """The same tasks as a learner may see them at test."""
        return replace(self, query_y=None)


class Sampler(Protocol):
    """The numbers of an endless stream of tasks."""

    def digest(self, count: int) -> str:
        """Hash of tasks 0 to `count - 1`."""
        ...


class Source(Protocol):
    """An endless stream of tasks that can be entered anywhere."""

    @property
    def sampler(self) -> Sampler:
        """What draws them."""
        ...

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks `first` to `first + count - 1`."""
        ...


class VaryingShots:
    """Training tasks whose shots differ from update to update: each update draws one of `sources` by its own number."""

    def __init__(self, sources: Sequence[Source], tasks_per_update: int, seed: int) -> None:
        self.sources, self.size = sources, tasks_per_update
        self.sampler = sources[0].sampler
        self.key = derive_seed(seed, "shots")

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks `first` to `first + count - 1`, all of one update."""
        return self.sources[one_below(len(self.sources), self.key, first // self.size)].tasks(first, count)


class TaskSource:
    """Episodes of one bank, as `Tasks` on a device; for training their images may be augmented.

    Where they differ in size (`sampler.varies`) they are asked for one at a time.
    """

    def __init__(
        self,
        bank: ImageBank,
        sampler: EpisodeSampler | VaryingSampler,
        device: torch.device,
        dtype: torch.dtype,
        augment: Sequence[str] = (),
    ) -> None:
        self.bank, self.sampler, self.device, self.dtype, self.augment = bank, sampler, device, dtype, augment

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks of episodes `first` to `first + count - 1`: one gather of all their images."""
        return self.make(self.sampler.block(first, count))

    def make(self, episodes: EpisodeIndices) -> Tasks:
        """Tasks of the given episodes."""
        ids = episodes.images  # [T, S+Q+U]
        images = to_float(on_device(self.bank.gather(ids.reshape(-1)), self.device), self.dtype)
        images = images.unflatten(0, ids.shape)  # [T, S+Q+U, ...]
        support_y = on_device(torch.from_numpy(episodes.support_y), self.device)
        query_y = on_device(torch.from_numpy(episodes.query_y), self.device)
        key = on_device(torch.from_numpy(episodes.key.view(np.int64)), self.device)
        if self.augment:
            classes = on_device(torch.from_numpy(episodes.labels), self.device)  # [T, S+Q+U]
            images = augmented(images, classes, key, self.augment)
        labelled = support_y.shape[1] + query_y.shape[1]
        return Tasks(
            support_x=images[:, : support_y.shape[1]],
            support_y=support_y,
            query_x=images[:, support_y.shape[1] : labelled],
            query_y=query_y,
            ways=episodes.ways,
            key=key,
            unlabelled_x=None if episodes.unlabelled is None else images[:, labelled:],
        )


def to_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images uint8 in [0, 255] -> [0, 1] in `dtype`; features pass unchanged."""
    return images.to(dtype).div_(255) if images.dtype == torch.uint8 else images
