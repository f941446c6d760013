"""The residual network with which TCML and SNAIL embed mini-ImageNet (Mishra et al. 2018, appendix A): 384 features.

    Res(x; F) = dropout(pool(h + conv1x1(x))),   h = three times conv3x3 of F filters, batch normalisation, leaky ReLU
    Res(64), Res(96), Res(128), Res(256), conv1x1 to 2048, mean over the map, ReLU, dropout, linear to 384

Pooling is 2x2 and includes an odd last row and column (84 -> 42 -> 21 -> 11 -> 6, the paper's 6x6 mean).

What the paper does not say, and what is done here:
- "Dropout 0.9" is read as the probability to keep; it acts only in training.
- The slope of the leaky ReLU is 0.1, as in the networks derived from this one (Oreshkin et al. 2018; Lee et al. 2019); eps
  1e-5; the shortcut is not normalised. The 3x3 convolutions have no bias, because the normalisation subtracts it again.
- The mean is taken before the layer to 2048. That layer is linear and 1x1, so this gives the same result for 1/36 of the
  work.

Legend: T tasks, n images a task, C channels, H x W a map, h x w after pooling, F filters.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Backbone, Parameters, Statistics, conv2d, conv2d_moments, per_channel

FILTERS = (64, 96, 128, 256)
WIDE, FEATURES = 2048, 384
SLOPE, EPS, DROPPED = 0.1, 1e-5, 0.1


class ResnetSnail(Backbone):
    """The residual network of TCML and SNAIL for mini-ImageNet: four blocks, then two layers on the mean of the last map."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = FEATURES
        self.channels = {f"block{i}_conv{j}": filters for i, filters in enumerate(FILTERS, 1) for j in (1, 2, 3)}
        channels = input_shape[0]
        for i, filters in enumerate(FILTERS, 1):
            self._register(f"block{i}_shortcut", filters, channels, 1, 1)
            for j in (1, 2, 3):
                name = f"block{i}_conv{j}"
                self._register(name, filters, channels, 3, 3)
                self.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(filters)))
                self.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(filters)))
                channels = filters
        for name, outputs in (("wide", WIDE), ("out", FEATURES)):
            self._register(name, outputs, channels)
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(outputs)))
            channels = outputs

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, 384] and the statistics used; see `Backbone`."""
        used: dict[str, tuple[Tensor, Tensor]] = {}
        for i in range(1, len(FILTERS) + 1):
            x = self._block(f"block{i}", x, params, given, used)
        x = _linear(x.mean((3, 4)), params, "wide").relu()  # [T, n, 2048]
        return _linear(self._dropout(x), params, "out"), used

    def _block(
        self, name: str, x: Tensor, params: Parameters, given: Statistics | None, used: dict[str, tuple[Tensor, Tensor]]
    ) -> Tensor:
        maps = x
        for j in (1, 2, 3):
            conv = f"{name}_conv{j}"
            maps, used[conv] = _conv(maps, conv, params, given)  # [T, n, F, H, W]
        maps = maps + conv2d(x, params[f"{name}_shortcut_weight"])
        pooled = F.max_pool2d(maps.flatten(0, 1), 2, ceil_mode=True).unflatten(0, x.shape[:2])  # [T, n, F, h, w]
        return self._dropout(pooled)

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, DROPPED, self.training)

    def _register(self, name: str, *shape: int) -> None:
        self.register_parameter(f"{name}_weight", nn.Parameter(nn.init.kaiming_uniform_(torch.empty(shape), a=5**0.5)))


def _conv(x: Tensor, name: str, params: Parameters, given: Statistics | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Convolution, normalisation and leaky ReLU: maps [T, n, C, H, W] -> [T, n, F, H, W] and the moments used."""
    weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
    if given is None:
        maps, mean, variance = conv2d_moments(x, weight)
    else:
        maps, (mean, variance) = conv2d(x, weight), given[name]
    factor = scale * torch.rsqrt(variance + EPS)  # [T or 1, F]
    level = shift - mean * factor
    return F.leaky_relu(torch.addcmul(per_channel(level), maps, per_channel(factor)), SLOPE), (mean, variance)


def _linear(x: Tensor, params: Parameters, name: str) -> Tensor:
    """[T, n, D] -> [T, n, O], with weight [O, D] and bias [O] or one a task."""
    return x @ params[f"{name}_weight"].mT + params[f"{name}_bias"][..., None, :]
