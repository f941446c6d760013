"""Adam and SGD against torch's own classes; the schedule of the rate."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench.runs.optimisers import Adam, Optimiser, Sgd, learning_rate
from fewshot_bench.specs import TrainSpec


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    """A matrix, a vector, and one that never has a gradient."""
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=random, dtype=dtype)) for shape in ((3, 4), (5,), (2,))]


def loss(used: list[nn.Parameter]) -> Tensor:
    """Something with gradients of many sizes; the last parameter has no part in it."""
    return used[0].exp().sum() + (used[1] ** 3).sum()


def step(used: list[nn.Parameter], optimiser: Optimiser | torch.optim.Optimizer) -> None:
    """One update."""
    for parameter in used:
        parameter.grad = None
    loss(used).backward()
    optimiser.step()


PAIRS: dict[str, tuple[Any, Any]] = {
    "adam": (lambda used: Adam(used, 0.01), lambda used: torch.optim.Adam(used, lr=0.01)),
    "adam with decay": (lambda used: Adam(used, 0.01, 0.1), lambda used: torch.optim.Adam(used, lr=0.01, weight_decay=0.1)),
    "sgd": (lambda used: Sgd(used, 0.01), lambda used: torch.optim.SGD(used, lr=0.01)),
    "nesterov": (
        lambda used: Sgd(used, 0.01, 5e-4, momentum=0.9, nesterov=True),
        lambda used: torch.optim.SGD(used, lr=0.01, weight_decay=5e-4, momentum=0.9, nesterov=True),
    ),
    "momentum": (
        lambda used: Sgd(used, 0.01, momentum=0.9),
        lambda used: torch.optim.SGD(used, lr=0.01, momentum=0.9),
    ),
}
"""Ours and torch's."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_each_update_is_bit_for_bit_torchs(name: str, dtype: torch.dtype) -> None:
    """Under a changing rate, with a parameter that has no gradient."""
    ours, theirs = parameters(dtype), parameters(dtype)
    optimiser, reference = PAIRS[name][0](ours), PAIRS[name][1](theirs)
    for update in range(20):
        optimiser.lr = reference.param_groups[0]["lr"] = 0.01 * 0.5 ** (update // 8)
        step(ours, optimiser)
        step(theirs, reference)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("make", [PAIRS[name][0] for name in ("adam", "nesterov")])
def test_one_with_its_state_put_back_goes_on_alike(make: Callable[[list[nn.Parameter]], Optimiser]) -> None:
    """From a copy of the parameters and of the state."""
    first = parameters(torch.float32)
    optimiser = make(first)
    for _ in range(3):
        step(first, optimiser)
    second = [nn.Parameter(parameter.detach().clone()) for parameter in first]
    again = make(second)
    again.restore({name: tensor.clone() for name, tensor in optimiser.tensors().items()})
    step(first, optimiser)
    step(second, again)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def rates(updates: int, **schedule: Any) -> list[float]:
    """The rate of each update of a training from 0.1."""
    spec = TrainSpec.model_construct(updates=updates, lr=0.1, **schedule)
    return [learning_rate(spec, update) for update in range(updates)]


def test_the_rate_follows_its_schedule() -> None:
    """Halved, in steps, linear to 0 after the last update, or constant."""
    assert rates(5) == [0.1] * 5
    assert rates(5, lr_halve_every=2) == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert rates(5, lr_steps=((1, 0.03), (4, 0.01))) == [0.1, 0.03, 0.03, 0.03, 0.01]
    assert rates(4, lr_linear=True) == pytest.approx([0.1, 0.075, 0.05, 0.025])
