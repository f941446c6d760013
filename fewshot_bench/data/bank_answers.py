"""Checks of what a plugin's bank returns, made where it enters the core."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.data.answers import told
from fewshot_bench.data.bank import ImageBank
from fewshot_bench.errors import PluginError


def checked_bank(name: str, bank: Any, shape: tuple[int, ...]) -> ImageBank:
    """The bank of a split that makes its images on demand; raises `PluginError` where it is something else."""
    starts: Any = getattr(bank, "starts", None)
    names: Any = getattr(bank, "class_names", None)
    whole = isinstance(starts, np.ndarray) and starts.ndim == 1 and starts.dtype.kind in "iu" and isinstance(names, Sequence)
    if not whole or len(starts) != len(names) + 1 or starts[0] != 0 or (np.diff(starts) < 1).any():
        raise PluginError(
            f"{name}.bank gave {told(bank)}, not an ImageBank, which has class_names, starts [classes + 1] that ascend "
            "from 0, structure_id and gather."
        )
    image = bank.gather(np.zeros(1, np.int64))
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or tuple(image.shape) != (1, *shape):
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else told(image)
        raise PluginError(f"{name}: gather gave {what} for one image, where uint8 {[1, *shape]} was expected.")
    checked: ImageBank = bank
    return checked
