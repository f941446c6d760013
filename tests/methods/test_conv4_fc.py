"""`conv4-64-fc64` is `conv4-64` followed by torch's linear layer, with parameters shared by the tasks or one set a task.

Legend: T tasks, n images a task, C channels, D features.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_methods.backbones.conv4 import conv4_64
from fewshot_methods.backbones.conv4_fc import Conv4Fc, conv4_64_fc64

T, N_IMAGES = 3, 4


def build(channels: int = 1, side: int = 18) -> Conv4Fc:
    """The network in float64 with a random bias."""
    torch.manual_seed(0)
    network = conv4_64_fc64((channels, side, side)).double()
    network.fc_bias.data.normal_()
    return network


def images(channels: int = 1, side: int = 18) -> Tensor:
    """Random images [T, n, C, H, W] in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(T, N_IMAGES, channels, side, side, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("channels", "side"), [(1, 18), (3, 32)])
def test_a_linear_layer_follows_conv4(channels: int, side: int) -> None:
    """Embeddings are `conv4-64`'s with the same blocks, through torch's linear layer; the statistics are the blocks'."""
    network, x = build(channels, side), images(channels, side)
    params = dict(network.named_parameters())
    body = conv4_64((channels, side, side)).double()
    expected, expected_statistics = body.embed(x, params)
    embedded, statistics = network.embed(x, params)
    torch.testing.assert_close(embedded, F.linear(expected, network.fc_weight, network.fc_bias))
    torch.testing.assert_close(statistics, expected_statistics)
    torch.testing.assert_close(network.embed(x, params, statistics)[0], embedded)


@pytest.mark.parametrize("own", [("fc_weight", "fc_bias"), ("fc_weight",), ("fc_bias",), ("block4_weight",)])
def test_parameters_of_each_task_equal_a_loop_over_tasks(own: tuple[str, ...]) -> None:
    """Any of the parameters may be one a task; the rest is shared."""
    network, x = build(), images()
    generator = torch.Generator().manual_seed(2)
    params: dict[str, Tensor] = dict(network.named_parameters())
    for name in own:
        noise = torch.randn(T, *params[name].shape, dtype=torch.float64, generator=generator)
        params[name] = params[name] * (1 + 0.5 * noise)
    embedded, _ = network.embed(x, params)
    for task in range(T):
        alone = {name: p[task] if name in own else p for name, p in params.items()}
        torch.testing.assert_close(embedded[task], network.embed(x[task : task + 1], alone)[0][0])


@pytest.mark.parametrize(("shape", "flat"), [((1, 28, 28), 64), ((3, 32, 32), 256), ((3, 84, 84), 1600)])
def test_parameters_and_features_are_those_of_the_layer_table(shape: tuple[int, int, int], flat: int) -> None:
    """conv4-64's blocks and a layer from its features to 64."""
    network = conv4_64_fc64(shape)
    blocks = 9 * shape[0] * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64
    assert sum(p.numel() for p in network.parameters()) == blocks + (flat + 1) * 64
    embedded, _ = network.embed(torch.rand(1, 2, *shape), dict(network.named_parameters()))
    assert embedded.shape == (1, 2, network.features) == (1, 2, 64)
