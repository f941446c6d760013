"""C++ kernels for what torch computes slowly on a CPU. Each has an equivalent in torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fewshot_bench.kernels.blocks import FirstBlock, PoolNormalise, PoolScale, patch_moments
from fewshot_bench.kernels.build import Unavailable, library
from fewshot_bench.kernels.winograd import SMALLEST, winograd

__all__ = [
    "FirstBlock",
    "PoolNormalise",
    "PoolScale",
    "Unavailable",
    "convolve",
    "library",
    "patch_moments",
    "serve",
    "serving",
    "winograd",
]

LANES = 16
"""The number of filters must be a multiple of this."""

_present = False  # of the process, as the precision is: autograd has threads of its own


@contextmanager
def serving(kernels: bool) -> Iterator[None]:
    """Use the kernels inside the block, or torch; restore the choice after it. Raises `Unavailable` if there are no
    kernels."""
    global _present
    if kernels:
        library()
    earlier, _present = _present, kernels
    try:
        yield
    finally:
        _present = earlier


def serve(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels compute a block of maps x [..., C, H, W] with this weight [..., O, C, k, k].

    Shapes that do not fit together are left to torch, which refuses them.
    """
    fits = weight.shape[-4] % LANES == 0 and weight.shape[-2:] == (3, 3) and weight.shape[-3] == x.shape[-3]
    alike = weight.dtype == x.dtype and (weight.dim() == 4 or len(weight) == len(x))
    return _present and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and fits and alike


def convolve(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether a kernel convolves images x [n, C, H, W] with this weight [O, C, k, k]."""
    wide = weight.shape[1] % LANES == 0 and min(x.shape[2:]) >= SMALLEST
    return stride == 1 and wide and serve(x, weight)
