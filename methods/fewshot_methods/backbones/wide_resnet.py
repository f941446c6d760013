"""Wide residual networks (Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146, code
szagoruyko/wide-residual-networks): `wrn-28-10`, of depth 28 and ten times as wide as the plain network.

    conv3x3 to 16 maps, then three groups of (depth - 4) / 6 blocks of 160, 320 and 640 filters; the first block of the
    second and third group halves the map; normalisation, ReLU and the mean over the last map: 640 features

    Block(x) = conv3x3(drop(relu(norm(conv3x3(o))))) + shortcut,   o = relu(norm(x)),
                                            shortcut: x, or conv1x1(o) where the number of maps changes

Normalisation and ReLU come before each convolution. As in the authors' code (pytorch/resnet.py) the first convolution of a
block has the stride, the shortcut's convolution sees o, convolutions have no bias, and weights start by He's rule (fan-in).
Dropout is the paper's option (section 2.4; it takes 0.3); the code has none.

Deviations: the scales of normalisations start at 1 (torch of their day drew them from U(0, 1)). The mean is over the whole
last map, whatever its size: 8x8 of 32x32 images as in the paper, 21x21 of 84x84.

Legend: T tasks, n images a task, C channels, H x W a map, h x w after a stride, F filters.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import Backbone, Parameters, Statistics
from fewshot_methods.backbones.residual import Pass, add_conv, add_norms

FIRST = 16
GROUPS = (16, 32, 64)
"""Filters of the first convolution, and of the three groups of a network of width 1."""


class WideResNet(Backbone):
    """A wide residual network: three groups of blocks that normalise before they convolve; the mean over the last map.

    Raises `ValueError` for a depth that is not 6 k + 4 and a dropout outside [0, 1).
    """

    def __init__(self, input_shape: tuple[int, int, int], *, depth: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"a wide residual network has a depth of 6 k + 4, such as 16 or 28, not {depth}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is from 0 to below 1, got {dropout}")
        self.dropout = dropout
        self.features = GROUPS[-1] * width
        self.channels: dict[str, int] = {}
        self.blocks: dict[str, int] = {}
        """Name and stride."""
        self.widening: set[str] = set()
        """Those whose number of maps changes."""
        add_conv(self, "first", FIRST, input_shape[0], 3, "fan_in")
        channels = FIRST
        for group, filters in enumerate((width * one for one in GROUPS), 1):
            for i in range(1, blocks + 1):
                self._add(f"group{group}_block{i}", channels, filters)
                self.blocks[f"group{group}_block{i}"] = 2 if group > 1 and i == 1 else 1
                channels = filters
        self.channels["last"] = channels
        add_norms(self, self.channels)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, F] and the statistics used; see `Backbone`."""
        step = Pass(params, given)
        x = step.conv("first", x)
        for name, stride in self.blocks.items():
            x = self._block(step, name, x, stride)
        return step.norm("last", x).relu_().mean((3, 4)), step.used

    def _block(self, step: Pass, name: str, x: Tensor, stride: int) -> Tensor:
        """Maps [T, n, C, H, W] -> [T, n, F, h, w]."""
        active = step.norm(f"{name}_norm1", x).relu_()
        maps = step.norm(f"{name}_norm2", step.conv(f"{name}_conv1", active, stride)).relu_()
        maps = step.conv(f"{name}_conv2", F.dropout(maps, self.dropout, self.training))
        return maps + (step.conv(f"{name}_shortcut", active, stride) if name in self.widening else x)

    def _add(self, name: str, channels: int, filters: int) -> None:
        self.channels[f"{name}_norm1"] = channels
        self.channels[f"{name}_norm2"] = filters
        add_conv(self, f"{name}_conv1", filters, channels, 3, "fan_in")
        add_conv(self, f"{name}_conv2", filters, filters, 3, "fan_in")
        if channels != filters:
            self.widening.add(name)
            add_conv(self, f"{name}_shortcut", filters, channels, 1, "fan_in")


wrn_28_10 = partial(WideResNet, depth=28, width=10)
