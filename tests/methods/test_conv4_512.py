"""Conv4-512 equals the authors' network built from torch's own layers, and has the sizes of their layer table.

Legend: T tasks, n images a task, D features.
"""

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.normalisation import Statistics
from fewshot_methods.backbones.conv4_512 import Conv4_512

T, N_IMAGES, SHAPE = 2, 3, (1, 16, 19)
FILTERS = (96, 192, 384, 512)


@pytest.fixture(scope="module")
def network() -> Conv4_512:
    """The network in float64 with random shifts and random scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    network = Conv4_512(SHAPE, dropout=0.0).double()
    for name, parameter in network.named_parameters():
        std = 0.05 if name.endswith("_weight") else 1.0
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * std
    return network


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Random images [T, n, C, H, W] in [0, 1]."""
    return torch.rand(T, N_IMAGES, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Twin(nn.Module):
    """The network from torch's layers: convolution, normalisation, pooling, leaky ReLU; the last pools with stride 1, and
    so does the third once more on its way out. In training mode, or in evaluation mode with given `statistics`."""

    def __init__(self, params: Parameters, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for i in range(1, 5):
            weight = params[f"block{i}_weight"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(weight.shape[0])
            parts = ((conv.weight, "weight"), (norm.weight, "scale"), (norm.bias, "shift"))
            for parameter, part in parts:
                parameter.data = params[f"block{i}_{part}"].detach().clone()
            if statistics is not None:
                norm.running_mean, norm.running_var = (part[0].clone() for part in statistics[f"block{i}"])
            self.blocks.append(nn.Sequential(conv, norm, nn.MaxPool2d(2, stride=1 if i == 4 else 2), nn.LeakyReLU(0.1)))
        self.double().train(statistics is None)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings [n, D] of images [n, C, H, W]."""
        maps = [x]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return torch.cat([nn.MaxPool2d(2, stride=1)(maps[3]).flatten(1), maps[4].flatten(1)], 1)


def test_batch_statistics_give_torchs_training_mode(network: Conv4_512, x: Tensor) -> None:
    """Each task's embeddings are those of torch's layers in training mode on that task's images alone."""
    params = dict(network.named_parameters())
    embedded, _ = network.embed(x, params)
    torch.testing.assert_close(embedded, torch.stack([Twin(params)(task) for task in x]))


def test_given_statistics_give_torchs_evaluation_mode(network: Conv4_512, x: Tensor) -> None:
    """With running statistics passed in, embeddings are those of torch's layers in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    given = {
        name: (
            torch.randn(1, size, dtype=torch.float64, generator=generator),
            torch.rand(1, size, dtype=torch.float64, generator=generator) + 0.5,
        )
        for name, size in network.channels.items()
    }
    params = dict(network.named_parameters())
    embedded, used = network.embed(x, params, given)
    torch.testing.assert_close(embedded, torch.stack([Twin(params, given)(task) for task in x]))
    torch.testing.assert_close(used, given)


def test_gradients_are_torchs(network: Conv4_512, x: Tensor) -> None:
    """Images, weights, scales of both signs and shifts receive the gradients that torch's layers give."""
    params, ours, theirs = dict(network.named_parameters()), x[:1].clone().requires_grad_(), x[0].clone().requires_grad_()
    embedded, _ = network.embed(ours, params)
    probe = torch.randn(embedded[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((embedded[0] * probe).sum(), [ours, *params.values()])
    twin = Twin(params)
    expected = torch.autograd.grad((twin(theirs) * probe).sum(), [theirs, *twin.parameters()])
    torch.testing.assert_close(found, (expected[0][None], *expected[1:]))


def test_the_statistics_reported_are_those_of_the_layers_inputs(network: Conv4_512, x: Tensor) -> None:
    """For each layer and task: mean and biased variance of what torch's normalisation is fed; handed back, they change
    nothing."""
    params = dict(network.named_parameters())
    embedded, used = network.embed(x, params)
    for task in range(T):
        value = x[task]
        for name, block in zip(network.channels, Twin(params).blocks, strict=True):
            assert isinstance(block, nn.Sequential)
            maps = block[0](value)
            torch.testing.assert_close(used[name][0][task], maps.mean((0, 2, 3)))
            torch.testing.assert_close(used[name][1][task], maps.var((0, 2, 3), correction=0))
            value = block(value)
    again, _ = network.embed(x, params, used)
    torch.testing.assert_close(again, embedded)


def test_parameters_of_each_task_equal_a_loop_over_tasks(network: Conv4_512, x: Tensor) -> None:
    """Parameters [T, ...] that differ from task to task give what torch's layers give, task by task."""
    generator = torch.Generator().manual_seed(4)
    params = {
        name: p.detach() * torch.randn(T, *p.shape, dtype=torch.float64, generator=generator)
        for name, p in network.named_parameters()
    }
    embedded, _ = network.embed(x, params)
    for task in range(T):
        torch.testing.assert_close(embedded[task], Twin({name: p[task] for name, p in params.items()})(x[task]))


@pytest.mark.parametrize(
    ("shape", "features", "dropout"),
    [
        ((1, 28, 28), 1536 + 2048, 0.0),
        ((3, 32, 32), 3456 + 4608, 0.4),
        ((3, 84, 84), 31104 + 41472, 0.1),
        ((3, 48, 40), (384 + 512) * 5 * 4, 0.1),
    ],
)
def test_parameters_features_and_dropout_are_the_authors(shape: tuple[int, int, int], features: int, dropout: float) -> None:
    """Features as their code declares them for each data set, dropout as its scripts do, parameters counted by hand."""
    network, inputs = Conv4_512(shape), (shape[0], *FILTERS[:3])
    weights = sum(9 * c * o for c, o in zip(inputs, FILTERS, strict=True))
    assert sum(p.numel() for p in network.parameters()) == weights + 2 * sum(FILTERS)
    assert network.features == features
    assert network.dropout == dropout
    with torch.no_grad():
        assert network.embed(torch.rand(1, 2, *shape), dict(network.named_parameters()))[0].shape == (1, 2, features)


def test_dropout_acts_in_training_alone(x: Tensor) -> None:
    """In evaluation mode a pass repeats itself; in training mode some of the last block's values are zero."""
    network = Conv4_512(SHAPE, dropout=0.4).double()
    params = dict(network.named_parameters())
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        trained, evaluated = network.embed(x, params)[0], network.eval().embed(x, params)[0]
        assert torch.equal(network.embed(x, params)[0], evaluated)
    last = trained[..., -512:]
    assert (last == 0).double().mean().item() == pytest.approx(0.4, abs=0.05)
    assert not (evaluated == 0).any()


def test_images_too_small_for_the_poolings_are_refused() -> None:
    """15 pixels pool to nothing: the error says so."""
    with pytest.raises(ValueError, match="15x32 are too small"):
        Conv4_512((3, 15, 32))
