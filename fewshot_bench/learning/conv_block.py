"""The usual block of embedding networks: convolution, pooling, normalisation with its statistics in the open, ReLU.

The kernels compute it where they can (on a CPU, with 16 filters or a multiple). Elsewhere torch does, with the same result
up to rounding.

Legend: T tasks, n images a task, C channels, H x W a map, O filters, k the window of the pooling (1: none), h x w the size
after it, P = 9 C values of a patch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import kernels
from fewshot_bench.learning.layers import conv2d, conv2d_moments, filter_matrix, is_narrow, per_channel, task_maps

FIRST_LAYERS = ((1, 2), (2, 1))
"""Strides and windows of first layers that have a kernel."""
Moments = tuple[Tensor, Tensor]
"""Mean and biased variance [T or 1, O]."""


def conv_block(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    shift: Tensor,
    given: Moments | None,
    *,
    eps: float,
    stride: int = 1,
    window: int = 1,
) -> tuple[Tensor, Moments]:
    """Maps x [T, n, C, H, W] -> ReLU(scale * normalised(pool(x * weight)) + shift) [T, n, O, h, w] and the moments used.

    Weight [O, C, 3, 3], scale and shift [O] serve all tasks, or have a task axis [T, ...]. The `given` moments normalise, if
    there are any, else those of each task's own maps before pooling. Pooling goes before the normalisation, which then has a
    quarter of the values. It takes the largest of a window, or the smallest where the scale is negative, which gives the
    same as pooling afterwards.
    """
    scale = torch.ones_like(shift) if scale is None else scale
    scale, shift = torch.atleast_2d(scale), torch.atleast_2d(shift)  # [T or 1, O]
    if window > 2 or not kernels.serve(x, weight):
        return _torch_block(x, weight, scale, shift, given, eps, stride, window)
    if is_narrow(weight) and x.shape[2] in (1, 3) and (stride, window) in FIRST_LAYERS and not x.requires_grad:
        return _first_block(x, weight, scale, shift, given, eps, stride, window)
    return _later_block(x, weight, scale, shift, given, eps, stride, window)


def _first_block(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, given: Moments | None, eps: float, stride: int, window: int
) -> tuple[Tensor, Moments]:
    """A first layer: its moments are known from those of the patches, so the normalisation becomes part of its weights."""
    filters = filter_matrix(weight)  # [T or 1, P, O]
    if given is None:
        mean, covariance = kernels.patch_moments(x, stride)  # [T, P], [T, P, P]
        given = (mean[:, None] @ filters)[:, 0], (filters * (covariance @ filters)).sum(1)
    factor, level = _factor(scale, shift, given, eps)
    filters = filters * factor[:, None]
    rows = max(len(filters), len(level))  # T where anything differs from task to task
    out = kernels.FirstBlock.apply(
        x, filters.expand(rows, -1, -1), level.expand(rows, -1), stride, window
    )  # [T, n, h, w, O]
    return out.permute(0, 1, 4, 2, 3), given


def _later_block(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, given: Moments | None, eps: float, stride: int, window: int
) -> tuple[Tensor, Moments]:
    maps = task_maps(x, weight, stride)
    if given is None:
        scale, shift = scale.expand(len(x), -1), shift.expand(len(x), -1)
        out, mean, variance = kernels.PoolNormalise.apply(scale, shift, eps, window, *maps)
        given = mean, variance
    else:
        factor, level = _factor(scale, shift, given, eps)
        out = kernels.PoolScale.apply(factor.expand(len(x), -1), level.expand(len(x), -1), window, *maps)
    return out.permute(0, 1, 4, 2, 3), given


def _torch_block(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, given: Moments | None, eps: float, stride: int, window: int
) -> tuple[Tensor, Moments]:
    # The smallest of a window is pooled where the scale is negative by turning the filter over: scale * y == -scale * -y.
    sign = torch.where(scale.detach() < 0, -1.0, 1.0).to(scale.dtype)  # [T or 1, O]
    turn = sign[0] if len(sign) == 1 and weight.dim() == 4 else sign
    weight, scale = weight * turn[..., None, None, None], scale * sign
    if given is None:
        maps, mean, variance = conv2d_moments(x, weight, stride)  # [T, n, O, H, W], [T, O], [T, O]
    else:
        maps, (mean, variance) = conv2d(x, weight, stride), (given[0] * sign, given[1])
    if window > 1:
        maps = F.max_pool2d(maps.flatten(0, 1), window).unflatten(0, maps.shape[:2])  # [T, n, O, h, w]
    factor, level = _factor(scale, shift, (mean, variance), eps)
    out = torch.addcmul(per_channel(level), maps, per_channel(factor)).relu_()
    return out, (mean * sign, variance)


def _factor(scale: Tensor, shift: Tensor, moments: Moments, eps: float) -> Moments:
    """Normalisation, scale and shift as one factor and one level [T or 1, O]."""
    mean, variance = moments
    factor = scale * torch.rsqrt(variance + eps)
    return factor, shift - mean * factor
