"""Plain batches of all training classes, for methods that train as ordinary classifiers.

Batch i is a pure function of (structure id, batch size, seed, i): the images of epoch e stand in the order of the stable
argsort of the words of a stream of `philox`, entered at counter [0, e, 0, 0]; the last images of an epoch that fill no
batch are left out of it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.data.bank import Ids, ImageBank, on_device
from fewshot_bench.episodes.augmentation import augmented
from fewshot_bench.episodes.philox import key_of, words
from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.episodes.sources import to_float
from fewshot_bench.episodes.standardisation import Standard
from fewshot_bench.errors import UsageError


class BatchSource:
    """Batches of images, which may be augmented and standardised, and their classes, counted from 0 within the split. Raises
    `UsageError` where none can be filled."""

    def __init__(
        self,
        bank: ImageBank,
        size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        augment: Sequence[str] = (),
        standard: Standard | None = None,
    ) -> None:
        check_batch(bank, size)
        self.bank, self.size, self.device, self.dtype = bank, size, device, dtype
        self.augment, self.standard = augment, standard
        self.images = int(bank.starts[-1])
        self.key = key_of(bank.structure_id, "batches", size, seed)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def ids(self, index: int) -> Ids:
        """Ids of the images of batch `index`, [size]."""
        each = self.images // self.size
        epoch, place = divmod(index, each)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.argsort(words(self.key, self.images, [0, epoch, 0, 0]), kind="stable")
        return self._order[place * self.size : (place + 1) * self.size]

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Images [size, C, H, W] and classes [size] of batch `index`."""
        ids = self.ids(index)
        images = to_float(on_device(self.bank.gather(ids), self.device), self.dtype)
        if self.augment:
            images = self._augmented(images, index)
        if self.standard:
            images = self.standard(images)
        labels = np.searchsorted(self.bank.starts, ids, side="right") - 1  # no label for each image: there may be millions
        return images, on_device(torch.from_numpy(labels), self.device)

    def _augmented(self, images: Tensor, index: int) -> Tensor:
        """The images, augmented as one task whose key is the batch's number and in which each image is a class of its
        own."""
        key = torch.tensor([derive_seed(index, f"batch of {self.key}")])
        classes = torch.arange(len(images))[None]
        return augmented(images[None], on_device(classes, self.device), on_device(key, self.device), self.augment)[0]


def check_batch(bank: ImageBank, size: int) -> None:
    """Refuse a batch that is larger than the split; raises `UsageError`."""
    if size > (images := int(bank.starts[-1])):
        raise UsageError(f"batch_size {size:,} is more than the {images:,} images of this split: --set batch_size={images}.")
