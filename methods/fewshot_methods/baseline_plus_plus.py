"""Baseline++ (Chen, Liu, Kira, Wang & Huang 2019, "A closer look at few-shot classification",
https://arxiv.org/abs/1904.04232).

As `baseline`, but the classifier, in training and at test, compares directions. A class scores by the cosine of the features
and the class's weights, so that the features of a class gather around a direction (section 3):

    p(y = k | x) = softmax_k(s g_k cos(f(x), v_k))

The equation leaves out s and g; as in the authors' code (wyharveychen/CloserLookFewShot, backbone.py, distLinear):
- the scale s is 2 for up to 200 classes and 10 for more: 10 where it trains on Omniglot, and 2 in every head at test;
- weights are normalised by torch's weight norm, so each class has a learned length g, which starts as the length of its v;
- features are divided by their length + 1e-5, which guards against a zero vector.

Deviations: as for `baseline`.

Legend: T tasks, n images a task, N classes (ways), D features, R coordinates of `baseline`.
"""

import math

from torch import Tensor, nn

from fewshot_bench import task_uniforms, uniform_weights
from fewshot_methods.baseline import Baseline, Head


class BaselinePlusPlus(Baseline):
    """A cosine head fitted to the support's features."""

    def make_classifier(self, features: int, classes: int) -> nn.Module:
        """A cosine classifier of the training classes."""
        return CosineClassifier(features, classes)

    def head_input(self, features: Tensor) -> Tensor:
        """Features [T, n, D] of unit length."""
        return unit(features)

    def initial_head(self, key: Tensor, ways: int, features: int) -> Head:
        """The heads that the tasks start from, by their keys [T]: uniform weights within 1 / sqrt(D), and their lengths."""
        weight = (2 * task_uniforms(key, (ways, features), "head") - 1) / math.sqrt(features)
        return {"weight": weight, "length": weight.norm(dim=-1)}

    def head_scores(self, head: Head, x: Tensor) -> Tensor:
        """Scores [T, n, N] of inputs [T, n, R]."""
        return cosine_scores(x, head["weight"], head["length"])


class CosineClassifier(nn.Module):
    """Features [B, D] -> scores [B, N], by the directions of weights [N, D] and a length for each class [N]."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(uniform_weights(classes, features))
        self.length = nn.Parameter(self.weight.detach().norm(dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, N] of features [B, D]."""
        return cosine_scores(unit(x), self.weight, self.length)


def unit(features: Tensor) -> Tensor:
    """Features [..., D] of unit length, up to a guard against a zero vector."""
    lengths: Tensor = features.norm(dim=-1, keepdim=True)
    return features / (lengths + 1e-5)


def cosine_scores(x: Tensor, weight: Tensor, length: Tensor) -> Tensor:
    """Scores s g cos(x, v) [..., n, N] of unit inputs x [..., n, D] by weights v [..., N, D] and lengths g [..., N]."""
    scale = 2 if weight.shape[-2] <= 200 else 10
    cosines: Tensor = x @ (weight / weight.norm(dim=-1, keepdim=True)).mT
    return scale * length[..., None, :] * cosines
