"""Meta-SGD (Li, Zhou, Chen & Li 2017, https://arxiv.org/abs/1707.09835).

Learn the initialisation together with a rate alpha for each of its values; a rate may become negative, so that direction and
length of the one inner step are learned (eq. 2 and 3; o is the elementwise product):

    theta' = theta - alpha o grad L_support(theta)        minimise over theta and alpha: sum over tasks of L_query(theta')

There is no code by the authors. Deviations and choices:
- The rates start from U(`rate_low`, `rate_high`). The range 0.005 to 0.1 is said to be the paper's, which we could not
  verify. Whether the paper's inner loss is a sum or a mean over the support is unknown. Here every loss is a mean; a recipe
  that scales the range says so.
- Normalisation is `support`, whose test is inductive; the recipes `paper` use `separate`, as the code of the MAML that the
  paper compares with. The shift of the normalisation is meta-learned but does not adapt and has no rates
  (`adapt_shift: false`).
- The paper's Omniglot network has another fully connected layer of 32 units; here the head follows the convolutions.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fewshot_bench import Backbone, GradientHparams, GradientMethod, MethodInfo, Parameters, Rates, Steps


@dataclass(frozen=True)
class MetaSgdHparams(GradientHparams):
    """Hyper-parameters of Meta-SGD."""

    test_inner_steps: Steps = 1  # as in training
    rate_low: float = 0.005  # lower end of the uniform distribution from which the rates start
    rate_high: float = 0.1  # its upper end

    def __post_init__(self) -> None:
        if self.rate_low > self.rate_high:
            raise ValueError(f"rate_low must not be above rate_high, got {self.rate_low} and {self.rate_high}.")


class MetaSgd(GradientMethod):
    """A backbone, a linear head, and a learned rate for each of their values."""

    Hparams = MetaSgdHparams

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        adapting = {name: self.get_parameter(name) for name in self.adapting()}
        bounds = hparams.rate_low, hparams.rate_high
        self.rate = nn.ParameterDict({_key(name): torch.empty_like(p).uniform_(*bounds) for name, p in adapting.items()})

    def rates(self, params: Parameters, step: int) -> Rates:
        """Each parameter's learned rates, of its own shape (eq. 2)."""
        return {name: params[f"rate.{_key(name)}"] for name in self.adapting()}


def _key(name: str) -> str:  # torch allows no dot in a key
    return name.replace(".", "_")
