"""The networks of Reptile (Nichol et al. 2018; code openai/supervised-reptile, `supervised_reptile/models.py`).

Both have four blocks of 3x3 convolution, batch normalisation with scale and shift (eps 1e-3) and ReLU, and hand the head
every place of the last map. They start by Glorot's uniform rule.

- `conv4-64-strided-maps` (Omniglot): 64 filters, stride 2. 28x28 -> 2x2 places, 256 features.
- `conv4-32-same` (mini-ImageNet): 32 filters, 2x2 max-pooling that keeps an odd last row and column. 84x84 -> 6x6 places,
  1,152 features.

Their strided convolution pads as TensorFlow does, an even map below and to the right alone; ours pads all sides by one.
That is the same network on images turned by 180 degrees with its filters turned (`tests/methods/test_conv4_reptile.py`).
Filters start alike in both directions, and a data set whose classes include every rotation is the same turned, as Omniglot
is here, so nothing depends on it.

Deviation: the convolutions have no bias, because the normalisation after them subtracts it again.

Legend: T tasks, n images a task, C channels, H x W a map, h x w after a block, O filters, D features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import Parameters, Statistics, conv2d, conv2d_moments, per_channel
from fewshot_methods.backbones.conv4 import Conv4

EPS = 1e-3


class Conv4StridedMaps(Conv4):
    """Reptile's network for Omniglot: strided convolutions, every place of the last map is a feature."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__(input_shape, filters=64, strided=True, scale=True, eps=EPS)
        self.features = 64 * _places(input_shape)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used; see `Backbone`."""
        used: dict[str, tuple[Tensor, Tensor]] = {}
        for name in self.channels:
            x, used[name] = self._block(name, x, params, given[name] if given is not None else None)
        return x.flatten(2), used


class Conv4Same(Conv4StridedMaps):
    """Reptile's network for mini-ImageNet: max-pooling that keeps what is left over."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        Conv4.__init__(self, input_shape, filters=32, strided=True, scale=True, eps=EPS)
        self.features = 32 * _places(input_shape)

    def _block(
        self, name: str, x: Tensor, params: Parameters, given: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Maps [T, n, C, H, W] -> [T, n, O, h, w] and the moments that normalised them."""
        weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
        if given is None:
            maps, mean, variance = conv2d_moments(x, weight)  # [T, n, O, H, W], [T, O], [T, O]
        else:
            maps, (mean, variance) = conv2d(x, weight), given
        factor = torch.atleast_2d(scale) * torch.rsqrt(variance + self.eps)  # [T or 1, O]
        level = torch.atleast_2d(shift) - mean * factor
        normalised = torch.addcmul(per_channel(level), maps, per_channel(factor))
        pooled = F.max_pool2d(normalised.flatten(0, 1), 2, ceil_mode=True).unflatten(0, x.shape[:2])
        return pooled.relu_(), (mean, variance)


def _places(input_shape: tuple[int, int, int]) -> int:
    """Places of the last map: each block halves a side and rounds up."""
    _, height, width = input_shape
    return -(-height // 16) * -(-width // 16)
