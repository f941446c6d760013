"""Meta-SGD (Li, Zhou, Chen & Li 2017, https://arxiv.org/abs/1707.09835) as learn2learn computes it.

`learn2learn.algorithms.MetaSGD` learns a rate for each value of each parameter, together with the initial values:

    theta' = theta - alpha o grad L_support(theta)        minimise over theta and alpha: sum over tasks of L_query(theta')

All rates start from one number (`inner_lr`). Deviations from our `meta-sgd`: tasks are computed one after another; every
parameter adapts, also those of the normalisation; the network and its initial values are learn2learn's. `l2l_peer` says
which images normalise which.
"""

from typing import Any

from torch import nn

from fewshot_methods.l2l_peer import L2lGradientMethod, l2l


class L2lMetaSgd(L2lGradientMethod):
    """learn2learn's Meta-SGD."""

    def algorithm(self, network: nn.Module) -> Any:
        """Its Meta-SGD, with a learned rate for each value."""
        return l2l.algorithms.MetaSGD(network, lr=self.hparams.inner_lr)
