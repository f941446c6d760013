"""Conv4 with a linear layer at its end: `conv4-64-fc64`, the Omniglot embedding of TCML and SNAIL (Mishra et al. 2018).

Four blocks as in `conv4-64`, then a linear layer to 64 features, whatever the size of the images.

Legend: T tasks, n images a task, D features.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from fewshot_bench import Parameters, Statistics
from fewshot_methods.backbones.conv4 import Conv4


class Conv4Fc(Conv4):
    """Conv4 and a linear layer, the Omniglot network of TCML and SNAIL."""

    def __init__(self, input_shape: tuple[int, int, int], *, outputs: int, filters: int, scale: bool, eps: float) -> None:
        super().__init__(input_shape, filters=filters, strided=False, scale=scale, eps=eps)
        bound = 1 / math.sqrt(self.features)
        self.fc_weight = nn.Parameter(torch.empty(outputs, self.features).uniform_(-bound, bound))
        self.fc_bias = nn.Parameter(torch.zeros(outputs))
        self.features = outputs

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used; see `Backbone`."""
        maps, used = super().embed(x, params, given)
        return maps @ params["fc_weight"].mT + params["fc_bias"][..., None, :], used


conv4_64_fc64 = partial(Conv4Fc, outputs=64, filters=64, scale=True, eps=1e-5)
