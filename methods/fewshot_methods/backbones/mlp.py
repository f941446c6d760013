"""MLP-40: two hidden layers of 40 ReLU units, the network of the sinusoids (Finn et al. 2017, section 5.1).

Weights start from a truncated normal distribution of deviation 0.01, biases from zero, as in the authors' code
(cbfinn/maml, `construct_fc_weights`); nothing is normalised.

Legend: T tasks, n points a task, D values of a point.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fewshot_bench import Backbone, Parameters, Statistics, linear

HIDDEN = (40, 40)


class Mlp(Backbone):
    """The network of the sinusoids: two hidden layers of 40 units.

    Points of D values -> the 40 activations of the second hidden layer.
    """

    features = HIDDEN[-1]

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(input_shape) != 1:
            raise ValueError("it takes points, not images")
        self.channels = {}
        sizes = pairwise((*input_shape, *HIDDEN))
        self.layers = {f"layer{i}": size for i, size in enumerate(sizes, 1)}
        for name, (inputs, outputs) in self.layers.items():
            weight = nn.init.trunc_normal_(torch.empty(outputs, inputs), std=0.01, a=-0.02, b=0.02)
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(outputs)))

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Points x [T, n, D] -> activations [T, n, 40]; there are no statistics."""
        for name in self.layers:
            x = linear(x, params[f"{name}_weight"], params[f"{name}_bias"]).relu()
        return x, {}
