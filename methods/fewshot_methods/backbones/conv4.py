"""Conv4, the standard embedding network of few-shot learning: four blocks of 3x3 convolution, batch normalisation and ReLU.

- `conv4-64` (Vinyals et al. 2016; Snell et al. 2017): 64 filters, 2x2 max-pooling after each block, scale and shift,
  eps 1e-5. 28x28 -> 64 features, 84x84 -> 1,600.
- `conv4-64-strided` (Finn et al. 2017, Omniglot; code cbfinn/maml): stride 2 in place of pooling, mean over the last map,
  a shift but no scale, eps 1e-3. 28x28 -> 64 features.
- `conv4-32` (Finn et al. 2017, mini-ImageNet; Ravi & Larochelle 2017, whose learner has a scale too): as conv4-64 with 32
  filters, shift only, eps 1e-3.

Deviations: the convolutions have no bias, because the normalisation after them subtracts it again. For every method
they start by Xavier's rule, as in Finn et al.; the authors of other methods start them differently or do not say.

Legend: T tasks, n images a task, C channels, H x W a map, D features.
"""

from functools import partial

import torch
from torch import Tensor, nn

from fewshot_bench import Backbone, Parameters, Statistics, conv_block


class Conv4(Backbone):
    """Conv4, the standard network: four blocks of convolution, normalisation and ReLU, each halving the image.

    A block has `filters` maps. It halves by `strided` convolution or by max-pooling. Its normalisation has a learned shift
    and, with `scale`, a learned scale.
    """

    def __init__(self, input_shape: tuple[int, int, int], *, filters: int, strided: bool, scale: bool, eps: float) -> None:
        super().__init__()
        self.strided, self.eps = strided, eps
        channels, height, width = input_shape
        self.channels = {f"block{i}": filters for i in range(1, 5)}
        for name in self.channels:
            weight = torch.empty(filters, channels, 3, 3)
            self.register_parameter(f"{name}_weight", nn.Parameter(nn.init.xavier_uniform_(weight)))
            if scale:
                self.register_parameter(f"{name}_scale", nn.Parameter(torch.ones(filters)))
            self.register_parameter(f"{name}_shift", nn.Parameter(torch.zeros(filters)))
            channels = filters
            height, width = ((height + 1) // 2, (width + 1) // 2) if strided else (height // 2, width // 2)
        if height * width == 0:
            raise ValueError(f"images of {input_shape[1]}x{input_shape[2]} are too small for four poolings")
        self.features = filters if strided else filters * height * width

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics used; see `Backbone`."""
        tasks, n = x.shape[:2]
        used: dict[str, tuple[Tensor, Tensor]] = {}
        for name in self.channels:
            x, used[name] = self._block(name, x, params, given[name] if given is not None else None)
        x = x.mean((3, 4)) if self.strided else x.reshape(tasks, n, -1)  # [T, n, D]
        return x, used

    def _block(
        self, name: str, x: Tensor, params: Parameters, given: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return conv_block(
            x,
            params[f"{name}_weight"],
            params.get(f"{name}_scale"),
            params[f"{name}_shift"],
            given,
            eps=self.eps,
            stride=2 if self.strided else 1,
            window=1 if self.strided else 2,
        )


conv4_64 = partial(Conv4, filters=64, strided=False, scale=True, eps=1e-5)
conv4_64_strided = partial(Conv4, filters=64, strided=True, scale=False, eps=1e-3)
conv4_32 = partial(Conv4, filters=32, strided=False, scale=False, eps=1e-3)
