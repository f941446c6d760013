"""Layers with a task axis, whose weights are shared by all tasks or differ from task to task.

Legend: T tasks, n images a task, C channels, H x W a map, D inputs, N outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def conv2d(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """3x3-like convolution with padding that keeps the size (at stride 1): [T, n, C, H, W] -> [T, n, O, H', W'].

    Weight [O, C, k, k] serves all tasks in one large convolution; [T, O, C, k, k] is one convolution a task.
    The result is channels-last.
    """
    padding = weight.shape[-1] // 2
    if weight.dim() == 5:
        maps = [_conv(images, w, stride, padding).permute(0, 2, 3, 1) for images, w in zip(x, weight, strict=True)]
        return torch.stack(maps).permute(0, 1, 4, 2, 3)  # stacked as [T, n, H', W', O]: still channels-last
    shared = _conv(x.flatten(0, 1), weight, stride, padding)
    return shared.view(*x.shape[:2], *shared.shape[1:])


def _conv(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if x.shape[1] > 1:
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, stride=stride, padding=padding)
    # One input channel: nine shifted copies and a matrix product give the channels-last map without a reordering.
    size = weight.shape[-1]
    x = F.pad(x[:, 0], (padding,) * 4).unfold(1, size, stride).unfold(2, size, stride)  # [n, H', W', k, k]
    rows = x.flatten(3) @ weight.flatten(1).T  # [n, H', W', O]
    return rows.permute(0, 3, 1, 2)


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
