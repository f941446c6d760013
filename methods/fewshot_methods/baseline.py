"""Baseline (Chen, Liu, Kira, Wang & Huang 2019, "A closer look at few-shot classification",
https://arxiv.org/abs/1904.04232).

Ordinary transfer: a network is trained with a linear classifier of all training classes. For each task the network is frozen
and a new linear head is fitted to the support's features, by gradient descent on the cross-entropy (section 3):

    p(y = k | x) = softmax_k(W f(x) + b)

As in the authors' code (wyharveychen/CloserLookFewShot, methods/baselinefinetune.py) the head starts as torch's linear layer
does and sees the support 100 times, in shuffled mini-batches of 4, under SGD at 0.01 with momentum 0.9, dampening 0.9 and
weight decay 1e-3. The paper says 100 iterations. So its answer depends on the order of the support and, through the initial
weights, on the order of the ways.

Deviations: the draws come from each task's key. The heads of all tasks are fitted at once, in coordinates of the space that
the support and the initial weights span; the steps are the same there (`spanned`). The authors augment mini-ImageNet's
training images; here only the recipe `paper` does, and it crops the prepared images, not whole photographs. Their
convolutions start from N(0, 2 / (9 * 64)), ours by Xavier's rule.

Legend: T tasks, S support images, Q query images in all, b images of a mini-batch, N ways, D features, R <= D coordinates.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from fewshot_bench import FeatureMethod, Steps, linear, task_losses, task_orders, task_uniforms

Head = Mapping[str, Tensor]
"""The parameters of each task's head, each [T, ...]; `weight` [T, N, D] has the features' axes."""


@dataclass(frozen=True)
class BaselineHparams:
    """Hyper-parameters of the head's fit at test; the defaults are the authors'."""

    epochs: Steps = 100  # passes over the support
    mini_batch: PositiveInt = 4  # images
    head_lr: PositiveFloat = 0.01  # learning rate of SGD on the head
    head_momentum: float = 0.9  # momentum of that SGD
    head_dampening: float = 0.9  # dampening of the momentum
    head_weight_decay: float = 0.001  # L2 penalty on the head


class Baseline(FeatureMethod):
    """A linear head fitted to the support's features."""

    Hparams = BaselineHparams
    way_equivariant = False  # the head's initial weights differ from way to way
    support_order_invariant = False  # shuffling into mini-batches depends on the order

    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """Scores [T, Q, N] of the fitted heads."""
        x, q = self.head_input(support), self.head_input(query)
        start = {name: draw.to(x) for name, draw in self.initial_head(key, ways, x.shape[-1]).items()}
        basis = spanned(x, start["weight"])  # [T, D, R]
        head = self.fit(start | {"weight": start["weight"] @ basis}, x @ basis, support_y, key)
        return self.head_scores(head, q @ basis)

    def head_input(self, features: Tensor) -> Tensor:
        """What the head sees of features [T, n, D]."""
        return features

    def initial_head(self, key: Tensor, ways: int, features: int) -> Head:
        """The heads that the tasks start from, by their keys [T]: torch's linear layer, uniform within 1 / sqrt(D)."""
        draws = (2 * task_uniforms(key, (ways, features + 1), "head") - 1) / math.sqrt(features)
        return {"weight": draws[..., :-1], "bias": draws[..., -1]}

    def head_scores(self, head: Head, x: Tensor) -> Tensor:
        """Scores [T, n, N] of inputs [T, n, R]."""
        return linear(x, head["weight"], head["bias"])

    def fit(self, head: Head, x: Tensor, y: Tensor, key: Tensor) -> Head:
        """The heads after so many epochs over the support's inputs [T, S, R] and labels [T, S]."""
        hparams, velocity = self.hparams, dict[str, Tensor]()
        orders = task_orders(key, x.shape[1], "mini-batches", hparams.epochs)  # [T, epochs, S]
        for order in orders.unbind(1):
            for places in order.split(hparams.mini_batch, 1):  # [T, b]
                grads = self.gradients(head, torch.take_along_dim(x, places[..., None], 1), y.gather(1, places))
                grads = {name: grad + hparams.head_weight_decay * head[name] for name, grad in grads.items()}
                fresh = 1 - hparams.head_dampening if velocity else 1  # as torch's SGD: the first gradient counts in full
                velocity = {
                    name: hparams.head_momentum * velocity.get(name, 0) + fresh * grad for name, grad in grads.items()
                }
                head = {name: value - hparams.head_lr * velocity[name] for name, value in head.items()}
        return head

    @torch.enable_grad()
    def gradients(self, head: Head, x: Tensor, y: Tensor) -> Head:
        """Gradients of each task's mean cross-entropy over a mini-batch [T, b, R] by its head."""
        leaves = {name: value.detach().requires_grad_() for name, value in head.items()}
        loss = task_losses(self.head_scores(leaves, x.detach()), y, "classification")  # [T]
        return dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))


def spanned(x: Tensor, weight: Tensor) -> Tensor:
    """An orthonormal basis [T, D, R] of a space that holds each task's support [T, S, D] and weights [T, N, D].

    Gradient descent never leaves it, and takes the same steps in its coordinates, which are fewer than the features.
    """
    basis: Tensor = torch.linalg.qr(torch.cat([x, weight], 1).mT).Q
    return basis
