"""The base of methods that train one ordinary classifier of all training classes and answer a task from its features.

Training sees plain batches of images of all training classes; a batch is normalised by its own statistics, which are
gathered for the test. At test the network is frozen and its classifier is not used. A subclass says in `classify` how the
features of a task's support give an answer. It may train with another classifier than a linear one (`make_classifier`), and
see the features that training sees (`observe`).

Legend: B images of a batch, T tasks, S support images, Q query images in all, N ways, D features.
"""

import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.embedding import Embedder


class FeatureMethod(Embedder):
    """A backbone and a classifier of all training classes; a subclass says how its features answer a task (`classify`)."""

    trains_on = "classes"
    modes = frozenset({"running", "joint"})  # a batch in training has no support: its images normalise each other
    default_mode = "joint"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.classifier = self.make_classifier(backbone.features, info.training_classes)

    @abstractmethod
    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """Scores [T, Q, N] of query features [T, Q, D], given the support's [T, S, D], its labels [T, S] and the tasks' keys
        [T] for what is drawn at random."""

    def make_classifier(self, features: int, classes: int) -> nn.Module:
        """What scores the training classes from features [B, D] in training; here a linear layer whose biases start at 0."""
        return LinearClassifier(features, classes)

    def observe(self, features: Tensor) -> None:
        """Called in training with each batch of features [B, D], without their gradient."""

    def batch_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each image [B] of a batch x [B, C, H, W] of training classes y [B]."""
        features, used = self._embed(x[None])  # [1, B, D]
        self._collect(used)
        if self.training:
            self.observe(features[0].detach())
        return F.cross_entropy(self.classifier(features[0]), y, reduction="none")

    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of images or of ready features."""
        support, query = self.embedded(tasks)
        return self.classify(support, tasks.support_y, query, tasks.ways, tasks.key)


class LinearClassifier(nn.Module):
    """Features [B, D] -> scores [B, N], by weights [N, D] that start as those of torch's linear layer, biases [N] at 0."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(uniform_weights(classes, features))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, N] of features [B, D]."""
        return F.linear(x, self.weight, self.bias)


def uniform_weights(classes: int, features: int) -> Tensor:
    """Weights [N, D] uniform within 1 / sqrt(D), the start of torch's linear layer."""
    bound = 1 / math.sqrt(features)
    return torch.empty(classes, features).uniform_(-bound, bound)
