"""Reptile's networks equal torch's own layers; TensorFlow's padding is ours on turned images.

Legend: T tasks, n images a task, C channels, H x W a map.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_methods.backbones.conv4 import Conv4
from fewshot_methods.backbones.conv4_reptile import Conv4Same, Conv4StridedMaps

KINDS = pytest.mark.parametrize("kind", [Conv4StridedMaps, Conv4Same])


def build(kind: type[Conv4], channels: int, side: int) -> Conv4:
    """A network in float64 with random shifts and scales of both signs."""
    torch.manual_seed(0)
    network = kind((channels, side, side)).double()  # type: ignore[call-arg]
    for name, parameter in network.named_parameters():
        parameter.data = torch.randn_like(parameter) * (0.1 if name.endswith("_weight") else 1.0)
    return network


def torch_twin(network: Conv4, statistics: dict[str, tuple[Tensor, Tensor]] | None) -> nn.Sequential:
    """The network from torch's layers, in training mode, or in evaluation mode with statistics."""
    strided = isinstance(network, Conv4StridedMaps) and not isinstance(network, Conv4Same)
    params, layers = dict(network.named_parameters()), list[nn.Module]()
    for name in network.channels:
        weight = params[f"{name}_weight"].detach()
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride=2 if strided else 1, padding=1, bias=False)
        norm = nn.BatchNorm2d(weight.shape[0], eps=1e-3)
        conv.weight, norm.weight = nn.Parameter(weight), nn.Parameter(params[f"{name}_scale"].detach())
        norm.bias = nn.Parameter(params[f"{name}_shift"].detach())
        if statistics is not None:
            norm.running_mean, norm.running_var = (part[0] for part in statistics[name])
        layers += [conv, norm, *([] if strided else [nn.MaxPool2d(2, ceil_mode=True)]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten()).double().train(statistics is None)


@KINDS
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("given", [False, True])
def test_embeddings_are_those_of_torchs_layers(kind: type[Conv4], channels: int, given: bool) -> None:
    """Under the images' own statistics and under given ones, with shared parameters and with one set a task."""
    network = build(kind, channels, 21)
    x = torch.rand(2, 4, channels, 21, 21, dtype=torch.float64)
    each = [(torch.randn(1, size).double(), torch.rand(1, size).double() + 0.5) for size in network.channels.values()]
    statistics = dict(zip(network.channels, each, strict=True)) if given else None
    shared = dict(network.named_parameters())
    expected = torch.stack([torch_twin(network, statistics)(task) for task in x])
    assert expected.shape[-1] == network.features
    for params in (shared, {name: value.expand(2, *value.shape) for name, value in shared.items()}):
        torch.testing.assert_close(network.embed(x, params, statistics)[0], expected)


@pytest.mark.parametrize(
    ("kind", "shape", "features", "parameters"),
    [
        (Conv4StridedMaps, (1, 28, 28), 2 * 2 * 64, 9 * 64 * (1 + 3 * 64) + 4 * 2 * 64),
        (Conv4Same, (3, 84, 84), 6 * 6 * 32, 9 * 32 * (3 + 3 * 32) + 4 * 2 * 32),
    ],
)
def test_sizes_are_the_papers(kind: type[Conv4], shape: tuple[int, int, int], features: int, parameters: int) -> None:
    """Features and parameters, counted by hand."""
    network = kind(shape)  # type: ignore[call-arg]
    assert (network.features, sum(one.numel() for one in network.parameters())) == (features, parameters)


def test_tensorflows_padding_is_ours_on_turned_images_with_turned_filters() -> None:
    """Where a map is even, TensorFlow pads below and to the right alone: 28, 14 and 4 pixels; 7 are padded all round."""
    network = build(Conv4StridedMaps, 1, 28)
    params = dict(network.named_parameters())
    x = torch.rand(1, 3, 1, 28, 28, dtype=torch.float64)
    maps = x[0]
    for name in network.channels:
        odd = maps.shape[-1] % 2
        maps = F.conv2d(F.pad(maps, (odd, 1, odd, 1)), params[f"{name}_weight"], stride=2)
        mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), correction=0, keepdim=True)
        scale, shift = (params[f"{name}_{part}"][:, None, None] for part in ("scale", "shift"))
        maps = (scale * (maps - mean) / (variance + 1e-3).sqrt() + shift).relu()
    turned = {name: value.flip(2, 3) if name.endswith("_weight") else value for name, value in params.items()}
    ours, _ = network.embed(x.flip(3, 4), turned)
    torch.testing.assert_close(ours[0].unflatten(1, (64, 2, 2)).flip(2, 3), maps)
    plain, _ = network.embed(x, params)
    assert not torch.allclose(plain[0].unflatten(1, (64, 2, 2)), maps)  # untouched it is another network
