"""R2-D2, ridge regression differentiable discriminator (Bertinetto, Henriques, Torr & Vedaldi 2019,
https://arxiv.org/abs/1805.08136).

The base learner is ridge regression from embeddings to one-hot labels, solved in closed form (Woodbury's where the support
is smaller than an embedding); the embedding learns through the solution. With X the support's embeddings and a column of
ones, one row for each of its S images, Y their labels and x a query:

    W = X' (XX' + S lambda I)^-1 Y              scores = alpha [f(x), 1] W + beta

What the authors' code (bertinetto/r2d2) does and the paper does not say, and what is done here:
- They divide X and Y by the square root of S, so that lambda is weighed against the mean of the squared errors, not their
  sum. This gives the factor S before lambda. The bias, the column of ones, is penalised with the rest.
- The outer loop may learn lambda beside alpha, but their scripts keep it at 50. Here it is learned (`learn_penalty`), as
  its logarithm so that it stays positive. The recipe `paper` keeps it at 50, as they do.
- beta adds the same to every way's score, which changes neither the answer nor the cross-entropy. Its gradient is zero, so
  it is left out.
- Shots are drawn for each episode from 1 to 9 (`random.sample(range(1, 10))`), and queries fill the episode up to the same
  number of images (240, or 600 on Omniglot). Here the queries are those of the mean episode.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from fewshot_bench import Backbone, EmbeddingMethod, MethodInfo
from fewshot_methods.ridge import one_hot, ridge


@dataclass(frozen=True)
class R2D2Hparams:
    """Hyper-parameters of R2-D2."""

    penalty: PositiveFloat = 50.0  # initial lambda, for each support image
    learn_penalty: bool = True  # whether lambda is learned; false in the authors' scripts
    scale: PositiveFloat = 10.0  # initial alpha; the authors: 10 on Omniglot and CIFAR-FS, 1e-4 on mini-ImageNet


class R2D2(EmbeddingMethod):
    """Ridge regression on embeddings, with a bias."""

    Hparams = R2D2Hparams

    def __init__(self, hparams: R2D2Hparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.scale = nn.Parameter(torch.tensor(hparams.scale))
        if hparams.learn_penalty:
            self.log_penalty = nn.Parameter(torch.tensor(math.log(hparams.penalty)))

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """alpha times the prediction of each way's label for each query [T, Q, N]."""
        support, query = with_ones(support), with_ones(query)  # [T, S, D+1], [T, Q, D+1]
        weights = ridge(support, one_hot(support_y, ways, support), support.shape[1] * self.penalty)  # [T, D+1, N]
        return self.scale * (query @ weights)

    @property
    def penalty(self) -> Tensor | float:
        """lambda, learned or not."""
        return self.log_penalty.exp() if self.hparams.learn_penalty else float(self.hparams.penalty)


def with_ones(x: Tensor) -> Tensor:
    """Embeddings [T, n, D] and a column of ones, for the bias: [T, n, D+1]."""
    return F.pad(x, (0, 1), value=1.0)
