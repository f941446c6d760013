"""Conv4Maps equals the authors' layers built from torch's own, by kernels and by torch.

Legend: T tasks, n images a task, C channels, D features.
"""

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.normalisation import Statistics
from fewshot_methods.backbones.conv4_maps import Conv4Maps

T, N_IMAGES = 3, 4
pytestmark = pytest.mark.usefixtures("computed_by")
given_or_own = pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])


def build(channels: int = 1, side: int = 15) -> Conv4Maps:
    """The network in float64, with random shifts and random scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    network = Conv4Maps((channels, side, side)).double()
    for name, parameter in network.named_parameters():
        std = 0.1 if name.endswith("_weight") else 1.0
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * std
    return network


def images(channels: int = 1, side: int = 15) -> Tensor:
    """Random images [T, n, C, H, W] in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(T, N_IMAGES, channels, side, side, dtype=torch.float64, generator=generator)


def statistics_of(network: Conv4Maps) -> Statistics:
    """Made-up running statistics, shared by the tasks."""
    generator = torch.Generator().manual_seed(2)
    return {
        name: (torch.randn(1, size, generator=generator).double(), torch.rand(1, size, generator=generator).double() + 0.5)
        for name, size in network.channels.items()
    }


def torch_twin(params: Parameters, statistics: Statistics | None = None) -> nn.Sequential:
    """The authors' layers with the given parameters, in training mode, or in evaluation mode with given `statistics`."""
    layers: list[nn.Module] = []
    for name, padding in (("block1", 0), ("block2", 0), ("block3", 1), ("block4", 1)):
        conv = nn.Conv2d(params[f"{name}_weight"].shape[1], 64, 3, padding=padding, bias=False)
        norm = nn.BatchNorm2d(64)
        conv.weight = nn.Parameter(params[f"{name}_weight"].detach().clone())
        norm.weight = nn.Parameter(params[f"{name}_scale"].detach().clone())
        norm.bias = nn.Parameter(params[f"{name}_shift"].detach().clone())
        if statistics is not None:
            norm.running_mean, norm.running_var = (part[0].clone() for part in statistics[name])
        layers += [conv, norm, nn.ReLU(), *([nn.MaxPool2d(2)] if padding == 0 else [])]
    return nn.Sequential(*layers, nn.Flatten()).double().train(statistics is None)


@given_or_own
@pytest.mark.parametrize("channels", [1, 3])
def test_embeddings_and_gradients_are_those_of_torchs_layers(channels: int, given: bool) -> None:
    """Each task by itself: in training mode, or in evaluation mode with the running statistics passed in."""
    network, x = build(channels), images(channels)
    params, statistics = dict(network.named_parameters()), statistics_of(network) if given else None
    twin = torch_twin(params, statistics)
    embedded, _ = network.embed(x, params, statistics)
    expected = torch.stack([twin(task) for task in x])
    torch.testing.assert_close(embedded, expected)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((embedded * probe).sum(), list(network.parameters()))
    theirs = torch.autograd.grad((expected * probe).sum(), list(twin.parameters()))
    torch.testing.assert_close(found, theirs)


@given_or_own
def test_parameters_of_each_task_equal_a_loop_over_tasks(given: bool) -> None:
    """A backbone may be called with parameters [T, ...]."""
    network, x = build(), images()
    generator = torch.Generator().manual_seed(4)
    statistics = statistics_of(network) if given else None
    own = {
        name: p.detach() + 0.1 * torch.randn(T, *p.shape, dtype=p.dtype, generator=generator)
        for name, p in network.named_parameters()
    }
    embedded, _ = network.embed(x, own, statistics)
    for task in range(T):
        twin = torch_twin({name: p[task] for name, p in own.items()}, statistics)
        torch.testing.assert_close(embedded[task], twin(x[task]))


def test_statistics_handed_back_change_nothing() -> None:
    """A second pass given the statistics that the first reported gives the same embeddings and statistics."""
    network, x = build(), images()
    params = dict(network.named_parameters())
    embedded, used = network.embed(x, params)
    again, used_again = network.embed(x, params, used)
    torch.testing.assert_close(again, embedded)
    torch.testing.assert_close(used_again, used)


@pytest.mark.parametrize(
    ("shape", "side", "first"), [((1, 28, 28), 5, 9 * 64), ((3, 32, 32), 6, 9 * 3 * 64), ((3, 84, 84), 19, 9 * 3 * 64)]
)
def test_maps_and_parameters_are_those_of_the_layer_table(shape: tuple[int, int, int], side: int, first: int) -> None:
    """The authors' 5x5 and 19x19 maps; 9 weights for each input map and filter, then scale and shift."""
    network = Conv4Maps(shape)
    embedded, _ = network.embed(torch.rand(1, 2, *shape), dict(network.named_parameters()))
    assert network.map_shape == (64, side, side)
    assert embedded.shape == (1, 2, network.features) == (1, 2, 64 * side * side)
    assert sum(p.numel() for p in network.parameters()) == first + 3 * 9 * 64 * 64 + 4 * 2 * 64


def test_images_too_small_are_refused() -> None:
    """9 pixels shrink to nothing; 10 are enough."""
    with pytest.raises(ValueError, match="9x9 are too small"):
        Conv4Maps((1, 9, 9))
    assert Conv4Maps((1, 10, 10)).map_shape == (64, 1, 1)
