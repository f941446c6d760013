"""`conv-64-96-128-256`: the network of relation networks on CIFAR-FS (Bertinetto et al. 2019's rerun, as Lee et al. 2019
quote it, https://arxiv.org/abs/1904.03758, table 2).

What is known is their note that a-b-c-d "denotes a 4-layer convolutional network with a, b, c, and d filters in each layer";
the code bertinetto/r2d2 holds no relation network. All else is this project's choice, and is that of relation networks' own
network, `conv4-64-maps`: 3x3 convolutions without a bias, normalisation (eps 1e-5) and ReLU; the first two blocks do not pad
and pool 2x2, the last two pad and keep their maps; weights start from N(0, 2 / (9 filters)). 32x32 -> 256 maps of 6x6,
84x84 -> 19x19.

An embedding is these maps, flattened; `map_shape` says which they are.

Legend: T tasks, n images a task, C channels, H x W a map, D features.
"""

import math
from itertools import pairwise

from torch import Tensor

from fewshot_bench import Backbone, Moments, Parameters, Statistics
from fewshot_methods.backbones.conv4_maps import block
from fewshot_methods.backbones.residual import add_conv, add_norms

FILTERS = (64, 96, 128, 256)


class ConvWidening(Backbone):
    """Relation networks' network on CIFAR-FS: four blocks of 64, 96, 128 and 256 filters, whose last two keep their maps."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < 10:
            raise ValueError(f"images of {height}x{width} are too small for two poolings without padding")
        self.channels = {f"block{i}": filters for i, filters in enumerate(FILTERS, 1)}
        for name, (inputs, filters) in zip(self.channels, pairwise((channels, *FILTERS)), strict=True):
            add_conv(self, name, filters, inputs, 3)
        add_norms(self, self.channels)
        self.map_shape = (FILTERS[-1], ((height - 2) // 2 - 2) // 2, ((width - 2) // 2 - 2) // 2)
        self.features = math.prod(self.map_shape)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> maps [T, n, D] and the statistics used; see `Backbone`."""
        used: dict[str, Moments] = {}
        for name in self.channels:
            first = name in ("block1", "block2")
            own = given[name] if given is not None else None
            x, used[name] = block(x, name, params, own, pad=not first, window=2 if first else 1)
        return x.flatten(2), used
