"""Prototypical networks (Snell, Swersky & Zemel 2017, https://arxiv.org/abs/1703.05175) as learn2learn computes them.

`learn2learn.nn.PrototypicalClassifier` on the features of its `CNN4Backbone`: a class is the mean of its support (eq. 1), a
query belongs to each class with a probability that falls with the squared Euclidean distance to it (eq. 2):

    p(y = k | x) = softmax_k(-||f(x) - c_k||^2)

Normalisation as in its example protonet_miniimagenet.py: support and query together in training (`joint`), where torch's
layers gather running statistics (momentum 0.1, an unbiased variance, after each task), which normalise at test (`running`).
A transductive test under `joint` moves none of them.

Deviations from our `prototypical-networks`: tasks are computed one after another; convolutions have biases; the initial
values are learn2learn's.

Legend: T tasks, S support images, Q query images in all, n images, N ways, D features.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor

from fewshot_bench import Backbone, Method, MethodInfo, Tasks, task_losses
from fewshot_methods.l2l_peer import l2l, normalised_by_first


@dataclass(frozen=True)
class L2lPrototypicalHparams:
    """Hyper-parameters of learn2learn's prototypical networks."""

    hidden_size: PositiveInt = 64  # filters of each layer


class L2lPrototypicalNetworks(Method):
    """learn2learn's prototypical networks."""

    Hparams = L2lPrototypicalHparams
    needs_backbone = False
    modes = frozenset({"joint", "running"})
    default_mode = "joint"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone | None) -> None:
        super().__init__(hparams, info, backbone)
        self.network: Any = l2l.vision.models.CNN4Backbone(hparams.hidden_size, channels=info.input_shape[0])

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T]."""
        return task_losses(self.predict(tasks), tasks.targets, tasks.kind)

    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of images or of ready embeddings."""
        parts = zip(tasks.support_x, tasks.support_y, tasks.query_x, strict=True)
        return torch.stack([self._scores(*of_task) for of_task in parts])

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Embeddings [n, D], under running statistics alone."""
        return self._embed(images) if self.conditions.normalisation == "running" else None

    def _scores(self, support: Tensor, support_y: Tensor, query: Tensor) -> Tensor:
        """Scores [Q, N] of one task."""
        if support.dim() > 2:
            features = self._embed(torch.cat([support, query]))  # [S+Q, D]
            support, query = features[: len(support)], features[len(support) :]
        scores: Tensor = l2l.nn.PrototypicalClassifier(support, support_y)(query)
        return scores

    def _embed(self, images: Tensor) -> Tensor:
        """Features [n, D] of images [n, C, H, W], normalised by each other or by running statistics."""
        joint = self.conditions.normalisation == "joint"
        self.network.train(joint and self.training)
        hooked = normalised_by_first(self.network, len(images)) if joint and not self.training else nullcontext()
        with hooked:
            features: Tensor = self.network(images)
        return features
