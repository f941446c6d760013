"""Conv4 equals the same network built from torch's own layers, with parameters shared by the tasks or one set a task.

Legend: T tasks, n images a task, C channels, D features.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench import kernels
from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.normalisation import Statistics
from fewshot_methods.backbones.conv4 import Conv4, conv4_32, conv4_64, conv4_64_strided

T, N_IMAGES = 3, 5
VARIANTS: dict[str, Callable[[tuple[int, int, int]], Conv4]] = {
    "conv4-32": conv4_32,
    "conv4-64": conv4_64,
    "conv4-64-strided": conv4_64_strided,
}
variants = pytest.mark.parametrize("name", VARIANTS)
scaled = pytest.mark.parametrize("name", ["conv4-64"])
colours = pytest.mark.parametrize("channels", [1, 3])


def build(name: str, channels: int = 1, side: int = 18) -> Conv4:
    """The variant in float64, with random shifts and, where it has any, random scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    network = VARIANTS[name]((channels, side, side)).double()
    for parameter_name, parameter in network.named_parameters():
        std = 0.1 if parameter_name.endswith("_weight") else 1.0
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * std
    return network


def images(channels: int = 1, side: int = 18) -> Tensor:
    """Random images [T, n, C, H, W] in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(T, N_IMAGES, channels, side, side, dtype=torch.float64, generator=generator)


def torch_twin(network: Conv4, params: Parameters, statistics: Statistics | None = None) -> nn.Sequential:
    """The network of `params` from torch's layers, in training mode, or in evaluation mode with given `statistics`."""
    layers: list[nn.Module] = []
    for name in network.channels:
        weight, shift = params[f"{name}_weight"], params[f"{name}_shift"]
        filters, channels = weight.shape[:2]
        conv = nn.Conv2d(channels, filters, 3, stride=2 if network.strided else 1, padding=1, bias=False)
        norm = nn.BatchNorm2d(filters, eps=network.eps)
        conv.weight = nn.Parameter(weight.detach().clone())
        norm.bias = nn.Parameter(shift.detach().clone())
        if f"{name}_scale" in params:
            norm.weight = nn.Parameter(params[f"{name}_scale"].detach().clone())
        if statistics is not None:
            norm.running_mean, norm.running_var = (part[0].clone() for part in statistics[name])
        layers += [conv, norm, nn.ReLU(), *([] if network.strided else [nn.MaxPool2d(2)])]
    layers += [nn.AdaptiveAvgPool2d(1)] if network.strided else []
    return nn.Sequential(*layers, nn.Flatten()).double().train(statistics is None)


def twin_gradients(network: Conv4, twin: nn.Sequential) -> dict[str, Tensor]:
    """The gradients of a twin's parameters, under our names."""
    found: dict[str, Any] = {}
    convs = [layer for layer in twin if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in twin if isinstance(layer, nn.BatchNorm2d)]
    for name, conv, norm in zip(network.channels, convs, norms, strict=True):
        found |= {
            f"{name}_weight": conv.weight.grad,
            f"{name}_scale": norm.weight.grad,
            f"{name}_shift": norm.bias.grad,
        }
    return {name: found[name] for name, _ in network.named_parameters()}


def given_statistics(network: Conv4) -> Statistics:
    """Made-up running statistics, shared by the tasks."""
    generator = torch.Generator().manual_seed(2)
    return {
        name: (
            torch.randn(1, size, dtype=torch.float64, generator=generator),
            torch.rand(1, size, dtype=torch.float64, generator=generator) + 0.5,
        )
        for name, size in network.channels.items()
    }


def probe(like: Tensor) -> Tensor:
    """A fixed direction: the gradient of its product with the output is compared."""
    return torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(3))


@variants
@colours
def test_batch_statistics_give_torchs_training_mode(name: str, channels: int) -> None:
    """Each task's embeddings are those of torch's layers in training mode on that task's images alone."""
    network, x = build(name, channels), images(channels)
    embedded, _ = network.embed(x, dict(network.named_parameters()))
    expected = torch.stack([torch_twin(network, dict(network.named_parameters()))(task) for task in x])
    torch.testing.assert_close(embedded, expected)


