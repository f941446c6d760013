"""Prototypical networks (Snell, Swersky & Zemel 2017, https://arxiv.org/abs/1703.05175).

Each class is represented by its prototype, the mean embedding of its support images (eq. 1); a query belongs to each class
with a probability that falls with its distance to the prototype (eq. 2):

    p(y = k | x) = softmax_k(-d(f(x), c_k))        d: squared Euclidean, or cosine (1 - the cosine; their section 3.2)

Deviations: none in the loss. Training normalises support and query of an episode together (`joint`), as the authors' code
does; testing uses running statistics. The backbone sets the initial weights (`backbones/conv4`). Hyper-parameters of
the optimiser are in the recipes.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import EmbeddingMethod


@dataclass(frozen=True)
class PrototypicalHparams:
    """Hyper-parameters of prototypical networks."""

    distance: Literal["euclidean", "cosine"] = "euclidean"  # the Euclidean one is squared


class PrototypicalNetworks(EmbeddingMethod):
    """Nearest prototype in a learned space."""

    Hparams = PrototypicalHparams

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Minus the distance of each query to each prototype [T, Q, N]."""
        means = prototypes(support, support_y, ways)
        if self.hparams.distance == "cosine":
            return F.normalize(query, dim=-1) @ F.normalize(means, dim=-1).mT - 1
        return -squared_distances(query, means)


def prototypes(support: Tensor, support_y: Tensor, ways: int) -> Tensor:
    """Mean embedding of each class: [T, S, D] and labels [T, S] -> [T, N, D] (eq. 1)."""
    members = F.one_hot(support_y, ways).to(support.dtype)  # [T, S, N]
    return members.mT @ support / members.sum(1)[..., None]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances of a [T, Q, D] to b [T, N, D]: [T, Q, N], by ||a||^2 - 2ab + ||b||^2."""
    cross = torch.baddbmm(b.square().sum(-1)[:, None], a, b.mT, alpha=-2)
    return cross + a.square().sum(-1)[..., None]
