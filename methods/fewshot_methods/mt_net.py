"""MT-net (Lee & Choi 2018, https://arxiv.org/abs/1801.05558; code yoonholee/MT-net).

A T-net whose inner steps change only some of the units. For each task a binary mask over the outputs of each layer is drawn
from learned logits zeta; it multiplies the inner gradient of a unit's weights and bias. M says in which subspace a task
steps, T in which metric:

    M ~ Bernoulli(sigmoid(zeta)), one for each output        W' = W - alpha * M o dL_support/dW

M is drawn once for each task and is the same in all its inner steps, also at test. The gradient by zeta goes straight
through a Gumbel-softmax of temperature 1: the step uses the hard mask, and the derivative is that of the soft one. Logits
start at 0.

Deviations from the authors' code, beside those of `t-net`:
- It draws a Gumbel variable for each of "on" and "off". Here one logistic variable stands for their difference, which has
  the same distribution.
- Its draws come from a global stream. Here a task's draws come from its own key, so that a test can be repeated.

Legend: T tasks, O outputs of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from fewshot_bench import Backbone, InnerLoop, MethodInfo, Parameters, Tasks, task_uniforms
from fewshot_methods.t_net import TNet, TNetHparams, layer_of


@dataclass(frozen=True)
class MtNetHparams(TNetHparams):
    """Hyper-parameters of MT-net."""

    temperature: PositiveFloat = 1.0  # temperature of the Gumbel-softmax


class MtNet(TNet):
    """A T-net in which each task adapts the units that its mask selects."""

    Hparams = MtNetHparams

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.logit = nn.ParameterDict({layer: torch.zeros(size) for layer, size in self.outputs.items()})

    def inner_loop(self, tasks: Tasks, params: Parameters, steps: int, second_order: bool) -> InnerLoop:
        """The loop in which all steps of a task change only the units that it selects. Parameters outside the layers are not
        masked."""
        masks = {layer: self.mask(tasks.key, layer) for layer in self.outputs}

        def masked(grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            return {name: _by_output(masks.get(layer_of(name)), grad) for name, grad in grads.items()}

        return replace(super().inner_loop(tasks, params, steps, second_order), direction=lambda step: masked)

    def mask(self, key: Tensor, layer: str) -> Tensor:
        """1 for the outputs of a layer that tasks of these keys [T] adapt, else 0: [T, O], straight through."""
        logit = self.logit[layer]
        noise = task_uniforms(key, (len(logit),), f"mt-net mask of {layer}").logit()  # a logistic variable
        soft: Tensor = ((logit + noise.to(logit.dtype)) / self.hparams.temperature).sigmoid()
        return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


def _by_output(mask: Tensor | None, grad: Tensor) -> Tensor:
    """Gradients [T, O, ...] times the mask [T, O] of their outputs."""
    return grad if mask is None else grad * mask.view(*mask.shape, *[1] * (grad.dim() - 2))
