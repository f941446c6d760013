"""ResNet-12, the usual network of the second generation: `resnet12` (Lee et al. 2019, https://arxiv.org/abs/1904.03758, code
kjunelee/MetaOptNet; Tian et al. 2020, https://arxiv.org/abs/2003.11539, code WangYueFt/rfs).

    Res(x; F) = drop(pool(leaky(h + norm(conv1x1(x))))),   h = three times conv3x3 of F filters and normalisation,
                                                           the first two with leaky ReLU (0.1) after it
    Res(64), Res(160), Res(320), Res(640), and with `pooled` the mean over the last map

What both papers share (Lee et al., section 4.1; models/ResNet12_embedding.py and models/resnet.py): these numbers of
filters, 2x2 max-pooling after each block (84 -> 42 -> 21 -> 10 -> 5, 32 -> 16 -> 8 -> 4 -> 2), eps 1e-5, weights by He's
rule (fan-out), and what drops a share of 0.1: single values after the first two blocks, DropBlock after the last two, with
blocks of 5x5 on ImageNet's images and 2x2 on CIFAR's.

Where they differ: Tian et al. take the mean over the last map, 640 features (`pooled`, the default). Lee et al. do not,
which gives 16,000 features of 84x84 images and 2,560 of 32x32: `--set backbone.options.pooled=false`. Their prototypical
networks divide squared distances by the number of features: `--set backbone.options.scaled=true` divides embeddings by its
square root, which is the same.

Deviation: both codes let the dropped share of DropBlock grow from 0 to 0.1 in the first 40,000 passes; here it is
`drop_rate` from the start. (As we read it, Lee et al.'s script loses the count of passes, because torch's DataParallel
counts in copies of the network on each GPU. DropBlock then hardly acts.) The draws come from the generator of the run and
not from a task's key, so they depend on the chunks of an update.

Legend: T tasks, n images a task, C channels, H x W a map, h x w after pooling, F filters, D features.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import Backbone, Parameters, Statistics
from fewshot_methods.backbones.residual import Pass, add_conv, add_norms, drop_block, max_pool

FILTERS = (64, 160, 320, 640)
LAYERS = ("shortcut", "conv1", "conv2", "conv3")
SLOPE = 0.1
LARGE, BLOCK_OF_LARGE, BLOCK = 80, 5, 2
"""The side from which images get the blocks of ImageNet's; the sides of those blocks and of CIFAR's."""


class ResNet12(Backbone):
    """ResNet-12: four residual blocks of 64 to 640 filters; the mean over the last map, or the map itself.

    `pooled` takes the mean. `scaled` divides an embedding by the square root of D, so that squared distances are means.
    `drop_rate` is the share of values that training drops after each block. `drop_block` is the side of the blocks that are
    dropped after the last two; None takes the papers' for images of that size. Raises `ValueError` for images under 16
    pixels.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        pooled: bool = True,
        scaled: bool = False,
        drop_rate: float = 0.1,
        drop_block: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        side = min(height, width)
        if side < 16:
            raise ValueError(f"images of {height}x{width} are too small for four poolings")
        if not 0 <= drop_rate < 1 or (drop_block is not None and drop_block < 1):
            raise ValueError(f"drop_rate is from 0 to below 1 and drop_block at least 1, got {drop_rate} and {drop_block}")
        self.pooled, self.drop_rate = pooled, drop_rate
        self.drop_block = drop_block if drop_block is not None else BLOCK_OF_LARGE if side >= LARGE else BLOCK
        self.features = FILTERS[-1] * (1 if pooled else (height // 16) * (width // 16))
        self.divisor = math.sqrt(self.features) if scaled else 1.0
        self.channels = {f"block{i}_{part}": filters for i, filters in enumerate(FILTERS, 1) for part in LAYERS}
        for i, filters in enumerate(FILTERS, 1):
            for part in LAYERS:
                inputs = channels if part in ("shortcut", "conv1") else filters
                add_conv(self, f"block{i}_{part}", filters, inputs, 1 if part == "shortcut" else 3)
            channels = filters
        add_norms(self, self.channels)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used; see `Backbone`."""
        step = Pass(params, given)
        for i in range(1, len(FILTERS) + 1):
            x = self._block(step, f"block{i}", x)
            if self.training and self.drop_rate:
                x = drop_block(x, self.drop_rate, 1 if i <= 2 else self.drop_block)
        x = x.mean((3, 4)) if self.pooled else x.flatten(2)  # [T, n, D]
        return x / self.divisor, step.used

    def _block(self, step: Pass, name: str, x: Tensor) -> Tensor:
        """Maps [T, n, C, H, W] -> [T, n, F, h, w]. Pooling goes before the last ReLU, which then has a quarter of
        the values."""
        maps = F.leaky_relu(step.conv_norm(f"{name}_conv1", x), SLOPE, inplace=True)
        maps = F.leaky_relu(step.conv_norm(f"{name}_conv2", maps), SLOPE, inplace=True)
        maps = step.conv_norm(f"{name}_conv3", maps) + step.conv_norm(f"{name}_shortcut", x)
        return F.leaky_relu(max_pool(maps, 2, 2), SLOPE, inplace=True)
