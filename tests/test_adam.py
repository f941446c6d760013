"""Adam against torch's own class."""

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench.adam import Adam


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    """A matrix, a vector, and one that never has a gradient."""
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=random, dtype=dtype)) for shape in ((3, 4), (5,), (2,))]


def loss(used: list[nn.Parameter]) -> Tensor:
    """Something with gradients of many sizes; the last parameter has no part in it."""
    return used[0].exp().sum() + (used[1] ** 3).sum()


def step(used: list[nn.Parameter], optimiser: Adam | torch.optim.Adam) -> None:
    """One update."""
    for parameter in used:
        parameter.grad = None
    loss(used).backward()
    optimiser.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_update_is_bit_for_bit_torchs(dtype: torch.dtype) -> None:
    """Under a changing rate, with a parameter that has no gradient."""
    ours, theirs = parameters(dtype), parameters(dtype)
    adam, reference = Adam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01)
    for update in range(20):
        adam.lr = reference.param_groups[0]["lr"] = 0.01 * 0.5 ** (update // 8)
        step(ours, adam)
        step(theirs, reference)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)


def test_one_with_its_state_put_back_goes_on_alike() -> None:
    """From a copy of the parameters and of the state."""
    first = parameters(torch.float32)
    adam = Adam(first, 0.01)
    for _ in range(3):
        step(first, adam)
    second = [nn.Parameter(parameter.detach().clone()) for parameter in first]
    again = Adam(second, 0.01)
    again.restore({name: tensor.clone() for name, tensor in adam.tensors().items()})
    step(first, adam)
    step(second, again)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
