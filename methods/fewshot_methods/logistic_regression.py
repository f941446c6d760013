"""Logistic regression on frozen features (Tian, Wang, Krishnan, Tenenbaum & Isola 2020, https://arxiv.org/abs/2003.11539).

"A good embedding is all you need": a network is trained to classify all training classes together. For each task
scikit-learn's multinomial logistic regression is fitted to the support's features, scaled to unit length:

    argmin over theta, b: sum over the support of cross-entropy(theta f(x)/||f(x)|| + b, y) + ||theta||^2 / (2 C),   C = 1

Deviations from the authors' simple model (without distillation; code WangYueFt/rfs):
- Their features are the mean over the last map, which `conv4-rfs` and `resnet12` give; here they are any backbone's.
- Their support has five augmented copies of each image. Here each image is used once, as it is.
- They augment training images; here the recipes `paper`, `rfs` and `rfs-resnet12` do.

The fit is scikit-learn's own, task by task in float64, as the paper and its readers use it.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sklearn
import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from fewshot_bench import FeatureMethod, Steps

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogisticRegressionHparams:
    """Hyper-parameters of logistic regression."""

    inverse_penalty: PositiveFloat = 1.0  # scikit-learn's C, the inverse of the L2 penalty
    max_iterations: Steps = 1000  # iterations of L-BFGS


class LogisticRegression(FeatureMethod):
    """scikit-learn's logistic regression, fitted to the support's features of unit length."""

    Hparams = LogisticRegressionHparams

    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """The regression's linear scores [T, Q, N]."""
        x, q = (F.normalize(features.double(), dim=-1).cpu().numpy() for features in (support, query))
        # for so few images threads cost ten times as much as the fit
        with threadpool_limits(1, "blas"), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            scores = [self.fitted(*task) for task in zip(x, support_y.cpu().numpy(), q, strict=True)]
        return torch.from_numpy(np.stack(scores)).to(query)

    def fitted(self, x: Floats, y: npt.NDArray[np.int64], query: Floats) -> Floats:
        """Scores [Q, N] of one task's queries [Q, D] by a regression fitted to its support [S, D] and labels [S]."""
        # With two ways scikit-learn fits one vector, the difference of the two. At their best these are w and -w, whose
        # penalty is half that of their difference 2w.
        strength = self.hparams.inverse_penalty * (2 if y.max() == 1 else 1)
        model = SklearnLogisticRegression(C=strength, max_iter=self.hparams.max_iterations).fit(x, y)
        scores: Floats = model.decision_function(query)
        return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], 1)
