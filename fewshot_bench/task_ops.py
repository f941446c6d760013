"""Layers with a task axis, whose weights are shared by all tasks or differ from task to task.

Legend: T tasks, n images a task, C channels, H x W a map, k the side of a filter, O filters, D inputs, N outputs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.normalisation import moments


def conv2d(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Convolution, padded so that stride 1 keeps the size: [T, n, C, H, W] -> [T, n, O, H', W'], channels-last.

    Weight [O, C, k, k] serves all tasks in one large convolution; [T, O, C, k, k] is a convolution of its own a task.
    """
    own = weight.dim() == 5
    if _narrow(weight) or (own and stride > 1):
        return _matrix_conv(x, weight, stride)
    if not own:
        shared = _conv(x.flatten(0, 1), weight, stride)
        return shared.view(*x.shape[:2], *shared.shape[1:])
    maps = [_conv(images, w, stride).permute(0, 2, 3, 1) for images, w in zip(x, weight, strict=True)]
    return torch.stack(maps).permute(0, 1, 4, 2, 3)  # stacked as [T, n, H', W', O]: still channels-last


def conv2d_moments(x: Tensor, weight: Tensor, stride: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """`conv2d` and the mean and biased variance [T, O] of its maps over each task's images and places.

    Where a patch has fewer values than there are filters (a network's first layer), the moments come from those of the
    patches, of which the maps are linear: mean(p W) = mean(p) W, var(p w) = w' cov(p) w. The maps, the largest tensors
    of a network, are then neither read again for their moments nor touched by the moments' gradient.
    """
    if not _narrow(weight):
        maps = conv2d(x, weight, stride)
        return maps, *moments(channels_last(maps))
    patches, filters = _patches(x, weight.shape[-1], stride), _filters(weight)  # [T, n, H', W', P], [T or 1, P, O]
    rows = patches.flatten(1, 3)  # [T, M, P]
    maps = (rows @ filters).view(*patches.shape[:4], -1).permute(0, 1, 4, 2, 3)
    mean = rows.mean(1, keepdim=True)  # [T, 1, P]
    centred = rows - mean
    covariance = centred.mT @ centred / rows.shape[1]  # [T, P, P]
    return maps, (mean @ filters)[:, 0], (filters * (covariance @ filters)).sum(1)


def _narrow(weight: Tensor) -> bool:
    """Whether a patch has fewer values than there are filters: a first layer, fastest as a matrix product."""
    return weight.shape[-3:].numel() < weight.shape[-4]


def _conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def _matrix_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """One matrix product a task: faster than T small convolutions where the patches, (k / stride)^2 times the images'
    size, are not too many."""
    patches = _patches(x, weight.shape[-1], stride)
    maps = patches.flatten(1, 3) @ _filters(weight)  # [T, n*H'*W', O]
    return maps.view(*patches.shape[:4], -1).permute(0, 1, 4, 2, 3)


def _patches(x: Tensor, size: int, stride: int) -> Tensor:
    """Maps [T, n, C, H, W] -> patches [T, n, H', W', k*k*C]."""
    patches: Tensor = Patches.apply(x.permute(0, 1, 3, 4, 2), size, stride)
    return patches


def _filters(weight: Tensor) -> Tensor:
    """Weight [O, C, k, k] or [T, O, C, k, k] as a matrix [1 or T, k*k*C, O]."""
    weight = weight if weight.dim() == 5 else weight[None]
    return weight.permute(0, 3, 4, 2, 1).flatten(1, 3)


class Patches(torch.autograd.Function):
    """The k x k patches of maps [T, n, H, W, C], padded: [T, n, H', W', k*k*C]. Linear; `Unpatched` is its transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, stride: int) -> Tensor:
        ctx.shape, ctx.size, ctx.stride = x.shape, size, stride
        pad = size // 2
        padded = F.pad(x, (0, 0, pad, pad, pad, pad))
        windows = padded.unfold(2, size, stride).unfold(3, size, stride)  # [T, n, H', W', C, k, k]
        return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Unpatched.apply(grads[0], ctx.shape, ctx.size, ctx.stride), None, None


class Unpatched(torch.autograd.Function):
    """Patches [T, n, H', W', k*k*C] added up where they came from: maps [T, n, H, W, C]."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, shape: torch.Size, size: int, stride: int) -> Tensor:
        ctx.size, ctx.stride = size, stride
        tasks, n, height, width, channels = shape
        pad = size // 2
        padded = patches.new_zeros(tasks, n, height + 2 * pad, width + 2 * pad, channels)
        parts = patches.unflatten(4, (size, size, channels))  # [T, n, H', W', k, k, C]
        down, right = patches.shape[2] * stride, patches.shape[3] * stride
        for i in range(size):
            for j in range(size):
                padded[:, :, i : i + down : stride, j : j + right : stride] += parts[:, :, :, :, i, j]
        return padded[:, :, pad : pad + height, pad : pad + width]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Patches.apply(grads[0], ctx.size, ctx.stride), None, None, None


def channels_last(x: Tensor) -> Tensor:
    """Maps [T, n, C, H, W] -> [T, n*H*W, C], a view where the maps are channels-last."""
    return x.permute(0, 1, 3, 4, 2).flatten(1, 3)


def per_channel(x: Tensor) -> Tensor:
    """A value a channel, [T or 1, C], shaped to act on maps [T, n, C, H, W]."""
    return x[:, None, :, None, None]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[T, n, D] -> [T, n, N] with weight [N, D] and bias [N], or one a task: [T, N, D] and [T, N]."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias[:, None], x, weight.mT)
