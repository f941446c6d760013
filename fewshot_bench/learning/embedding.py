"""The bases of methods that compare embeddings.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Method, MethodInfo
from fewshot_bench.learning.losses import task_losses
from fewshot_bench.learning.normalisation import RunningStatistics, Statistics


class Embedder(Method):
    """A method with a backbone whose embeddings of images do not depend on a task's labels."""

    modes = frozenset({"running", "support", "separate", "joint"})
    default_mode = "joint"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.network = backbone
        self.running = RunningStatistics(backbone.channels)

    def embedded(self, tasks: Tasks) -> tuple[Tensor, Tensor]:
        """Embeddings of a task's support [T, S, D] and queries [T, Q, D]; those that it holds already pass unchanged."""
        support, query = tasks.support_x, tasks.query_x
        return self.embed_task(support, query) if support.dim() > 3 else (support, query)

    def embed_task(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [T, S, D] and [T, Q, D] under the normalisation mode of the present conditions."""
        match self.conditions.normalisation:
            case "running":
                given = self.running.statistics()
                return self._embed(support, given)[0], self._embed(query, given)[0]
            case "joint":
                features, used = self._embed(torch.cat([support, query], 1))  # [T, S+Q, D]
                self._collect(used)
                return features[:, : support.shape[1]], features[:, support.shape[1] :]
            case mode:
                support_f, used = self._embed(support)
                query_f, _ = self._embed(query, used if mode == "support" else None)
                self._collect(used)
                return support_f, query_f

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Embeddings [n, D], under running statistics alone."""
        if self.conditions.normalisation != "running":
            return None
        return self._embed(images[None], self.running.statistics())[0][0]

    def after_update(self) -> None:
        """Let the update's statistics enter the running ones."""
        self.running.commit()

    def _embed(self, x: Tensor, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        return self.network.embed(x, dict(self.network.named_parameters()), given)

    def _collect(self, used: Statistics) -> None:
        if self.training:
            self.running.collect(used)


class EmbeddingMethod(Embedder):
    """A method that embeds images and compares embeddings; a subclass says how (`compare`)."""

    @abstractmethod
    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [T, Q, N] of query embeddings [T, Q, D], given the support's [T, S, D] and labels [T, S]."""

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T]."""
        return task_losses(self.predict(tasks), tasks.targets, tasks.kind)

    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of images or of ready embeddings."""
        support, query = self.embedded(tasks)
        return self.compare(support, tasks.support_y, query, tasks.ways)
