"""T-net (Lee & Choi 2018, https://arxiv.org/abs/1801.05558; code yoonholee/MT-net).

Each layer's linear map W is followed by a learned square matrix T, before the nonlinearity: a 1x1 convolution after a
convolution. Only W takes inner steps. T is learned only in the outer loop, and so shapes the metric in which W steps:

    y = T (W x + b)        W' = W - alpha * dL_support/dW        minimise over W, b, T: sum over tasks of L_query(W', b', T)

The last layer has a T too. T follows W directly, so T W (and T b) is the weight (and bias) of an ordinary layer, and it is
computed so here. T starts from the identity, where T-net is MAML.

Deviations from the authors' code, which is built on cbfinn/maml's and shares what `maml` lists (a sum over ways in the inner
loss, batch statistics, the head from N(0, 1)):
- Its convolutions have biases, which the normalisation after T subtracts again. Here they have none.
- The shift of the normalisation, which comes after T, is meta-learned and not transformed, as in their code.

Legend: T tasks, O outputs of a layer, M values of one output's weight, N outputs of the head.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_bench import Backbone, MethodInfo, Parameters, Statistics, Steps
from fewshot_methods.maml import Maml, MamlHparams


@dataclass(frozen=True)
class TNetHparams(MamlHparams):
    """Hyper-parameters of T-net."""

    test_inner_steps: Steps = 1  # the authors' code reports each of up to 10


class TNet(Maml):
    """MAML on a network in which a matrix, which the inner steps leave alone, follows each linear map."""

    Hparams = TNetHparams

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        weights = [name for name, _ in self.named_parameters() if name.endswith("_weight")]
        self.outputs = {layer_of(name): len(self.get_parameter(name)) for name in weights}  # O of each layer
        self.transform = nn.ParameterDict({layer: torch.eye(size) for layer, size in self.outputs.items()})

    def forward(self, x: Tensor, params: Parameters, given: Statistics | None) -> tuple[Tensor, Statistics]:
        """Outputs [T, n, N] under the transformed weights."""
        return super().forward(x, {name: self.transformed(name, params) for name in params}, given)

    def transformed(self, name: str, params: Parameters) -> Tensor:
        """T W for a layer's weight [O, ...] or T b for its bias [O], each with or without a task axis in front; any other
        parameter unchanged."""
        value, layer = params[name], layer_of(name)
        if layer not in self.outputs:
            return value
        axis = value.dim() - self.get_parameter(name).dim()  # of the outputs: 1 behind a task axis
        columns = value.flatten(axis + 1) if value.dim() > axis + 1 else value[..., None]  # [O, M] or [T, O, M]
        return (params[f"transform.{layer}"] @ columns).view(value.shape)


def layer_of(name: str) -> str:
    """The layer to which a weight or bias belongs; empty for any other parameter."""
    layer, _, what = name.removeprefix("network.").rpartition("_")
    return layer if what in ("weight", "bias") else ""
