"""MetaOptNet with ridge regression, MetaOptNet-RR (Lee, Maji, Ravichandran & Soatto 2019, https://arxiv.org/abs/1904.03758).

The base learner is a regularised linear classifier found by convex optimisation, here ridge regression; the embedding learns
through its optimum. With K = XX' the kernel of the support's embeddings and y_n the n-th way's column of one-hot labels,
the dual (eq. 11) is one problem for each way, without constraints. The scores have a learned scale gamma (eq. 12), no bias:

    max_a -1/2 a'(K + lambda I)a + 2 y_n'a    so that a_n = 2 (K + lambda I)^-1 y_n,    score_n(x) = gamma f(x) X'a_n

All ways share the matrix, so one solution serves them all; it is twice that of ridge regression. Training uses more shots
than the test, and one embedding serves every number of shots.

What the authors' code (kjunelee/MetaOptNet) does, and what is done here:
- The factor 2 comes from the code; eq. 11 has y_n'a. It makes gamma, which starts at 1, learn faster, so it is kept.
- Their solver (qpth) iterates under a constraint that has no effect; the closed form is its limit.
- They smooth labels: 1 - epsilon for the right way, epsilon / (N - 1) for each other. The code does so by default (0.1), the
  paper only for ResNet-12 on mini-ImageNet. Here it is off by default.
- They normalise all supports of the 8 tasks of an update together, and all their queries together; here each task's own
  images normalise each other (`joint`). Testing uses running statistics, as there.
- Their convolutions start from N(0, 2 / (9 filters)), ours from Xavier's uniform.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from fewshot_bench import Backbone, EmbeddingMethod, MethodInfo, Tasks
from fewshot_methods.ridge import one_hot, ridge


@dataclass(frozen=True)
class MetaOptNetRidgeHparams:
    """Hyper-parameters of MetaOptNet-RR."""

    penalty: PositiveFloat = 50.0  # lambda, the paper's value; it is not learned
    scale: PositiveFloat = 1.0  # initial gamma, the authors' code's value
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # epsilon; the paper with ResNet-12: 0.1


class MetaOptNetRidge(EmbeddingMethod):
    """Ridge regression on embeddings, without a bias."""

    Hparams = MetaOptNetRidgeHparams

    def __init__(self, hparams: MetaOptNetRidgeHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.scale = nn.Parameter(torch.tensor(hparams.scale))

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T], against smoothed labels."""
        scores = self.predict(tasks)  # [T, Q, N]
        return smoothed_cross_entropy(scores, tasks.targets, self.hparams.label_smoothing).mean(1)

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """gamma times twice the prediction of each way's label for each query [T, Q, N]."""
        weights = ridge(support, one_hot(support_y, ways, support), self.hparams.penalty)  # [T, D, N]
        return 2 * self.scale * (query @ weights)


def smoothed_cross_entropy(scores: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Cross-entropy [T, n] of scores [T, n, N] against 1 - epsilon for the label [T, n] and epsilon / (N - 1) elsewhere."""
    logs = F.log_softmax(scores, -1)
    right = logs.gather(-1, labels[..., None])[..., 0]  # [T, n]
    others = (logs.sum(-1) - right) / max(scores.shape[-1] - 1, 1)
    return -(1 - epsilon) * right - epsilon * others
