"""Networks of the second generation from torch's own layers, and what their comparison with ours needs.

A convolution `x` of ours is a submodule `x` here, and its normalisation, or one that stands alone, a submodule `x_norm`.

Legend: T tasks, n images a task, C channels, D features.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench.learning.backbone import Backbone, Parameters
from fewshot_bench.learning.normalisation import Statistics


class Plain(nn.Module):
    """Layers of torch by name; a subclass says in `forward` how images [n, C, H, W] become embeddings [n, D].

    In training mode; in evaluation mode once it has `statistics`.
    """

    def __init__(self, convolutions: Iterable[tuple[str, nn.Conv2d]], norms: Mapping[str, int]) -> None:
        super().__init__()
        for name, layer in convolutions:
            self.add_module(name, layer)
        for name, size in norms.items():
            self.add_module(f"{name}_norm", nn.BatchNorm2d(size))

    def run(self, name: str, x: Tensor) -> Tensor:
        """The submodule of this name, on x."""
        y: Tensor = self.get_submodule(name)(x)
        return y

    def normed(self, name: str, x: Tensor) -> Tensor:
        """A convolution and its normalisation."""
        return self.run(f"{name}_norm", self.run(name, x))

    def filled(self, params: Parameters, statistics: Statistics | None = None) -> "Plain":
        """In float64, with copies of our parameters, and in evaluation mode where there are `statistics`."""
        self.double().train(statistics is None)
        for name, value in params.items():
            self.place(name).data = value.detach().clone()
        for name, (mean, variance) in (statistics or {}).items():
            norm: Any = self.get_submodule(f"{name}_norm")
            norm.running_mean, norm.running_var = mean[0].clone(), variance[0].clone()
        return self

    def place(self, name: str) -> Any:
        """The parameter here that is our parameter of this name."""
        layer, _, part = name.rpartition("_")
        if part == "weight":
            return self.get_submodule(layer).weight
        norm = self.get_submodule(f"{layer}_norm")
        return norm.weight if part == "scale" else norm.bias


def conv(channels: int, filters: int, side: int, stride: int = 1, *, pad: bool = True) -> nn.Conv2d:
    """A convolution without a bias."""
    return nn.Conv2d(channels, filters, side, stride, side // 2 if pad else 0, bias=False)


class PlainResNet12(Plain):
    """Lee et al.'s and Tian et al.'s order of the layers: pooling comes last in a block."""

    def __init__(self, channels: int, filters: tuple[int, ...], pooled: bool) -> None:
        layers: list[tuple[str, nn.Conv2d]] = []
        norms: dict[str, int] = {}
        for i, size in enumerate(filters, 1):
            inputs = {"shortcut": channels, "conv1": channels, "conv2": size, "conv3": size}
            layers += [(f"block{i}_{part}", conv(one, size, 1 if part == "shortcut" else 3)) for part, one in inputs.items()]
            norms |= {f"block{i}_{part}": size for part in inputs}
            channels = size
        super().__init__(layers, norms)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] -> embeddings [n, D]."""
        for i in (1, 2, 3, 4):
            maps = F.leaky_relu(self.normed(f"block{i}_conv1", x), 0.1)
            maps = F.leaky_relu(self.normed(f"block{i}_conv2", maps), 0.1)
            maps = self.normed(f"block{i}_conv3", maps) + self.normed(f"block{i}_shortcut", x)
            x = F.max_pool2d(F.leaky_relu(maps, 0.1), 2)
        return x.mean((2, 3)) if self.pooled else x.flatten(1)