@variants
@colours
def test_given_statistics_give_torchs_evaluation_mode(name: str, channels: int) -> None:
    """With running statistics passed in, embeddings are those of torch's layers in evaluation mode."""
    network, x = build(name, channels), images(channels)
    params, given = dict(network.named_parameters()), given_statistics(network)
    embedded, _ = network.embed(x, params, given)
    expected = torch_twin(network, params, given)(x.flatten(0, 1)).unflatten(0, (T, N_IMAGES))
    torch.testing.assert_close(embedded, expected)


@variants
@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_gradients_are_torchs(name: str, given: bool) -> None:
    """Weights, scales of both signs and shifts receive the gradients that torch's layers give."""
    network, x = build(name), images()
    params = dict(network.named_parameters())
    statistics = given_statistics(network) if given else None
    embedded, _ = network.embed(x[:1], params, statistics)
    (embedded[0] * probe(embedded[0])).sum().backward()
    twin = torch_twin(network, params, statistics)
    (twin(x[0]) * probe(embedded[0])).sum().backward()
    ours = {name: parameter.grad for name, parameter in network.named_parameters()}
    torch.testing.assert_close(ours, twin_gradients(network, twin))


@variants
def test_the_gradient_of_the_images_is_torchs(name: str) -> None:
    """The images receive the gradient that torch's layers give."""
    network, x = build(name), images()[0]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    embedded, _ = network.embed(ours[None], dict(network.named_parameters()))
    (embedded[0] * probe(embedded[0])).sum().backward()
    (torch_twin(network, dict(network.named_parameters()))(theirs) * probe(embedded[0])).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@scaled
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_scales_of_one_sign_are_torchs(name: str, sign: float) -> None:
    """Pooling before the normalisation is right where every scale is negative, and where every one is positive."""
    network, x = build(name), images()
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith("_scale"):
            parameter.data = sign * parameter.data.abs()
    params = dict(network.named_parameters())
    expected = torch.stack([torch_twin(network, params)(task) for task in x])
    torch.testing.assert_close(network.embed(x, params)[0], expected)


@variants
def test_the_statistics_reported_are_those_of_the_layers_inputs(name: str) -> None:
    """For each layer and task: mean and biased variance of what torch's normalisation layers are fed."""
    network, x = build(name), images()
    params = dict(network.named_parameters())
    _, used = network.embed(x, params)
    for task in range(T):
        value, layers = x[task], iter(network.channels)
        for module in torch_twin(network, params):
            if isinstance(module, nn.BatchNorm2d):
                layer = next(layers)
                torch.testing.assert_close(used[layer][0][task], value.mean((0, 2, 3)))
                torch.testing.assert_close(used[layer][1][task], value.var((0, 2, 3), correction=0))
            value = module(value)


@variants
def test_statistics_handed_back_change_nothing(name: str) -> None:
    """A second pass given the statistics that the first reported gives the same embeddings and statistics."""
    network, x = build(name), images()
    params = dict(network.named_parameters())
    embedded, used = network.embed(x, params)
    again, used_again = network.embed(x, params, used)
    torch.testing.assert_close(again, embedded)
    torch.testing.assert_close(used_again, used)


def own_parameters(network: Conv4) -> dict[str, Tensor]:
    """Parameters [T, ...] that differ from task to task; of scales, some change sign between tasks."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: p.detach() + 0.5 * p.detach().std() * torch.randn(T, *p.shape, dtype=p.dtype, generator=generator)
        for name, p in network.named_parameters()
    }


@variants
@colours
@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_parameters_of_each_task_equal_a_loop_over_tasks(name: str, channels: int, given: bool) -> None:
    """Values and gradients of parameters [T, ...] are those of torch's layers, task by task."""
    network, x = build(name, channels), images(channels)
    statistics = given_statistics(network) if given else None
    params = {name: p.requires_grad_() for name, p in own_parameters(network).items()}
    embedded, _ = network.embed(x, params, statistics)
    (embedded * probe(embedded)).sum().backward()
    for task in range(T):
        twin = torch_twin(network, {name: p[task] for name, p in params.items()}, statistics)
        expected = twin(x[task])
        torch.testing.assert_close(embedded[task], expected)
        (expected * probe(embedded)[task]).sum().backward()
        ours = {name: p.grad[task] for name, p in params.items() if p.grad is not None}
        torch.testing.assert_close(ours, twin_gradients(network, twin))


