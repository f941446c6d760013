"""What a method says of an inner step holds for that step: its rates, what it adapts, how it transforms the gradients.

Legend: T tasks, Q queries in all, N outputs, L layers' parameters that adapt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from plain_loop import Values, assert_equal, error, images_tasks, meta_gradient, scores, small, waves_tasks, without_shift
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone, Parameters
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.gradient import GradientHparams
from fewshot_bench.learning.inner_loop import Direction, InnerLoop, Rates
from fewshot_methods.maml import Maml, MamlHparams

STEPS, ALPHA = 3, 0.3
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])


class PerStepRates(Maml):
    """MAML with a learned rate for each parameter tensor in each step (MAML++, Antoniou, Edwards & Storkey 2019)."""

    def __init__(self, hparams: MamlHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.rate = nn.Parameter(
            torch.full((hparams.inner_steps, len(list(self.adapting()))), hparams.inner_lr)
        )  # [steps, L]

    def rates(self, params: Parameters, step: int) -> Rates:
        """The rates of this step; steps beyond those of training take the last ones."""
        return dict(zip(self.adapting(), params["rate"][min(step, self.hparams.inner_steps) - 1], strict=True))


class HeadFirst(Maml):
    """Adapts the head in its first step, and everything from then on."""

    def rates(self, params: Parameters, step: int) -> Rates:
        """A smaller rate in each step."""
        return {name: ALPHA / step for name in self.adapting() if step > 1 or name.startswith("head_")}


class SignLast(Maml):
    """Takes the sign of each gradient in its third step."""

    def direction(self, tasks: Tasks, step: int) -> Direction:
        """Plain gradient descent before."""
        return (lambda grads: {name: grad.sign() for name, grad in grads.items()}) if step == STEPS else dict


class Momentum(Maml):
    """Adds up the gradients of the steps before, each task its own."""

    def inner_loop(self, tasks: Tasks, params: Parameters, steps: int, second_order: bool) -> InnerLoop:
        """The loop with a sum that lives as long as it does."""
        so_far: dict[str, Tensor] = {}

        def summed(grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            so_far.update({name: so_far.get(name, 0.0) + grad for name, grad in grads.items()})
            return dict(so_far)

        return replace(super().inner_loop(tasks, params, steps, second_order), direction=lambda step: summed)


Moves = Callable[[Values, dict[str, Tensor], int], Mapping[str, Tensor]]
"""All parameters, the gradients of a step by name, its number -> what is subtracted from each that moves."""


def by_hand(method: Maml, tasks: Tasks, moves: Callable[[], Moves], steps: int = STEPS) -> Tensor:
    """The queries' losses [steps, T] after each step, in torch's functions alone, one task after another."""
    params, losses = dict(method.named_parameters()), []
    for task in range(len(tasks)):
        fast, of_task, move = dict(params), [], moves()
        for step in range(1, steps + 1):
            fast = {name: p.view_as(p) for name, p in fast.items()}  # as they stand now
            loss = error(scores(tasks.support_x[task], fast), tasks.support_y[task])
            names = without_shift(params)
            found = torch.autograd.grad(loss, [fast[name] for name in names], create_graph=not method.hparams.first_order)
            fast |= {n: fast[n] - by for n, by in move(params, dict(zip(names, found, strict=True)), step).items()}
            of_task.append(error(scores(tasks.query_x[task], fast), tasks.targets[task]))
        losses.append(torch.stack(of_task))
    return torch.stack(losses, 1)


def per_step_rates() -> Moves:
    """Row `step` of the learned rates."""
    return lambda params, grads, step: {
        name: params["rate"][min(step, STEPS) - 1, i] * grad for i, (name, grad) in enumerate(grads.items())
    }


def head_first() -> Moves:
    """The head in the first step."""
    return lambda params, grads, step: {
        name: ALPHA / step * grad for name, grad in grads.items() if step > 1 or name.startswith("head_")
    }


def sign_last() -> Moves:
    """The sign in the third step."""
    return lambda params, grads, step: {n: ALPHA * (grad.sign() if step == STEPS else grad) for n, grad in grads.items()}


def momentum() -> Moves:
    """The sum of the steps so far."""
    so_far: dict[str, Any] = {}

    def move(params: Values, grads: dict[str, Tensor], step: int) -> Mapping[str, Tensor]:
        for name, grad in grads.items():
            so_far[name] = so_far.get(name, 0.0) + grad
        return {name: ALPHA * total for name, total in so_far.items()}

    return move


METHODS = {PerStepRates: per_step_rates, HeadFirst: head_first, SignLast: sign_last, Momentum: momentum}


@kinds
@orders
@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_each_step_is_taken_as_the_method_says(cls: type[Maml], tasks: Tasks, first_order: bool) -> None:
    """Losses and meta-gradient are those of a loop written by hand; of learned rates, too."""
    method = small(cls, tasks, inner_steps=STEPS, first_order=first_order, inner_lr=ALPHA)
    expected = by_hand(method, tasks, METHODS[cls])[-1]
    torch.testing.assert_close(method.loss(tasks), expected)
    params = dict(method.named_parameters())
    gradient = torch.autograd.grad(expected.mean(), list(params.values()))
    assert_equal(meta_gradient(method, tasks), dict(zip(params, gradient, strict=True)))


@kinds
@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_a_test_may_take_more_steps_than_training(cls: type[Maml], tasks: Tasks) -> None:
    """The answers after each of its steps are those of the loop by hand."""
    method = small(cls, tasks, inner_steps=STEPS, test_inner_steps=5, inner_lr=ALPHA)
    outputs = method.predict_steps(tasks.without_query_labels())  # [steps, T, Q, N]
    found = torch.stack([torch.stack([error(*of) for of in zip(after, tasks.targets, strict=True)]) for after in outputs])
    torch.testing.assert_close(found, by_hand(method, tasks, METHODS[cls], steps=5).detach())
    torch.testing.assert_close(method.predict(tasks.without_query_labels()), outputs[-1])


@dataclass(frozen=True)
class Asked:
    """A call of a hook."""

    hook: str
    step: int


class Watched(Maml):
    """Notes what it is asked."""

    Hparams = GradientHparams
    asked: list[Asked]

    def rates(self, params: Parameters, step: int) -> Rates:
        """MAML's."""
        self.asked.append(Asked("rates", step))
        return dict.fromkeys(self.adapting(), ALPHA)

    def direction(self, tasks: Tasks, step: int) -> Direction:
        """MAML's."""
        self.asked.append(Asked("direction", step))
        return super().direction(tasks, step)

    def batch(self, tasks: Tasks, step: int) -> Tasks:
        """MAML's."""
        self.asked.append(Asked("batch", step))
        return super().batch(tasks, step)


def test_every_hook_hears_the_number_of_the_step() -> None:
    """From 1 on, once a step and chunk of tasks."""
    tasks = images_tasks()
    method = small(Watched, tasks, inner_steps=STEPS)
    method.asked = []
    method.loss(tasks)
    for hook in ("rates", "direction", "batch"):
        assert [one.step for one in method.asked if one.hook == hook] == [1, 2, 3]