class PlainResNet18(Plain):
    """torchvision's order of the layers, with a first convolution of 3x3, and pooling after it or not."""

    def __init__(self, channels: int, filters: tuple[int, ...], pools: bool) -> None:
        layers, before = [("stem", conv(channels, filters[0], 3))], filters[0]
        for i, size in enumerate(filters, 1):
            stride = 1 if i == 1 else 2
            layers += [
                (f"stage{i}_block1_conv1", conv(before, size, 3, stride)),
                (f"stage{i}_block1_conv2", conv(size, size, 3)),
                (f"stage{i}_block2_conv1", conv(size, size, 3)),
                (f"stage{i}_block2_conv2", conv(size, size, 3)),
                *([(f"stage{i}_block1_shortcut", conv(before, size, 1, stride))] if i > 1 else []),
            ]
            before = size
        super().__init__(layers, {name: layer.out_channels for name, layer in layers})
        self.pools = pools

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] -> embeddings [n, D]."""
        x = F.relu(self.normed("stem", x))
        x = F.max_pool2d(x, 3, 2, 1) if self.pools else x
        for name in [f"stage{i}_block{j}" for i in (1, 2, 3, 4) for j in (1, 2)]:
            maps = self.normed(f"{name}_conv2", F.relu(self.normed(f"{name}_conv1", x)))
            first = name.endswith("block1") and name != "stage1_block1"
            x = F.relu(maps + (self.normed(f"{name}_shortcut", x) if first else x))
        return x.mean((2, 3))


class PlainWideResNet(Plain):
    """The authors' order of the layers, of two blocks a group."""

    def __init__(self, channels: int, width: int) -> None:
        layers, before = [("first", conv(channels, 16, 3))], 16
        norms: dict[str, int] = {}
        for group, size in enumerate((16 * width, 32 * width, 64 * width), 1):
            for block in (1, 2):
                name, stride = f"group{group}_block{block}", 2 if group > 1 and block == 1 else 1
                norms |= {f"{name}_norm1": before, f"{name}_norm2": size}
                layers += [(f"{name}_conv1", conv(before, size, 3, stride)), (f"{name}_conv2", conv(size, size, 3))]
                layers += [(f"{name}_shortcut", conv(before, size, 1, stride))] if before != size else []
                before = size
        super().__init__(layers, norms | {"last": before})

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] -> embeddings [n, D]."""
        x = self.run("first", x)
        for name in [f"group{i}_block{j}" for i in (1, 2, 3) for j in (1, 2)]:
            active = F.relu(self.run(f"{name}_norm1_norm", x))
            maps = F.relu(self.run(f"{name}_norm2_norm", self.run(f"{name}_conv1", active)))
            x = self.run(f"{name}_conv2", maps) + (self.run(f"{name}_shortcut", active) if name.endswith("block1") else x)
        return F.relu(self.run("last_norm", x)).mean((2, 3))


class PlainConv(Plain):
    """Blocks of convolution, normalisation, ReLU and, in the first of them, pooling; `end` makes embeddings of the maps."""

    def __init__(
        self, channels: int, filters: tuple[int, ...], pools: int, pad: tuple[bool, ...], end: Callable[[Tensor], Tensor]
    ) -> None:
        sizes = zip((channels, *filters), filters, pad, strict=False)
        layers = [(f"block{i}", conv(a, b, 3, pad=padded)) for i, (a, b, padded) in enumerate(sizes, 1)]
        super().__init__(layers, {name: layer.out_channels for name, layer in layers})
        self.pools, self.end = pools, end

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] -> embeddings [n, D]."""
        for i in (1, 2, 3, 4):
            x = F.relu(self.normed(f"block{i}", x))
            x = F.max_pool2d(x, 2) if i <= self.pools else x
        return self.end(x)


def randomised(network: Backbone) -> Backbone:
    """The network in float64 and in evaluation mode, with random shifts and random scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    network = network.double().eval()
    for name, parameter in network.named_parameters():
        std = (2 / parameter[0].numel()) ** 0.5 if name.endswith("_weight") else 1.0
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * std
    return network


def images(*shape: int) -> Tensor:
    """Random images [T, n, C, H, W] in [0, 1]."""
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def made_up_statistics(network: Backbone) -> Statistics:
    """Running statistics shared by the tasks."""
    generator = torch.Generator().manual_seed(2)
    drawn = {
        name: torch.rand(2, 1, size, dtype=torch.float64, generator=generator) for name, size in network.channels.items()
    }
    return {name: (one[0] - 0.5, one[1] + 0.5) for name, one in drawn.items()}
