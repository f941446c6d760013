"""The inner loop serves MAML, ANIL, Meta-SGD and MT-net alike: each equals a plain loop over tasks in torch.

Legend: T tasks, S support images, Q query images, D values of an image, H hidden values, N ways.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.inner_loop import InnerLoop, steepest
from fewshot_bench.learning.layers import linear
from fewshot_bench.learning.normalisation import Statistics

T, S, Q, D, H, N = 3, 6, 4, 5, 7, 3
STEPS = 3
Gradients = Mapping[str, Tensor]


def random(*shape: int) -> Tensor:
    """Reproducible by the fixture below."""
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tasks(_seeded: None) -> Tasks:
    """T tasks of vectors."""
    labels = torch.arange(S).repeat(T, 1) % N, torch.arange(Q).repeat(T, 1) % N
    return Tasks(random(T, S, D), labels[0], random(T, Q, D), labels[1], N, torch.arange(T))


@pytest.fixture
def params(tasks: Tasks) -> dict[str, Tensor]:
    """A network of one hidden layer, a rate for each value of it, and a transformation of the hidden values."""
    shapes = {"body": (H, D), "body_bias": (H,), "head": (N, H), "head_bias": (N,)}
    values = {name: random(*shape) for name, shape in shapes.items()}
    values |= {f"rate_{name}": torch.rand(*shape, dtype=torch.float64) for name, shape in shapes.items()}
    values["transform"], values["no_bias"] = random(H, H), torch.zeros(H, dtype=torch.float64)
    return {name: value.requires_grad_() for name, value in values.items()}


def network(x: Tensor, params: Mapping[str, Tensor], given: Statistics | None) -> tuple[Tensor, Statistics]:
    """Scores [T, n, N] of x [T, n, D]; MT-net's transformation stands behind the first layer."""
    hidden = linear(linear(x, params["body"], params["body_bias"]), params["transform"], params["no_bias"]).tanh()
    return linear(hidden, params["head"], params["head_bias"]), {}


def plain_scores(x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """The same of one task, x [n, D], without a line of ours."""
    hidden = torch.tanh((x @ params["body"].T + params["body_bias"]) @ params["transform"].T)
    return hidden @ params["head"].T + params["head_bias"]


NAMES = ("body", "body_bias", "head", "head_bias")
MASK = {name: torch.tensor(i % 2 == 0) for i, name in enumerate(NAMES)}


def masked(grads: Gradients) -> Gradients:
    """MT-net's mask, fixed: what it does not select stays."""
    return {name: grad * MASK[name] for name, grad in grads.items()}


def maml(params: Mapping[str, Tensor]) -> dict[str, Any]:
    """One rate for everything."""
    return {"rates": dict.fromkeys(NAMES, 0.3)}


def anil(params: Mapping[str, Tensor]) -> dict[str, Any]:
    """The head alone (Raghu et al. 2020)."""
    return {"rates": {"head": 0.3, "head_bias": 0.3}}


def meta_sgd(params: Mapping[str, Tensor]) -> dict[str, Any]:
    """A learned rate for each value (Li et al. 2017)."""
    return {"rates": {name: params[f"rate_{name}"] for name in NAMES}}


def mt_net(params: Mapping[str, Tensor]) -> dict[str, Any]:
    """A mask on the gradients; `transform` is learned and does not adapt (Lee & Choi 2018)."""
    return {"rates": dict.fromkeys(NAMES, 0.3), "direction": masked}


METHODS = [maml, anil, meta_sgd, mt_net]
methods = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def loop_of(method: Callable[..., dict[str, Any]], params: Mapping[str, Tensor], second_order: bool = True) -> InnerLoop:
    """The inner loop of a method."""
    given = method(params)
    direction = given.get("direction", steepest)
    return InnerLoop(network, "separate", {}, [given["rates"]] * STEPS, second_order, lambda step: direction)


def plain_trajectory(
    method: Callable[..., dict[str, Any]], tasks: Tasks, params: dict[str, Tensor], task: int, second_order: bool
) -> list[Tensor]:
    """Scores [Q, N] of one task's queries after each step, by a plain loop."""
    given, fast, scores = method(params), dict(params), []
    for _ in range(STEPS):
        loss = F.cross_entropy(plain_scores(tasks.support_x[task], fast), tasks.support_y[task])
        found = torch.autograd.grad(loss, [fast[name] for name in given["rates"]], create_graph=second_order)
        grads = given.get("direction", dict)(dict(zip(given["rates"], found, strict=True)))
        fast |= {name: fast[name] - rate * grads[name] for name, rate in given["rates"].items()}
        scores.append(plain_scores(tasks.query_x[task], fast))
    return scores


@methods
@pytest.mark.parametrize("second_order", [True, False])
def test_a_method_on_the_inner_loop_equals_a_plain_loop(
    method: Callable[..., dict[str, Any]], second_order: bool, tasks: Tasks, params: dict[str, Tensor]
) -> None:
    """Scores after every step, and the meta-gradient of their sum by every parameter, learned rates included."""
    ours = loop_of(method, params, second_order).scores_by_step(tasks, params)  # [steps, T, Q, N]
    plain = torch.stack([torch.stack(plain_trajectory(method, tasks, params, task, second_order)) for task in range(T)], 1)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)
    every = list(params.values())
    weights = random(*ours.shape)
    mine, theirs = (torch.autograd.grad((s * weights).sum(), every, allow_unused=True) for s in (ours, plain))
    for name, a, b in zip(params, mine, theirs, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10, msg=name)


@methods
def test_the_last_of_the_steps_is_what_adapt_gives(
    method: Callable[..., dict[str, Any]], tasks: Tasks, params: dict[str, Tensor]
) -> None:
    """`scores_by_step` and `adapt` walk the same way."""
    loop = loop_of(method, params)
    last = loop.query_scores(tasks, *loop.adapt(tasks, params))[0]
    torch.testing.assert_close(loop.scores_by_step(tasks, params)[-1], last, rtol=0, atol=0)


def test_what_has_no_rate_does_not_adapt(tasks: Tasks, params: dict[str, Tensor]) -> None:
    """ANIL's body is the very tensor that was given."""
    fast, _ = loop_of(anil, params).adapt(tasks, params)
    assert fast["body"] is params["body"]
    assert fast["head"].shape == (T, N, H)


def test_scores_by_step_need_no_gradient_around_them(tasks: Tasks, params: dict[str, Tensor]) -> None:
    """As in a test: the inner steps make their own, and the caller's mode is left as it was."""
    detached = {name: value.detach() for name, value in params.items()}
    with torch.no_grad():
        scores = loop_of(maml, detached, second_order=False).scores_by_step(tasks, detached)
        assert not torch.is_grad_enabled()
    expected = loop_of(maml, params, second_order=False).scores_by_step(tasks, params)
    torch.testing.assert_close(scores, expected.detach(), rtol=0, atol=0)
