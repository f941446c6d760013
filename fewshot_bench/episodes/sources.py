"""Where tasks come from: a source makes the tasks of any numbers, from one bank or from several.

Legend: T tasks, S support images, Q query images, U unlabelled images, in all (not per class).
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.data.bank import Ids, ImageBank, on_device
from fewshot_bench.episodes.augmentation import augmented
from fewshot_bench.episodes.philox import one_below
from fewshot_bench.episodes.sampling import EpisodeIndices
from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.episodes.standardisation import Standard
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.episodes.varying import ImageSampler


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
    """Episodes of one bank, as `Tasks` on a device. Their images may be standardised, and for training augmented.

    Where they differ in size (`sampler.varies`) they are asked for one at a time.
    """

    def __init__(
        self,
        bank: ImageBank,
        sampler: ImageSampler,
        device: torch.device,
        dtype: torch.dtype,
        augment: Sequence[str] = (),
        standard: Standard | None = None,
    ) -> None:
        self.bank, self.sampler, self.device, self.dtype = bank, sampler, device, dtype
        self.augment, self.standard = augment, standard

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
        if self.standard:
            images = self.standard(images)
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

    def images(self, ids: Ids) -> Tensor:
        """The images `ids` [n] as a method gets them at a test [n, ...]."""
        images = to_float(on_device(self.bank.gather(ids), self.device), self.dtype)
        return self.standard(images) if self.standard else images


def to_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images uint8 in [0, 255] -> [0, 1] in `dtype`; features pass unchanged."""
    return images.to(dtype).div_(255) if images.dtype == torch.uint8 else images


class MixedSource:
    """Tasks of one size from several sources: task i is task i of the source that i draws."""

    def __init__(self, sources: Sequence[Source], seed: int) -> None:
        self.sources, self.sampler = sources, sources[0].sampler
        self.key = derive_seed(seed, "data sets")

    def drawn(self, task: int) -> int:
        """The number of the source from which a task comes."""
        return one_below(len(self.sources), self.key, task)

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks `first` to `first + count - 1`."""
        each = [self.sources[self.drawn(task)].tasks(task, 1) for task in range(first, first + count)]
        held = [one.name for one in fields(Tasks) if isinstance(getattr(each[0], one.name), Tensor)]
        joined: dict[str, Any] = {name: torch.cat([getattr(task, name) for task in each]) for name in held}
        return replace(each[0], **joined)
