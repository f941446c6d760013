"""Nearest class mean on pixels, where each pixel counts for as much as training tasks showed that it is worth.

    score(q, k) = -sum_p w_p (q_p - c_kp)^2        c_k the mean support image of class k, w_p > 0 learned

Legend: T tasks, S support images, Q query images in all, N ways, D pixels.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Method, MethodInfo, Tasks


@dataclass(frozen=True)
class WeightedPixelsHparams:
    """Hyper-parameters of weighted pixels."""

    initial_weight: float = 0.1  # of every pixel


class WeightedPixels(Method):
    """A diagonal metric on pixels."""

    Hparams = WeightedPixelsHparams
    needs_backbone = False

    def __init__(self, hparams: WeightedPixelsHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        pixels = math.prod(info.input_shape)
        self.log_weight = nn.Parameter(torch.full((pixels,), math.log(hparams.initial_weight)))  # [D]

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T]."""
        return F.cross_entropy(self.predict(tasks).mT, tasks.targets, reduction="none").mean(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the weighted squared distance of each query to each class mean [T, Q, N]."""
        root = (self.log_weight / 2).exp()
        support, query = tasks.support_x.flatten(2) * root, tasks.query_x.flatten(2) * root  # [T, S, D], [T, Q, D]
        members = F.one_hot(tasks.support_y, tasks.ways).to(support.dtype)  # [T, S, N]
        means = members.mT @ support / members.sum(1)[..., None]  # [T, N, D]
        return -torch.cdist(query, means).square()
