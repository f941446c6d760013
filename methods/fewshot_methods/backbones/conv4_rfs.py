"""`conv4-rfs`: the small network of Tian et al. 2020 (https://arxiv.org/abs/2003.11539, code WangYueFt/rfs,
models/convnet.py).

Four blocks of 3x3 convolution with 64 filters, normalisation and ReLU; the first three pool 2x2. The mean over the last map
is the embedding, 64 features whatever the size of the images: its map is 4x4 of 32x32 images and 10x10 of 84x84. Weights
start by He's rule (fan-out), eps is 1e-5.

Deviation: the convolutions have no bias, because the normalisation after them subtracts it again.

Legend: T tasks, n images a task, C channels, H x W a map, O filters, h x w a map after pooling.
"""

from torch import Tensor

from fewshot_bench import Backbone, Moments, Parameters, Statistics, conv_block
from fewshot_methods.backbones.residual import EPS, add_conv, add_norms

FILTERS = 64
WINDOWS = {"block1": 2, "block2": 2, "block3": 2, "block4": 1}


class Conv4Rfs(Backbone):
    """Tian et al.'s ConvNet4: Conv4-64 without its last pooling; the mean over the last map is the embedding."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < 8:
            raise ValueError(f"images of {height}x{width} are too small for three poolings")
        self.features = FILTERS
        self.channels = dict.fromkeys(WINDOWS, FILTERS)
        for name in self.channels:
            add_conv(self, name, FILTERS, channels, 3)
            channels = FILTERS
        add_norms(self, self.channels)

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, 64] and the statistics used; see `Backbone`."""
        used: dict[str, Moments] = {}
        for name, window in WINDOWS.items():
            weight, scale, shift = (params[f"{name}_{part}"] for part in ("weight", "scale", "shift"))
            own = given[name] if given is not None else None
            x, used[name] = conv_block(x, weight, scale, shift, own, eps=EPS, window=window)  # [T, n, O, h, w]
        return x.mean((3, 4)), used
