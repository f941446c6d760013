"""MAML (Finn, Abbeel & Levine 2017, https://arxiv.org/abs/1703.03400) as learn2learn computes it.

`learn2learn.algorithms.MAML` clones the network, takes the inner steps on the clone, and lets the gradient of the queries'
loss flow back into the original (eq. 1):

    theta' = theta - alpha * grad L_support(theta)        minimise over theta: sum over tasks of L_query(theta')

Deviations from our `maml`: tasks are computed one after another; every parameter adapts, also those of the normalisation;
the network and its initial values are learn2learn's. `l2l_peer` says which images normalise which.
"""

from typing import Any

from torch import nn

from fewshot_methods.l2l_peer import L2lGradientMethod, l2l


class L2lMaml(L2lGradientMethod):
    """learn2learn's MAML."""

    def algorithm(self, network: nn.Module) -> Any:
        """Its MAML, with one rate."""
        return l2l.algorithms.MAML(network, lr=self.hparams.inner_lr)
