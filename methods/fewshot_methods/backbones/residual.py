"""What residual networks share: one pass with its parameters and statistics, their layers' parameters, DropBlock.

Legend: T tasks, n images a task, C channels, H x W a map, O filters, h x w a map after a stride, b the side of a block.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Moments, Parameters, Statistics, conv2d, conv2d_moments, conv_block, moments, per_channel

EPS = 1e-5
Fan = Literal["fan_in", "fan_out"]


class Pass:
    """One pass through a network: the parameters and the statistics that it is given, and the statistics `used` so far.

    A layer `name` has the parameters `name_weight`, and `name_scale` and `name_shift` where it normalises, under the
    statistics `name`. Each method raises `KeyError` for a layer that the parameters or the given statistics lack.
    """

    def __init__(self, params: Parameters, given: Statistics | None) -> None:
        self.params, self.given = params, given
        self.used: dict[str, Moments] = {}

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution alone: maps [T, n, C, H, W] -> [T, n, O, h, w]."""
        return conv2d(x, self.params[f"{name}_weight"], stride)

    def norm(self, name: str, maps: Tensor) -> Tensor:
        """Normalisation alone: maps [T, n, C, H, W] of the same shape."""
        own = moments(maps.permute(0, 1, 3, 4, 2).flatten(1, 3)) if self.given is None else self.given[name]
        return self._normalised(name, maps, own)

    def conv_norm(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution, then normalisation: maps [T, n, C, H, W] -> [T, n, O, h, w]."""
        if self.given is not None:
            return self._normalised(name, self.conv(name, x, stride), self.given[name])
        maps, *own = conv2d_moments(x, self.params[f"{name}_weight"], stride)
        return self._normalised(name, maps, (own[0], own[1]))

    def conv_norm_relu(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution, normalisation and ReLU: maps [T, n, C, H, W] -> [T, n, O, h, w]; by the kernels where they can."""
        weight, scale, shift = (self.params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
        own = self.given[name] if self.given is not None else None
        maps, self.used[name] = conv_block(x, weight, scale, shift, own, eps=EPS, stride=stride)
        return maps

    def _normalised(self, name: str, maps: Tensor, own: Moments) -> Tensor:
        self.used[name] = mean, variance = own
        factor = self.params[f"{name}_scale"] * torch.rsqrt(variance + EPS)  # [T or 1, C]
        level = self.params[f"{name}_shift"] - mean * factor
        return torch.addcmul(per_channel(level), maps, per_channel(factor))


def add_conv(module: nn.Module, name: str, filters: int, channels: int, side: int, fan: Fan = "fan_out") -> None:
    """Give `module` the weights of a convolution without a bias, drawn by He's rule: N(0, 2 / (side^2 * filters)), or with
    `fan_in` N(0, 2 / (side^2 * channels))."""
    weight = torch.empty(filters, channels, side, side)
    module.register_parameter(f"{name}_weight", nn.Parameter(nn.init.kaiming_normal_(weight, mode=fan)))


def add_norms(module: nn.Module, channels: Mapping[str, int]) -> None:
    """Give `module` the scales, 1 at first, and the shifts, 0 at first, of normalised layers by name."""
    for name, size in channels.items():
        module.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(size)))
        module.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(size)))


def max_pool(maps: Tensor, window: int, stride: int, padding: int = 0) -> Tensor:
    """Maps [T, n, C, H, W] -> the largest value of each window [T, n, C, h, w]; an incomplete window at the end is left
    out."""
    pooled: Tensor = F.max_pool2d(maps.flatten(0, 1), window, stride, padding).unflatten(0, maps.shape[:2])
    return pooled


def drop_block(maps: Tensor, rate: float, side: int) -> Tensor:
    """DropBlock (Ghiasi, Lin & Le 2018): maps [T, n, C, H, W] without random blocks of b x b values; the rest is scaled up
    so that as much is left on the whole. `rate` is the share that is dropped, but for blocks that overlap.

    b is `side`, or the side of the maps where that is smaller; blocks of one value are dropout. A block starts wherever it
    fits, with probability rate / b^2 * HW / ((H - b + 1)(W - b + 1)). The draws are of torch's present generator.
    """
    height, width = maps.shape[3:]
    side = min(side, height, width)
    if side == 1:
        return F.dropout(maps, rate)
    rows, columns = height - side + 1, width - side + 1
    chance = rate / side**2 * (height * width) / (rows * columns)
    first = torch.rand(*maps.shape[:3], rows, columns, device=maps.device) < chance
    border = F.pad(first.to(maps.dtype), [side - 1] * 4)
    kept = 1 - max_pool(border, side, 1)  # [T, n, C, H, W]
    return maps * (kept * (kept.numel() / kept.sum().clamp(min=1)))
