"""Image banks: one split's images, class by class, from which a batch of tasks is one gather."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = npt.NDArray[np.int64]

RESIDENT_BYTES = 4 * 2**30
"""The largest split that lives on an accelerator, as uint8; a larger one is gathered on the CPU."""
COPIED_AT_ONCE = 4096
"""Images of a split that go to an accelerator at once."""


class ImageBank(Protocol):
    """The images of one split. Image ids count from 0 within the split; class c owns `starts[c]` to `starts[c + 1]`."""

    class_names: Sequence[str]
    starts: Ids  # [classes + 1]
    structure_id: str
    """Hash of the ordered class names and source image ids: keys the episodes, whatever the resolution."""

    def gather(self, ids: Ids) -> Tensor:
        """The images `ids` [n] as uint8 [n, C, H, W]; a bank of features gives float [n, D]."""
        ...


class MemmapBank:
    """A split as a slice of one class-sorted memory map on disk."""

    def __init__(self, images: npt.NDArray[np.uint8], class_names: Sequence[str], starts: Ids, structure_id: str) -> None:
        self.images, self.class_names, self.starts, self.structure_id = images, class_names, starts, structure_id

    def gather(self, ids: Ids) -> Tensor:
        """The images `ids` [n] as a new uint8 tensor [n, C, H, W] on the CPU."""
        return torch.from_numpy(self.images[ids])


class TensorBank:
    """The rows of a tensor in place of images: a split that lives on an accelerator, or its embedded images."""

    def __init__(self, rows: Tensor, like: ImageBank) -> None:
        self.rows, self.class_names, self.starts = rows, like.class_names, like.starts
        self.structure_id = like.structure_id

    def gather(self, ids: Ids) -> Tensor:
        """The rows `ids` [n], on the device where the bank lives."""
        return self.rows[on_device(torch.from_numpy(ids), self.rows.device)]


def resident(bank: ImageBank, device: torch.device) -> ImageBank:
    """The bank for work on `device`: on an accelerator one whose images were copied there once, if they are few enough."""
    if device.type == "cpu" or not isinstance(bank, MemmapBank) or bank.images.nbytes > RESIDENT_BYTES:
        return bank
    rows = torch.empty(bank.images.shape, dtype=torch.uint8, device=device)
    for first in range(0, len(rows), COPIED_AT_ONCE):
        rows[first : first + COPIED_AT_ONCE] = torch.tensor(bank.images[first : first + COPIED_AT_ONCE])
    return TensorBank(rows, bank)


def on_device(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`; CUDA copies it while the CPU goes on (from pinned memory: it is there in time for
    whatever the device is asked next)."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" and x.device.type == "cpu" else x.to(device)
