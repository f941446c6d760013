"""Small networks, on which a method can be tried in a moment whatever backbones are installed.

Legend: T tasks, n images a task, D features.
"""

import torch
from torch import Tensor, nn

from fewshot_bench.learning.backbone import Backbone, Parameters
from fewshot_bench.learning.conv_block import Moments, conv_block
from fewshot_bench.learning.layers import linear
from fewshot_bench.learning.normalisation import Statistics

FILTERS, UNITS = 8, 16


class SmallConv(Backbone):
    """Two blocks of convolution, normalisation (unless it is left out), ReLU and pooling: images to `FILTERS` maps of a
    quarter of their side."""

    def __init__(self, input_shape: tuple[int, ...], *, normalised: bool = True) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.blocks = ("block1", "block2")
        self.channels = dict.fromkeys(self.blocks, FILTERS) if normalised else {}
        self.features = FILTERS * (height // 4) * (width // 4)
        for name in self.blocks:
            weight = nn.init.kaiming_normal_(torch.empty(FILTERS, channels, 3, 3))
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            self.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(FILTERS)))
            self.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(FILTERS)))
            channels = FILTERS

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used."""
        used: dict[str, Moments] = {}
        for name in self.blocks:
            weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
            fixed = None if self.channels else (x.new_zeros(1, FILTERS), x.new_ones(1, FILTERS))
            moments = given[name] if given and self.channels else fixed
            x, used[name] = conv_block(x, weight, scale, shift, moments, eps=1e-5, window=2)
        return x.reshape(*x.shape[:2], -1), used if self.channels else {}


class SmallMlp(Backbone):
    """One hidden layer: points of D values to `UNITS` activations; nothing is normalised."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.features = {}, UNITS
        self.weight = nn.Parameter(0.1 * nn.init.kaiming_normal_(torch.empty(UNITS, *input_shape)))
        self.bias = nn.Parameter(torch.linspace(-0.3, 0.3, UNITS))

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Points x [T, n, D] -> activations [T, n, `UNITS`]; there are no statistics."""
        return linear(x, params["weight"], params["bias"]).relu(), {}


def small_network(input_shape: tuple[int, ...], *, normalised: bool = True) -> Backbone:
    """The one of them that takes such inputs; `normalised`, where it takes images."""
    return SmallConv(input_shape, normalised=normalised) if len(input_shape) == 3 else SmallMlp(input_shape)
