"""A method for tests, named by its file: nearest class mean under a linear map of the pixels, trained with dropout.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Method, MethodInfo, Tasks


@dataclass(frozen=True)
class LinearHparams:
    """Hyper-parameters of the linear map."""

    features: int = 16  # D
    dropout: float = 0.5  # of pixels in training, from torch's own random stream


class Linear(Method):
    """The smallest method that learns."""

    Hparams = LinearHparams
    needs_backbone = False

    def __init__(self, hparams: LinearHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.map = nn.Linear(math.prod(info.input_shape), hparams.features)

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T]."""
        return F.cross_entropy(self.predict(tasks).mT, tasks.targets, reduction="none").mean(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the squared distance of each query to each class mean [T, Q, N]."""
        support, query = self._embed(tasks.support_x), self._embed(tasks.query_x)  # [T, S, D], [T, Q, D]
        members = F.one_hot(tasks.support_y, tasks.ways).to(support.dtype)  # [T, S, N]
        means = members.mT @ support / members.sum(1)[..., None]  # [T, N, D]
        return -(query[:, :, None] - means[:, None]).square().sum(-1)

    def _embed(self, images: Tensor) -> Tensor:
        return self.map(F.dropout(images.flatten(2), self.hparams.dropout, self.training))