@variants
@pytest.mark.parametrize("own", ["_weight", "_shift", "_scale"])
def test_some_parameters_may_differ_by_task_and_others_not(name: str, own: str) -> None:
    """Weights alone, shifts alone or scales alone may be one a task: the rest is shared."""
    network, x = build(name), images()
    shared, differing = dict(network.named_parameters()), own_parameters(network)
    mixed = {name: differing[name] if name.endswith(own) else shared[name] for name in shared}
    embedded, _ = network.embed(x, mixed)
    for task in range(T):
        params = {name: p[task] if name.endswith(own) else p for name, p in mixed.items()}
        torch.testing.assert_close(embedded[task], torch_twin(network, params)(x[task]))


def test_float32_is_float64_rounded() -> None:
    """In the precision that runs use, embeddings agree with those in float64 to about that precision."""
    network, x = build("conv4-64", side=28), images(side=28)
    double, _ = network.embed(x, dict(network.named_parameters()))
    network.float()
    single, _ = network.embed(x.float(), dict(network.named_parameters()))
    torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "features"),
    [
        # a block: 9 weights for each input channel and filter, then scale and shift, or the shift alone
        ("conv4-64", (1, 28, 28), 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64),
        ("conv4-64", (3, 84, 84), 9 * 3 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 5 * 5 * 64),
        ("conv4-64-strided", (1, 28, 28), 9 * 64 + 3 * 9 * 64 * 64 + 4 * 64, 64),
        ("conv4-32", (1, 28, 28), 9 * 32 + 3 * 9 * 32 * 32 + 4 * 32, 32),
        ("conv4-32", (3, 84, 84), 9 * 3 * 32 + 3 * 9 * 32 * 32 + 4 * 32, 5 * 5 * 32),
    ],
)
def test_parameters_and_features_are_those_of_the_layer_table(
    name: str, shape: tuple[int, int, int], parameters: int, features: int
) -> None:
    """The number of parameters is that counted by hand, and the declared size of an embedding is the real one."""
    network = VARIANTS[name](shape)
    embedded, _ = network.embed(torch.rand(1, 2, *shape), dict(network.named_parameters()))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert embedded.shape == (1, 2, features)
    assert network.features == features


@pytest.mark.parametrize("side", [5, 8, 13, 28, 31])
def test_odd_sizes_stride_to_the_features_declared(side: int) -> None:
    """The strided variant takes any size and gives one value a filter."""
    network = conv4_64_strided((1, side, side))
    embedded, _ = network.embed(torch.rand(1, 2, 1, side, side), dict(network.named_parameters()))
    assert embedded.shape == (1, 2, network.features)


def test_images_too_small_for_four_poolings_are_refused() -> None:
    """15 pixels pool to nothing: the error says so; 16 are enough."""
    with pytest.raises(ValueError, match="15x15 are too small"):
        conv4_64((1, 15, 15))
    assert conv4_64((1, 16, 16)).features == 64


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("own", [False, True], ids=["given statistics", "own statistics"])
def test_a_single_image_is_embedded_alike_by_kernels_and_by_torch(tasks: int, own: bool) -> None:
    """torch's float32 maps of one image need not be channels-last, for which the kernels would take them."""
    torch.manual_seed(0)
    network, images = conv4_64((1, 28, 28)), torch.rand(tasks, 1, 1, 28, 28)
    running = {name: (torch.zeros(1, size), torch.ones(1, size)) for name, size in network.channels.items()}
    found = []
    for by_kernels in (True, False):
        with torch.no_grad(), kernels.serving(by_kernels):
            found.append(network.embed(images, dict(network.named_parameters()), None if own else running)[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
