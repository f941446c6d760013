"""Reptile (Nichol, Achiam & Schulman 2018, https://arxiv.org/abs/1803.02999; code openai/supervised-reptile).

Train on a task in the ordinary way, by a few optimiser steps on mini-batches of its images, and move the initialisation
towards the result:

    phi_i = k steps of Adam (beta1 = 0) from theta on mini-batches of task i
    theta <- theta + eps * mean_i(phi_i - theta)

Queries play no part in this. The engine minimises a loss, so `loss` has the gradient theta - phi_i. With plain gradient
descent (`optimiser: sgd`, `lr` = eps, `lr_linear: true` for eps falling to 0) its update is Reptile's. The value of that
loss is the adapted parameters' loss on the task's queries, only for the learning curve. The support of a training task is
what the paper calls its train shots.

As in the authors' code:
- Mini-batches are drawn without replacement. When the support is used up it is reshuffled, and a batch may reach into the
  next shuffle.
- Every parameter adapts, also those of the normalisation. Each pass normalises with its own images.
- The second moment of the inner Adam is kept from task to task in training; a test starts from where training left it.
- A test normalises each query beside the support (`support+1`) or, transductive, the queries by themselves (`separate`).

Deviations:
- Only images: the paper's regression of sine waves, which it shows as a figure, is left out.
- The tasks of an update run side by side, each from the second moment that the last update left. Their gradients add to it
  the mean over the orders in which they could have run one after another. With one task an update nothing differs.
- Only the recipes `paper` and `paper-transductive` have their networks (`backbones/conv4_reptile.py`).
- Shuffles come from a task's own key.

Legend: T tasks, S support images, B images of a mini-batch, Q queries in all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from fewshot_bench import (
    Backbone,
    GradientMethod,
    InnerLoop,
    MethodInfo,
    Parameters,
    Rates,
    Steps,
    Tasks,
    task_losses,
    task_orders,
)
from fewshot_methods.maml import MamlHparams

BETA2, EPS = 0.999, 1e-8  # Adam's own defaults; the authors' TensorFlow adds EPS before the bias correction


@dataclass(frozen=True)
class ReptileHparams(MamlHparams):
    """Hyper-parameters of Reptile; the defaults are the paper's for 5-way Omniglot."""

    inner_lr: PositiveFloat = 0.001  # rate of the inner Adam
    inner_steps: Steps = 5  # in training, each on a mini-batch
    test_inner_steps: Steps = 50
    inner_batch: PositiveInt = 10  # images
    test_inner_batch: PositiveInt = 5  # images
    first_order: Annotated[Literal[True], Field(description="Reptile always treats its inner steps as constants")] = True
    adapt_shift: Annotated[Literal[True], Field(description="In Reptile all parameters adapt")] = True


class Reptile(GradientMethod):
    """An initialisation in the middle of the tasks' results."""

    Hparams = ReptileHparams
    kinds = frozenset({"classification"})
    modes = frozenset({"none", "support", "separate", "support+1"})
    support_order_invariant = False  # the order decides which images share a mini-batch

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.register_buffer("taken", torch.tensor(0))  # inner steps that the second moment has seen
        for name in self.adapting():
            self.register_buffer(_moment(name), torch.zeros_like(self.get_parameter(name)))
        self._gathered: dict[str, Tensor] = {}
        self._tasks = 0

    def rates(self, params: Parameters, step: int) -> Rates:
        """One rate for all."""
        return dict.fromkeys(self.adapting(), self.hparams.inner_lr)

    def inner_loop(self, tasks: Tasks, params: Parameters, steps: int, second_order: bool) -> InnerLoop:
        """The loop of Adam without momentum, going on from the second moment of training."""
        moments = {name: self.get_buffer(_moment(name)) for name in self.adapting()}
        adam = InnerAdam(moments, self.get_buffer("taken"))
        return replace(super().inner_loop(tasks, params, steps, second_order), direction=lambda step: adam)

    def batch(self, tasks: Tasks, step: int) -> Tasks:
        """The mini-batch of inner step 1, 2, ...: the next B places of the task's shuffles, one after another."""
        size = tasks.support_x.shape[1]
        count = self.hparams.inner_batch if self.training else self.hparams.test_inner_batch
        start = (step - 1) * count
        shuffles = range(start // size, (start + count - 1) // size + 1)
        order = torch.cat([task_orders(tasks.key, size, f"reptile shuffle {i}")[:, 0] for i in shuffles], 1)
        places = order[:, start - shuffles.start * size :][:, :count]  # [T, B]
        rows = torch.arange(len(tasks), device=places.device)[:, None]
        return replace(tasks, support_x=tasks.support_x[rows, places], support_y=tasks.support_y[rows, places])

    def loss(self, tasks: Tasks) -> Tensor:
        """Loss of the adapted parameters on each task's queries [T], with the gradient theta - phi."""
        params = dict(self.named_parameters())
        theta = {name: p.detach() for name, p in params.items()}
        loop = self.inner_loop(tasks, theta, self.hparams.inner_steps, second_order=False)
        phi, _ = loop.adapt(tasks, theta)
        with torch.no_grad():
            outputs, _ = loop.query_scores(tasks, phi, None)
        adam = loop.direction(self.hparams.inner_steps)
        if self.training and isinstance(adam, InnerAdam):
            self._gather(adam.moments)
        way = torch.stack([(p * (p - phi[name]).detach()).flatten(1).sum(1) for name, p in params.items()]).sum(0)
        return task_losses(outputs, tasks.targets, tasks.kind) + (way - way.detach())

    def after_update(self) -> None:
        """Let the squared gradients of the update's tasks enter the second moment."""
        if not self._tasks:
            return
        steps = self.hparams.inner_steps
        kept_by_one, kept = BETA2**steps, BETA2 ** (steps * self._tasks)
        for name, gathered in self._gathered.items():
            mean = gathered / (self._tasks * (1 - kept_by_one))
            self.get_buffer(_moment(name)).mul_(kept).add_(mean, alpha=1 - kept)
        self.get_buffer("taken").add_(steps * self._tasks)
        self._gathered, self._tasks = {}, 0

    def _gather(self, moments: Mapping[str, Tensor]) -> None:
        """Collect what some tasks' steps added to their second moments [T, *shape]."""
        kept = BETA2**self.hparams.inner_steps
        for name, moment in moments.items():
            added = (moment - kept * self.get_buffer(_moment(name))).sum(0)
            self._gathered[name] = self._gathered.get(name, torch.zeros_like(added)) + added
        self._tasks += len(next(iter(moments.values())))


class InnerAdam:
    """Adam with beta1 = 0 (Kingma & Ba 2015): gradients over the root of their running mean square."""

    def __init__(self, moments: Mapping[str, Tensor], taken: Tensor) -> None:
        self.moments, self.taken = dict(moments), taken

    @torch.no_grad()
    def __call__(self, grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The directions to step against [T, *shape]."""
        self.taken = self.taken + 1
        directions = {}
        for name, grad in grads.items():
            unbiased = -torch.expm1(self.taken.to(grad.dtype) * math.log(BETA2))  # 1 - beta2^taken without cancellation
            moment = torch.addcmul(BETA2 * self.moments[name], grad, grad, value=1 - BETA2)
            directions[name] = grad / (moment / unbiased).sqrt_().add_(EPS)
            self.moments[name] = moment
        return directions


def _moment(name: str) -> str:  # torch allows no dot in a buffer's name
    return f"moment_{name.replace('.', '_')}"
