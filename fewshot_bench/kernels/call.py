"""Calling a kernel on tensors."""

import ctypes

import torch
from torch import Tensor

from fewshot_bench.kernels.build import library

Argument = Tensor | ctypes.Structure | ctypes.c_long | ctypes.c_void_p | int | None
NEED_MEMORY = ("first", "patch", "winograd")
"""How the names of those kernels begin that report whether they got the memory they need."""


def call(name: str, *arguments: Argument) -> None:
    """Call the kernel `name` for the type of the first tensor; tensors, all contiguous, go as their addresses.

    Raises `TypeError` for tensors of several types or not contiguous, `MemoryError`, and `Unavailable`.
    """
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    dtype = tensors[0].dtype
    for tensor in tensors:
        if tensor.dtype not in (dtype, torch.uint8) or not tensor.is_contiguous():
            layout = f"{tensor.dtype} {tuple(tensor.shape)} of strides {tensor.stride()}"
            raise TypeError(f"{name} takes contiguous tensors of {dtype}, got {layout}")
    kernel = getattr(library(), f"{name}_{'double' if dtype == torch.float64 else 'float'}")
    failed = kernel(*(ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments))
    if name.startswith(NEED_MEMORY) and failed:
        raise MemoryError(f"not enough memory for {name}")
