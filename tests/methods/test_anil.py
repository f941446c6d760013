"""ANIL is MAML whose head alone adapts, at the cost of one pass through the body.

Legend: T tasks, N ways.
"""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from plain_loop import (
    Q,
    T,
    assert_equal,
    assert_slopes,
    features,
    images_tasks,
    meta_gradient,
    plain_gradient,
    plain_losses,
    small,
    waves_tasks,
)
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.inner_loop import Rates
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods.anil import Anil
from fewshot_methods.backbones.conv4 import conv4_64_strided
from fewshot_methods.maml import Maml, MamlHparams

ALPHA = 0.3
HEAD = ["head_weight", "head_bias"]
MODES: list[Normalisation] = sorted(Anil.modes - {"none"})
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])
modes = pytest.mark.parametrize("mode", MODES)


class SlowAnil(Maml):
    """The same by MAML's means: every inner step embeds the support anew."""

    def rates(self, params: Parameters, step: int) -> Rates:
        """One rate for the head, none for the body."""
        return dict.fromkeys(HEAD, self.hparams.inner_lr)


@kinds
@orders
@inner_steps
def test_losses_and_meta_gradient_are_those_of_a_plain_loop(tasks: Tasks, steps: int, first_order: bool) -> None:
    """Of a loop over tasks that embeds the support at every step and updates the head."""
    method = small(Anil, tasks, inner_lr=ALPHA, inner_steps=steps, first_order=first_order)
    params = dict(method.named_parameters())
    losses = plain_losses(params, tasks, steps, HEAD, lambda name, grad, task: ALPHA * grad, first_order)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), plain_gradient(losses, params))


@modes
@orders
@pytest.mark.parametrize("strided", [False, True], ids=["pooled with scale", "strided"])
def test_in_every_mode_it_is_mamls_inner_loop_over_the_head(mode: Normalisation, first_order: bool, strided: bool) -> None:
    """Losses, meta-gradient, scores and running statistics equal those with the body passed at every step."""
    tasks = images_tasks()
    given = {"strided": strided, "inner_lr": ALPHA, "inner_steps": 3, "test_inner_steps": 2, "first_order": first_order}
    fast, slow = (small(method, tasks, mode, **given) for method in (Anil, SlowAnil))
    torch.testing.assert_close(fast.loss(tasks), slow.loss(tasks))
    torch.testing.assert_close(meta_gradient(fast, tasks), meta_gradient(slow, tasks), rtol=1e-8, atol=1e-10)
    shown = tasks.without_query_labels()
    torch.testing.assert_close(fast.eval().predict(shown), slow.eval().predict(shown))
    torch.testing.assert_close(fast.predict_steps(shown), slow.predict_steps(shown))
    fast.after_update()
    slow.after_update()
    for name, value in fast.running.state_dict().items():
        torch.testing.assert_close(value, slow.running.state_dict()[name])


@pytest.mark.parametrize("steps", [1, 10])
def test_an_image_passes_the_body_once_however_many_steps(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training and at test: as many images as there are, each once a task."""
    tasks, passed = images_tasks(), list[int]()
    method = small(Anil, tasks, "support", inner_steps=steps, test_inner_steps=steps)
    embed = method.network.embed

    def counted(x: Tensor, *rest: Any) -> Any:
        passed.append(x.shape[1])
        return embed(x, *rest)

    monkeypatch.setattr(method.network, "embed", counted)
    method.loss(tasks).sum().backward()
    method.eval().predict(tasks.without_query_labels())
    images = tasks.support_x.shape[1] + Q
    assert sum(passed) == 2 * images


def test_no_inner_step_changes_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapted, the body's are the very parameters; the head is each task's own."""
    tasks = images_tasks()
    method = small(Anil, tasks, inner_steps=3)
    params = dict(method.named_parameters())
    fast, _ = method.inner_loop(tasks, params, 3, second_order=True).adapt(method.embedded(tasks), params)
    for name, parameter in params.items():
        assert (fast[name] is parameter) == (name not in HEAD)
    assert all(fast[name].shape[0] == T for name in HEAD)


@orders
@inner_steps
def test_losses_and_meta_gradient_are_those_of_learn2learn(l2l: ModuleType, steps: int, first_order: bool) -> None:
    """As its example of ANIL does: its MAML wrapped around the head alone, on features."""
    tasks = images_tasks()
    method = small(Anil, tasks, inner_lr=ALPHA, inner_steps=steps, first_order=first_order)
    params = dict(method.named_parameters())
    head = nn.Linear(method.network.features, tasks.ways).double()
    head.weight.data, head.bias.data = (params[name].detach().clone() for name in HEAD)
    peer, losses = l2l.algorithms.MAML(head, lr=ALPHA, first_order=first_order), []
    for task in range(T):
        learner, support = peer.clone(), features(tasks.support_x[task], params)
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(support), tasks.support_y[task]))
        losses.append(F.cross_entropy(learner(features(tasks.query_x[task], params)), tasks.targets[task]))
    torch.testing.assert_close(method.loss(tasks), torch.stack(losses))
    ours = meta_gradient(method, tasks)
    torch.stack(losses).mean().backward()
    theirs = {name: p.grad for name, p in params.items() if p.grad is not None}
    assert head.weight.grad is not None and head.bias.grad is not None
    assert_equal(ours, {**theirs, "head_weight": head.weight.grad, "head_bias": head.bias.grad})


@pytest.mark.parametrize("mode", ["support", "separate", "joint"])
def test_the_meta_gradient_is_that_of_finite_differences(mode: Normalisation) -> None:
    """In every training mode."""
    assert_slopes(small(Anil, images_tasks(), mode, inner_lr=ALPHA, inner_steps=2), images_tasks())


@modes
def test_queries_see_each_other_in_transductive_modes_alone(mode: Normalisation) -> None:
    """Another last query changes the others' scores there alone."""
    shown = images_tasks().without_query_labels()
    method = small(Anil, images_tasks(), mode).eval()
    other = replace(shown, query_x=torch.cat([shown.query_x[:, :-1], 1 - shown.query_x[:, -1:]], 1))
    before, after = (method.predict(tasks)[:, : Q - 1] for tasks in (shown, other))
    assert torch.allclose(before, after, rtol=1e-10, atol=1e-10) == (mode not in TRANSDUCTIVE_MODES)


def test_a_test_leaves_the_method_untouched() -> None:
    """Scores need no gradient, and neither parameters nor running statistics change."""
    tasks = images_tasks().without_query_labels()
    method = small(Anil, images_tasks(), "support").eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert not method.predict(tasks).requires_grad
    method.after_update()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_the_number_of_parameters_is_mamls() -> None:
    """Four layers of 64 filters with a shift and a head of 5 outputs, for Omniglot."""
    method = Anil(MamlHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 10), conv4_64_strided((1, 28, 28)))
    assert sum(p.numel() for p in method.parameters()) == 64 * 9 + 3 * 64 * 64 * 9 + 4 * 64 + 5 * 64 + 5
