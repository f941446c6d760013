"""ResNet-18 (He et al. 2016, https://arxiv.org/abs/1512.03385) in torchvision's layout, for small images: `resnet18`.

Four stages of two blocks of 64, 128, 256 and 512 filters; the first block of the later three halves the map. The mean over
the last map is the embedding: 512 features.

    Block(x; F) = relu(norm(conv3x3(relu(norm(conv3x3(x))))) + shortcut(x)),   shortcut: x, or norm(conv1x1(x)) where the
                                                                               size or the number of maps changes

Changed for small images: the first convolution is 3x3 with stride 1 in place of 7x7 with stride 2, and the 3x3 max-pooling
with stride 2 after it acts only on images from 84 pixels (84 -> 42 -> 42 -> 21 -> 11 -> 6; 32 -> 32 -> 16 -> 8 -> 4). This
is our choice: papers differ here, and Chen et al. 2019 keep the first layer and scale images to 224 pixels. Weights start
by He's rule (fan-out), scales at 1, shifts at 0, as torchvision's.

Legend: T tasks, n images a task, C channels, H x W a map, h x w after a stride, F filters, D features.
"""

from torch import Tensor

from fewshot_bench import Backbone, Parameters, Statistics
from fewshot_methods.backbones.residual import Pass, add_conv, add_norms, max_pool

STAGES = {"stage1": 64, "stage2": 128, "stage3": 256, "stage4": 512}
BLOCKS = 2
POOLED_FROM = 84
"""The side of images from which the first layer's maps are pooled."""


class ResNet18(Backbone):
    """ResNet-18 for small images: four stages of two residual blocks of 64 to 512 filters; the mean over the last map."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.pools_first = min(height, width) >= POOLED_FROM
        self.features = STAGES["stage4"]
        self.blocks = [f"{stage}_block{i}" for stage in STAGES for i in range(1, BLOCKS + 1)]
        self.strides = {name: 2 if name.endswith("block1") and name != self.blocks[0] else 1 for name in self.blocks}
        self.channels: dict[str, int] = {"stem": STAGES["stage1"]}
        add_conv(self, "stem", STAGES["stage1"], channels, 3)
        channels = STAGES["stage1"]
        for name in self.blocks:
            filters = STAGES[name.partition("_")[0]]
            self._add(f"{name}_conv1", filters, channels, 3)
            self._add(f"{name}_conv2", filters, filters, 3)
            if channels != filters:
                self._add(f"{name}_shortcut", filters, channels, 1)
            channels = filters
        add_norms(self, self.channels)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, 512] and the statistics used; see `Backbone`."""
        step = Pass(params, given)
        x = step.conv_norm_relu("stem", x)
        if self.pools_first:
            x = max_pool(x, 3, 2, padding=1)
        for name in self.blocks:
            x = self._block(step, name, x)
        return x.mean((3, 4)), step.used

    def _block(self, step: Pass, name: str, x: Tensor) -> Tensor:
        """Maps [T, n, C, H, W] -> [T, n, F, h, w]."""
        shortcut, stride = f"{name}_shortcut", self.strides[name]
        maps = step.conv_norm(f"{name}_conv2", step.conv_norm_relu(f"{name}_conv1", x, stride))
        return (maps + (step.conv_norm(shortcut, x, stride) if shortcut in self.channels else x)).relu_()

    def _add(self, name: str, filters: int, channels: int, side: int) -> None:
        add_conv(self, name, filters, channels, side)
        self.channels[name] = filters
