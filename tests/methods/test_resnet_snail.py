"""`resnet-snail` equals the same network of torch's own layers, with parameters shared by the tasks or one set a task.

Legend: T tasks, n images a task, C channels, D features.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.normalisation import Statistics
from fewshot_methods.backbones.resnet_snail import ResnetSnail

T, N_IMAGES, SIDE = 2, 2, 20


class Twin(nn.Module):
    """The network from torch's layers, in training mode, or in evaluation mode with given `statistics`."""

    def __init__(self, params: Parameters, statistics: Statistics | None) -> None:
        super().__init__()
        channels = 3
        for i, filters in enumerate((64, 96, 128, 256), 1):
            self.add_module(f"block{i}_shortcut", nn.Conv2d(channels, filters, 1, bias=False))
            for j in (1, 2, 3):
                name = f"block{i}_conv{j}"
                self.add_module(name, nn.Conv2d(channels, filters, 3, padding=1, bias=False))
                self.add_module(f"{name}_norm", nn.BatchNorm2d(filters))
                channels = filters
        self.add_module("wide", nn.Conv2d(256, 2048, 1))
        self.add_module("out", nn.Linear(2048, 384))
        self.double().train(statistics is None)
        for name, value in params.items():
            layer, _, part = name.rpartition("_")
            if part in ("scale", "shift"):
                layer, part = f"{layer}_norm", {"scale": "weight", "shift": "bias"}[part]
            target: Any = getattr(self.get_submodule(layer), part)
            target.data = value.detach().clone().view_as(target)
        for name, (mean, variance) in (statistics or {}).items():
            norm: Any = self.get_submodule(f"{name}_norm")
            norm.running_mean, norm.running_var = mean[0].clone(), variance[0].clone()

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] -> embeddings [n, D], in the order of the paper's appendix, without dropout."""
        for i in (1, 2, 3, 4):
            maps = x
            for j in (1, 2, 3):
                layer = f"block{i}_conv{j}"
                maps = self.get_submodule(f"{layer}_norm")(self.get_submodule(layer)(maps))
                maps = nn.functional.leaky_relu(maps, 0.1)
            x = nn.functional.max_pool2d(maps + self.get_submodule(f"block{i}_shortcut")(x), 2, ceil_mode=True)
        mean = self.get_submodule("wide")(x).mean((2, 3))  # the paper's order: the wide layer first
        embedded: Tensor = self.get_submodule("out")(mean.relu())
        return embedded


def build() -> ResnetSnail:
    """The network in float64 and in evaluation mode, with random shifts and scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    network = ResnetSnail((3, SIDE, SIDE)).double().eval()
    for name, parameter in network.named_parameters():
        std = 0.05 if name.endswith("_weight") else 1.0
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * std
    return network


def images(side: int = SIDE) -> Tensor:
    """Random images [T, n, 3, H, W] in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(T, N_IMAGES, 3, side, side, dtype=torch.float64, generator=generator)


def given_statistics(network: ResnetSnail) -> Statistics:
    """Made-up running statistics, shared by the tasks."""
    generator = torch.Generator().manual_seed(2)

    def positive(size: int) -> Tensor:
        return torch.rand(1, size, dtype=torch.float64, generator=generator) + 0.5

    return {name: (positive(size), positive(size)) for name, size in network.channels.items()}


@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_embeddings_are_those_of_torchs_layers(given: bool) -> None:
    """Each task's embeddings equal those of torch's layers in training mode, or in evaluation mode."""
    network, x = build(), images()
    params, statistics = dict(network.named_parameters()), given_statistics(network) if given else None
    embedded, used = network.embed(x, params, statistics)
    twin = Twin(params, statistics)
    torch.testing.assert_close(embedded, torch.stack([twin(task) for task in x]))
    torch.testing.assert_close(network.embed(x, params, used)[0], embedded)
    assert used.keys() == network.channels.keys()


def test_gradients_are_torchs() -> None:
    """Every parameter receives the gradient that torch's layers give."""
    network, x = build(), images()[:1]
    params = dict(network.named_parameters())
    embedded, _ = network.embed(x, params)
    probe = torch.randn(embedded.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (embedded * probe).sum().backward()
    twin = Twin(params, None)
    (twin(x[0]) * probe[0]).sum().backward()
    found = Twin({name: p.grad for name, p in params.items() if p.grad is not None}, None)
    assert len([p for p in params.values() if p.grad is not None]) == len(params)
    for ours, theirs in zip(found.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.data, theirs.grad, rtol=1e-6, atol=1e-9)


def test_parameters_of_each_task_equal_a_loop_over_tasks() -> None:
    """With a set of parameters of its own, each task is embedded as by torch's layers with that set."""
    network, x = build(), images()
    generator = torch.Generator().manual_seed(4)
    params = {
        name: p.detach() * (1 + 0.3 * torch.randn(T, *p.shape, dtype=torch.float64, generator=generator))
        for name, p in network.named_parameters()
    }
    embedded, _ = network.embed(x, params)
    for task in range(T):
        twin = Twin({name: p[task] for name, p in params.items()}, None)
        torch.testing.assert_close(embedded[task], twin(x[task]))


def test_dropout_acts_in_training_alone() -> None:
    """In training two passes differ and torch's seed repeats one; in evaluation mode they are the same."""
    network, x = build(), images()
    params = dict(network.named_parameters())

    def embed(seed: int, training: bool) -> Tensor:
        torch.manual_seed(seed)
        return network.train(training).embed(x, params)[0]

    with torch.random.fork_rng():
        assert not torch.allclose(embed(0, True), embed(1, True))
        assert torch.equal(embed(0, True), embed(0, True))
        assert torch.equal(embed(0, False), embed(1, False))


def test_parameters_are_those_of_the_layer_table() -> None:
    """Four blocks of three 3x3 convolutions, scales and shifts, and a 1x1 shortcut; then 256 -> 2048 -> 384."""
    blocks = 0
    for before, filters in ((3, 64), (64, 96), (96, 128), (128, 256)):
        blocks += 9 * before * filters + 2 * 9 * filters * filters + 3 * 2 * filters + before * filters
    expected = blocks + 257 * 2048 + 2049 * 384
    network = ResnetSnail((3, 84, 84))
    assert sum(p.numel() for p in network.parameters()) == expected == 3_544_512


@pytest.mark.parametrize("side", [32, 84])
def test_any_size_of_image_has_384_features(side: int) -> None:
    """CIFAR's 32 pixels pool to 2, mini-ImageNet's 84 to the paper's 6."""
    network = ResnetSnail((3, side, side)).eval()
    embedded, _ = network.embed(torch.rand(1, 1, 3, side, side), dict(network.named_parameters()))
    assert embedded.shape == (1, 1, network.features) == (1, 1, 384)
