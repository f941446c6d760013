"""ANIL, almost no inner loop (Raghu, Raghu, Bengio & Vinyals 2020, https://arxiv.org/abs/1909.09157).

MAML whose inner steps adapt only the head, in training and at test. The outer loop learns the body f:

    w' = w - alpha * grad_w L_support(w, f)        minimise over w and f: sum over tasks of L_query(w', f)

No step changes f, so each image passes it once a task, and the inner steps work on the support's features.

Deviations: those of `maml`, whose inner rate, normalisation and head are used here. The paper uses MAML's settings.

Legend: T tasks, S support images or points, Q queries in all, n of either, N outputs, D features.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fewshot_bench import Parameters, Rates, Statistics, Tasks, linear
from fewshot_methods.maml import Maml


class Anil(Maml):
    """A backbone that no task changes, and a linear head that adapts."""

    modes = Maml.modes - {"support+1", "episode-running"}

    def rates(self, params: Parameters, step: int) -> Rates:
        """One rate for the head, none for the body."""
        return dict.fromkeys(("head_weight", "head_bias"), self.hparams.inner_lr)

    def forward(self, x: Tensor, params: Parameters, given: Statistics | None) -> tuple[Tensor, Statistics]:
        """Outputs [T, n, N] of features x [T, n, D]."""
        return linear(x, params["head_weight"], params["head_bias"]), {}

    def loss(self, tasks: Tasks) -> Tensor:
        """Loss of the adapted head on each task's queries [T]."""
        return super().loss(self.embedded(tasks))

    @torch.no_grad()
    def predict(self, tasks: Tasks) -> Tensor:
        """Outputs [T, Q, N] after the inner steps of the present conditions."""
        return super().predict(self.embedded(tasks))

    @torch.no_grad()
    def predict_steps(self, tasks: Tasks) -> Tensor:
        """Outputs [steps, T, Q, N] after each inner step."""
        return super().predict_steps(self.embedded(tasks))

    def embedded(self, tasks: Tasks) -> Tasks:
        """The tasks with features in place of inputs: support [T, S, D] and queries [T, Q, D]."""
        body, mode = dict(self.network.named_parameters()), self.conditions.normalisation
        support, query, size = tasks.support_x, tasks.query_x, tasks.support_x.shape[1]
        given = self.running.statistics() if mode == "running" else None
        if mode == "joint":
            features, used = self.network.embed(torch.cat([support, query], 1), body)
            support, query = features[:, :size], features[:, size:]
        else:
            support, used = self.network.embed(support, body, given)
            query, used = self.network.embed(query, body, used if mode == "support" else given)
        if self.training:
            self.running.collect(used)
        return replace(tasks, support_x=support, query_x=query)
