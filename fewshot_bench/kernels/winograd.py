"""The kernel of `winograd.cpp`: convolutions of wide layers with fewer multiplications.

Legend: n images, C channels, H x W a map, O filters.
"""

import ctypes

from torch import Tensor

from fewshot_bench.kernels.call import call

SMALLEST = 5
"""The side of maps from which it is faster than torch's convolution. Smaller maps fill its tiles badly."""


def winograd(x: Tensor, weight: Tensor, transposed: bool = False) -> Tensor:
    """Maps x [n, H, W, C] convolved with weight [O, C, 3, 3], padded: [n, H, W, O].

    `transposed`: x [n, H, W, O] is the gradient of the result, and the result [n, H, W, C] that of the maps.
    """
    n, height, width, channels = x.shape
    filters = weight.shape[1] if transposed else weight.shape[0]
    so, sc, si, sj = weight.stride()
    first = weight.data_ptr()
    if transposed:  # the roles of C and O exchanged, the filters turned around
        first += 2 * (si + sj) * weight.element_size()
        so, sc, si, sj = sc, so, -si, -sj
    x = x.contiguous()
    transformed = x.new_empty(16, channels, filters)
    y = x.new_empty(n, height, width, filters)
    sizes, strides = map(ctypes.c_long, (channels, filters)), map(ctypes.c_long, (so, sc, si, sj))
    call("winograd_weights", *sizes, ctypes.c_void_p(first), *strides, transformed)
    call("winograd", *map(ctypes.c_long, (n, height, width, channels, filters)), x, transformed, y)
    return y
