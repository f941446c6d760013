"""Conv4 whose maps stay large: `conv4-64-maps`, the embedding network of relation networks (Sung et al. 2018).

Four blocks of 3x3 convolution with 64 filters, batch normalisation and ReLU; the first two pool 2x2, the last two keep their
maps, which a learned comparison reads. As in the authors' code (floodsung/LearningToCompare_FSL) the first two blocks do not
pad: 28x28 -> 64 maps of 5x5, 32x32 -> 6x6, 84x84 -> 19x19. An embedding is these maps, flattened; `map_shape` says which
they are.

Deviation: the convolutions have no bias, because the normalisation after them subtracts it again.

Legend: T tasks, n images a task, C channels, H x W a map, O filters, h x w a map after pooling, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Backbone, Moments, Parameters, Statistics, conv2d, conv_block, kernels, moments, per_channel
from fewshot_bench.learning.layers import is_narrow
from fewshot_bench.learning.precision import operand

FILTERS, EPS = 64, 1e-5


class Conv4Maps(Backbone):
    """The network of relation networks: Conv4 whose last two blocks do not pool; the maps are the embedding."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.channels = {f"block{i}": FILTERS for i in range(1, 5)}
        for name in self.channels:
            add_block(self, name, channels)
            channels = FILTERS
        self.map_shape = (FILTERS, ((height - 2) // 2 - 2) // 2, ((width - 2) // 2 - 2) // 2)
        if min(height, width) < 10:
            raise ValueError(f"images of {height}x{width} are too small for two poolings without padding")
        self.features = math.prod(self.map_shape)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> maps [T, n, D] and the statistics used; see `Backbone`."""
        used: dict[str, Moments] = {}
        for name in self.channels:
            first = name in ("block1", "block2")
            own = given[name] if given is not None else None
            x, used[name] = block(x, name, params, own, pad=not first, window=2 if first else 1)
        return x.flatten(2), used


def add_block(module: nn.Module, name: str, channels: int) -> None:
    """Give `module` the parameters of a block with the authors' initial values: weights from N(0, 2 / (9 * 64))."""
    std = math.sqrt(2 / (9 * FILTERS))
    module.register_parameter(f"{name}_weight", nn.Parameter(torch.randn(FILTERS, channels, 3, 3) * std))
    module.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(FILTERS)))
    module.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(FILTERS)))


def block(
    x: Tensor, name: str, params: Parameters, given: Moments | None, *, pad: bool, window: int
) -> tuple[Tensor, Moments]:
    """Maps x [T, n, C, H, W] -> convolved, normalised, pooled, ReLU: [T, n, O, h, w], and the moments used."""
    weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
    if pad:
        return conv_block(x, weight, scale, shift, given, eps=EPS, window=window)
    return normalised(unpadded(x, weight), scale, shift, given, window)


def unpadded(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution without padding: [T, n, C, H, W] -> [T, n, O, H - 2, W - 2]."""
    if weight.dim() == 5:  # one a task
        return conv2d(x, weight)[..., 1:-1, 1:-1]
    images, filters = (x, weight) if is_narrow(weight) else (operand(x), operand(weight))
    images = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    maps: Tensor = F.conv2d(images, filters).to(x.dtype).unflatten(0, x.shape[:2])
    return maps


def normalised(maps: Tensor, scale: Tensor, shift: Tensor, given: Moments | None, window: int) -> tuple[Tensor, Moments]:
    """A block after its convolution: maps [T, n, O, H, W] -> [T, n, O, h, w], and the moments used.

    The `given` moments normalise, if there are any, else those of each task's own maps.
    """
    scale, shift, last = torch.atleast_2d(scale), torch.atleast_2d(shift), maps.permute(0, 1, 3, 4, 2)
    by_kernels = kernels.serve(maps, maps.new_empty(FILTERS, FILTERS, 3, 3))
    if by_kernels and given is None:
        rows = [value.expand(len(maps), -1) for value in (scale, shift)]
        out, mean, variance = kernels.PoolNormalise.apply(*rows, EPS, window, last.contiguous())
        return out.permute(0, 1, 4, 2, 3), (mean, variance)
    mean, variance = moments(last.flatten(1, 3)) if given is None else given  # [T or 1, O]
    factor = scale * torch.rsqrt(variance + EPS)
    level = shift - mean * factor
    if by_kernels:
        rows = [value.expand(len(maps), -1) for value in (factor, level)]
        out = kernels.PoolScale.apply(*rows, window, last.contiguous()).permute(0, 1, 4, 2, 3)
    else:
        out = torch.addcmul(per_channel(level), maps, per_channel(factor))
        out = F.max_pool2d(out.flatten(0, 1), window).unflatten(0, out.shape[:2]).relu()
    return out, (mean, variance)
