"""Conv4-512: the embedding network of R2-D2 (Bertinetto et al. 2019; code bertinetto/r2d2, `RRFeatures`).

Four blocks of 3x3 convolution, batch normalisation, max-pooling, leaky ReLU (0.1) and, in the last two, dropout, with 96,
192, 384 and 512 filters. The first three pool 2x2 with stride 2, the last 2x2 with stride 1. An embedding is the third
block's maps, pooled once more 2x2 with stride 1, and the fourth's, side by side: 28x28 -> 3,584 features (1,536 and 2,048),
32x32 -> 8,064, 84x84 -> 72,576.

Dropout acts only in training. The authors set it for each data set: none for Omniglot (28x28), 0.4 for CIFAR-FS (32x32), 0.1
for mini-ImageNet (84x84); images of another size get 0.1. It draws from the generator of the run and not from a task's key,
so its draws depend on the chunks of an update (R2-D2 has one task an update).

Deviations: the convolutions have no bias, because the normalisation after them subtracts it again. The scale of the
normalisation starts at 1 (torch of their day drew it from U(0, 1)).

Legend: T tasks, n images a task, C channels, H x W a map, O filters, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Backbone, Parameters, Statistics, conv2d, conv2d_moments, per_channel

FILTERS = {"block1": 96, "block2": 192, "block3": 384, "block4": 512}
DROPOUT = {28: 0.0, 32: 0.4, 84: 0.1}
"""Side of the images -> the authors' rate."""
SLOPE, EPS = 0.1, 1e-5


class Conv4_512(Backbone):
    """The network of R2-D2: four blocks of 96 to 512 filters; the maps of the last two are the embedding.

    `dropout` None takes the authors' rate for images of that size.
    """

    def __init__(self, input_shape: tuple[int, int, int], dropout: float | None = None) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.dropout = DROPOUT.get(height, 0.1) if dropout is None else dropout
        self.channels = FILTERS
        for name, filters in FILTERS.items():
            bound = 1 / math.sqrt(9 * channels)  # torch's own
            weight = torch.empty(filters, channels, 3, 3).uniform_(-bound, bound)
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            self.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(filters)))
            self.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(filters)))
            channels = filters
        if min(height, width) < 16:
            raise ValueError(f"images of {height}x{width} are too small for four poolings")
        self.features = (FILTERS["block3"] + FILTERS["block4"]) * (height // 8 - 1) * (width // 8 - 1)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used; see `Backbone`."""
        used: dict[str, tuple[Tensor, Tensor]] = {}
        maps = []
        for name in self.channels:
            x, used[name] = self._block(name, x, params, given[name] if given is not None else None)
            maps.append(x)
        third, fourth = pool(maps[2], stride=1), maps[3]
        return torch.cat([third.flatten(2), fourth.flatten(2)], -1), used  # [T, n, D]

    def _block(
        self, name: str, x: Tensor, params: Parameters, given: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Maps [T, n, C, H, W] -> [T, n, O, h, w] and the moments that normalised them.

        Pooling goes before the normalisation, which then has a quarter of the values. Where the scale is negative, the
        filter's sign is turned, so that the largest value is the right one in both cases.
        """
        weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
        turn = torch.where(scale.detach() < 0, -1.0, 1.0).to(scale.dtype)  # [O] or [T, O]
        weight, scale = weight * turn[..., None, None, None], torch.atleast_2d(scale * turn)
        turn = torch.atleast_2d(turn)
        if given is None:
            maps, mean, variance = conv2d_moments(x, weight)
        else:
            maps, (mean, variance) = conv2d(x, weight), (given[0] * turn, given[1])
        maps = pool(maps, stride=1 if name == "block4" else 2)
        factor = scale * torch.rsqrt(variance + EPS)  # [T or 1, O]
        level = torch.atleast_2d(shift) - mean * factor
        out = F.leaky_relu(torch.addcmul(per_channel(level), maps, per_channel(factor)), SLOPE, inplace=True)
        if name in ("block3", "block4"):
            out = F.dropout(out, self.dropout, self.training)
        return out, (mean * turn, variance)


def pool(maps: Tensor, stride: int) -> Tensor:
    """Maps [T, n, C, H, W] pooled 2x2 with `stride`: the largest value of each window."""
    pooled: Tensor = F.max_pool2d(maps.flatten(0, 1), 2, stride).unflatten(0, maps.shape[:2])
    return pooled
