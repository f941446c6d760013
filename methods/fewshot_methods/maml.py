"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017, https://arxiv.org/abs/1703.03400).

Learn an initialisation from which a few steps of gradient descent on a task's support give a good classifier (eq. 1):

    theta' = theta - alpha * grad L_support(theta)        minimise over theta: sum over tasks of L_query(theta')

What the authors' code (cbfinn/maml) does and the paper does not say, and what is done here:
- Their inner loss is a sum over the ways of mean losses, so their inner rate 0.4 is 0.4 * ways here, where every loss is
  a mean: 2.0 for 5-way and 20-way Omniglot (whose rate is 0.1), 0.05 for 5-way mini-ImageNet.
- They normalise with batch statistics, support and query apart, at test too (mode `separate`, transductive). The default
  here is `support`, whose test is inductive; the recipes `transductive` and `paper` are theirs.
- On Omniglot they train on 1,100 characters and draw the rotation of each class of a task. Here each rotation is a class of
  its own, from 1,028 characters, as in Vinyals et al.'s split. This holds for all methods that took over their conditions.
- The shift of the normalisation is meta-learned but does not adapt (`adapt_shift: false`), as in their code.
- Their head starts from N(0, 1). Here it starts from N(0, 0.1^2): after 300 updates on Omniglot, validation gave 0.75
  against 0.59. The recipe `paper` keeps theirs.
"""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import PositiveFloat

from fewshot_bench import GradientHparams, GradientMethod, Parameters, Rates


@dataclass(frozen=True)
class MamlHparams(GradientHparams):
    """Hyper-parameters of MAML."""

    inner_lr: PositiveFloat = 2.0  # inner rate on a mean loss: the paper's 0.4 on a sum over 5 ways


class Maml(GradientMethod):
    """A backbone and a linear head, adapted together at one rate."""

    Hparams: ClassVar[type] = MamlHparams

    def rates(self, params: Parameters, step: int) -> Rates:
        """One rate for all (eq. 1)."""
        return dict.fromkeys(self.adapting(), self.hparams.inner_lr)
