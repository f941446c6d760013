"""Meta-SGD equals learn2learn's, a plain loop and finite differences; its rates are learned and may be negative.

Legend: T tasks, N ways.
"""

from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from plain_loop import (
    EPS,
    T,
    assert_equal,
    assert_slopes,
    images_tasks,
    meta_gradient,
    plain_gradient,
    plain_losses,
    small,
    waves_tasks,
    without_shift,
)
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones.conv4 import conv4_64_strided
from fewshot_methods.meta_sgd import MetaSgd, MetaSgdHparams

kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])


def rate_of(name: str) -> str:
    """The name of a parameter's rates."""
    return f"rate.{name.replace('.', '_')}"


@kinds
@orders
@inner_steps
def test_losses_and_meta_gradient_are_those_of_a_plain_loop(tasks: Tasks, steps: int, first_order: bool) -> None:
    """Each value steps at its own rate; the gradient reaches values and rates."""
    method = small(MetaSgd, tasks, inner_steps=steps, first_order=first_order)
    params = dict(method.named_parameters())

    def step(name: str, grad: Tensor, task: int) -> Tensor:
        return params[rate_of(name)] * grad

    losses = plain_losses(params, tasks, steps, without_shift(params), step, first_order)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), plain_gradient(losses, params))


# learn2learn's wrapper of the same network, made of torch's layers. It adapts every parameter: `adapt_shift`.


def twin_of(method: MetaSgd) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """The network and head of a pooled `method` in torch's layers with the same values, and its parameters by our names."""
    layers, named = list[nn.Module](), dict[str, Tensor]()
    for block in method.network.channels:
        weight = method.get_parameter(f"network.{block}_weight")
        conv, norm = nn.Conv2d(weight.shape[1], len(weight), 3, padding=1, bias=False), nn.BatchNorm2d(len(weight), eps=EPS)
        layers += [conv, norm, nn.ReLU(), nn.MaxPool2d(2)]
        named |= {f"network.{block}_weight": conv.weight, f"network.{block}_scale": norm.weight}
        named |= {f"network.{block}_shift": norm.bias}
    head = nn.Linear(method.network.features, method.info.outputs)
    named |= {"head_weight": head.weight, "head_bias": head.bias}
    twin = nn.Sequential(*layers, nn.Flatten(), head).double()
    for name, parameter in named.items():
        parameter.data = method.get_parameter(name).detach().clone()
    return twin, named


def peer_of(l2l: ModuleType, method: MetaSgd) -> tuple[Any, dict[str, Tensor]]:
    """learn2learn's Meta-SGD with the values and rates of `method`, and its parameters by our names."""
    twin, named = twin_of(method)
    peer = l2l.algorithms.MetaSGD(twin, lr=1.0, first_order=method.hparams.first_order)
    places = {id(parameter): i for i, parameter in enumerate(twin.parameters())}
    for name, parameter in list(named.items()):
        rates = peer.lrs[places[id(parameter)]]
        rates.data = method.get_parameter(rate_of(name)).detach().clone()
        named[rate_of(name)] = rates
    return peer, named


@orders
@inner_steps
def test_losses_and_meta_gradient_are_those_of_learn2learn(l2l: ModuleType, steps: int, first_order: bool) -> None:
    """On the same values, rates and tasks; the gradient by values and by rates."""
    tasks = images_tasks()
    method = small(MetaSgd, tasks, strided=False, inner_steps=steps, first_order=first_order, adapt_shift=True)
    peer, named = peer_of(l2l, method)
    losses = []
    for task in range(T):
        learner = peer.clone()
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(tasks.support_x[task]), tasks.support_y[task]))
        losses.append(F.cross_entropy(learner(tasks.query_x[task]), tasks.targets[task]))
    torch.testing.assert_close(method.loss(tasks), torch.stack(losses))
    ours = meta_gradient(method, tasks)
    torch.stack(losses).mean().backward()
    assert_equal(ours, {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None})


@pytest.mark.parametrize("mode", TRAIN_MODES)
def test_the_meta_gradient_is_that_of_finite_differences(mode: Normalisation) -> None:
    """In every training mode, by values and by rates."""
    assert_slopes(small(MetaSgd, images_tasks(), mode), images_tasks())


def test_the_meta_gradient_of_a_regression_is_that_of_finite_differences() -> None:
    """On waves too."""
    assert_slopes(small(MetaSgd, waves_tasks()), waves_tasks())


def test_a_negative_rate_steps_uphill() -> None:
    """Negated rates make the opposite step."""
    tasks = images_tasks()
    method = small(MetaSgd, tasks)
    params = dict(method.named_parameters())
    opposite = {name: -p if name.startswith("rate.") else p for name, p in params.items()}
    there, back = (method.inner_loop(tasks, p, 1, second_order=False).adapt(tasks, p)[0] for p in (params, opposite))
    for name in without_shift(params):
        torch.testing.assert_close(there[name] - params[name], params[name] - back[name])
        assert not torch.equal(there[name], back[name])


def test_rates_start_within_their_bounds_and_are_of_the_shape_of_what_they_move() -> None:
    """Uniformly from rate_low to rate_high: mean and extremes of 111,000 draws."""
    method = MetaSgd(MetaSgdHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 10), conv4_64_strided((1, 28, 28)))
    rates = method.rates(dict(method.named_parameters()), 1)
    assert {name: rate.shape for name, rate in rates.items() if isinstance(rate, Tensor)} == {
        name: method.get_parameter(name).shape for name in without_shift(dict(method.named_parameters()))
    }
    drawn = torch.cat([rate.flatten() for rate in rates.values() if isinstance(rate, Tensor)])
    assert drawn.min().item() == pytest.approx(0.005, abs=1e-5)
    assert drawn.max().item() == pytest.approx(0.1, abs=1e-5)
    assert drawn.mean().item() == pytest.approx(0.0525, abs=4 * 0.095 / (12 * len(drawn)) ** 0.5)


def test_there_is_a_rate_for_each_value_that_adapts() -> None:
    """The network of Omniglot: 4 layers of 64 filters with a shift, a head of 5; all but the 4 x 64 shifts have a rate."""
    method = MetaSgd(MetaSgdHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 10), conv4_64_strided((1, 28, 28)))
    values = 64 * 9 + 3 * 64 * 64 * 9 + 4 * 64 + 5 * 64 + 5  # 111,749
    assert sum(p.numel() for p in method.parameters()) == values + (values - 4 * 64)  # 223,242


def test_a_test_uses_the_learned_rates() -> None:
    """`predict` steps by them, and leaves them and everything else as they were."""
    tasks = images_tasks()
    method = small(MetaSgd, tasks, test_inner_steps=1).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    scores = method.predict(tasks.without_query_labels())
    torch.testing.assert_close(
        torch.stack([F.cross_entropy(s, y) for s, y in zip(scores, tasks.targets, strict=True)]), method.loss(tasks).detach()
    )
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    for rate in method.rate.values():
        rate.data *= 2
    assert not torch.allclose(method.predict(tasks.without_query_labels()), scores)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    """The error names them."""
    with pytest.raises(UsageError, match="rate_low"):
        build_hparams(MetaSgdHparams, {"rate_low": 0.2})
