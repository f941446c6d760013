"""The networks of the second generation equal the same networks of torch's own layers, by kernels and by torch.

The numbers of filters are made small for the comparison; at full size the parameters are counted.

Legend: T tasks, n images a task, C channels, D features.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from held import held
from torch import Tensor
from torch_networks import (
    Plain,
    PlainConv,
    PlainResNet12,
    PlainResNet18,
    PlainWideResNet,
    images,
    made_up_statistics,
    randomised,
)

from fewshot_bench import run
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones import conv_64_256, resnet12, resnet18
from fewshot_methods.backbones.conv4_rfs import Conv4Rfs
from fewshot_methods.backbones.residual import drop_block
from fewshot_methods.backbones.wide_resnet import WideResNet, wrn_28_10
from fewshot_methods.maml import Maml, MamlHparams

T, N_IMAGES = 2, 3
SYNTHETIC = f"{Path(__file__).parents[1] / 'support' / 'synthetic_images.py'}:SyntheticImages"
FEW = (16, 32, 16, 48)


class Pair(NamedTuple):
    """A network of ours, the same one of torch's layers, and the side of the images on which they are compared."""

    ours: Callable[..., Backbone]
    plain: Callable[[], Plain]
    side: int


PAIRS = {
    "resnet12": Pair(resnet12.ResNet12, partial(PlainResNet12, 3, FEW, True), 33),
    "resnet12, maps": Pair(partial(resnet12.ResNet12, pooled=False), partial(PlainResNet12, 3, FEW, False), 33),
    "resnet18": Pair(resnet18.ResNet18, partial(PlainResNet18, 3, FEW, False), 18),
    "resnet18, from 84 pixels": Pair(resnet18.ResNet18, partial(PlainResNet18, 3, FEW, True), 84),
    "wide residual network": Pair(partial(WideResNet, depth=16, width=2), partial(PlainWideResNet, 3, 2), 9),
    "conv4-rfs": Pair(Conv4Rfs, partial(PlainConv, 3, (64,) * 4, 3, (True,) * 4, lambda x: x.mean((2, 3))), 17),
    "conv-64-96-128-256": Pair(
        conv_64_256.ConvWidening,
        partial(PlainConv, 3, FEW, 2, (False, False, True, True), lambda x: x.flatten(1)),
        17,
    ),
}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, computed_by: str) -> Pair:
    """Each of them, with few filters, by the kernels and by torch."""
    monkeypatch.setattr(resnet12, "FILTERS", FEW)
    monkeypatch.setattr(conv_64_256, "FILTERS", FEW)
    monkeypatch.setattr(resnet18, "STAGES", dict(zip(resnet18.STAGES, FEW, strict=True)))
    return PAIRS[request.param]


def built(pair: Pair) -> tuple[Backbone, Tensor]:
    """Our network, and images of two tasks."""
    return randomised(pair.ours((3, pair.side, pair.side))), images(T, N_IMAGES, 3, pair.side, pair.side)


@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_embeddings_and_gradients_are_those_of_torchs_layers(pair: Pair, given: bool) -> None:
    """Each task by itself, in training mode or in evaluation mode; statistics handed back change nothing."""
    network, x = built(pair)
    params, statistics = dict(network.named_parameters()), made_up_statistics(network) if given else None
    embedded, used = network.embed(x, params, statistics)
    plain = pair.plain().filled(params, statistics)
    expected = torch.stack([plain(task) for task in x])
    torch.testing.assert_close(embedded, expected)
    assert embedded.shape == (T, N_IMAGES, network.features)
    assert used.keys() == network.channels.keys()
    torch.testing.assert_close(network.embed(x, params, used)[0], embedded)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((embedded * probe).sum(), list(params.values()))
    theirs = torch.autograd.grad((expected * probe).sum(), [plain.place(name) for name in params])
    torch.testing.assert_close(found, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_parameters_of_each_task_equal_a_loop_over_tasks(pair: Pair, given: bool) -> None:
    """With a set of parameters of its own, each task is embedded as by torch's layers with that set."""
    network, x = built(pair)
    generator, statistics = torch.Generator().manual_seed(4), made_up_statistics(network) if given else None
    own = {
        name: p.detach() * (1 + 0.3 * torch.randn(T, *p.shape, dtype=p.dtype, generator=generator))
        for name, p in network.named_parameters()
    }
    embedded, _ = network.embed(x, own, statistics)
    for task in range(T):
        plain = pair.plain().filled({name: p[task] for name, p in own.items()}, statistics)
        torch.testing.assert_close(embedded[task], plain(x[task]))


def resnet12_parameters(channels: int) -> int:
    """Four blocks of three 3x3 convolutions and a 1x1 shortcut, each with a scale and a shift."""
    total = 0
    for before, filters in ((channels, 64), (64, 160), (160, 320), (320, 640)):
        total += 9 * (before * filters + 2 * filters * filters) + before * filters + 4 * 2 * filters
    return total


def resnet18_parameters(channels: int) -> int:
    """The first convolution, eight blocks of two 3x3 convolutions and three 1x1 shortcuts, each with a scale and a shift."""
    total = 9 * channels * 64 + 2 * 64 + 4 * (9 * 64 * 64 + 2 * 64)
    for before, filters in ((64, 128), (128, 256), (256, 512)):
        total += 9 * before * filters + 3 * 9 * filters * filters + before * filters + 5 * 2 * filters
    return total


def wrn_parameters(channels: int) -> int:
    """The first convolution; three groups of four blocks, each a scale and a shift for its input and between its two 3x3
    convolutions, with a 1x1 shortcut in the first; a last scale and shift."""
    total = 9 * channels * 16 + 2 * 640
    for before, filters in ((16, 160), (160, 320), (320, 640)):
        total += 9 * before * filters + 7 * 9 * filters * filters + before * filters
        total += 2 * (before + filters) + 3 * 2 * 2 * filters
    return total


def conv_parameters(channels: int, *filters: int) -> int:
    """3x3 convolutions, each with a scale and a shift."""
    return sum(9 * a * b + 2 * b for a, b in zip((channels, *filters), filters, strict=False))


@pytest.mark.parametrize(
    ("make", "parameters", "features"),
    [
        (resnet12.ResNet12, resnet12_parameters(3), {32: 640, 84: 640}),
        (partial(resnet12.ResNet12, pooled=False), resnet12_parameters(3), {32: 640 * 2 * 2, 84: 16_000}),  # Lee et al.
        (resnet18.ResNet18, resnet18_parameters(3), {32: 512, 84: 512}),
        (wrn_28_10, wrn_parameters(3), {32: 640, 84: 640}),
        (Conv4Rfs, conv_parameters(3, 64, 64, 64, 64), {32: 64, 84: 64}),
        (conv_64_256.ConvWidening, conv_parameters(3, 64, 96, 128, 256), {32: 256 * 6 * 6, 84: 256 * 19 * 19}),
    ],
)
def test_parameters_and_features_are_those_of_the_papers(
    make: Callable[..., Backbone], parameters: int, features: dict[int, int]
) -> None:
    """Counted by hand for CIFAR's and mini-ImageNet's images."""
    for side, expected in features.items():
        with torch.device("meta"):
            network = make((3, side, side))
        assert sum(p.numel() for p in network.parameters()) == parameters
        assert network.features == expected


def test_the_papers_own_counts() -> None:
    """12.4 million of ResNet-12; torchvision's ResNet-18 but for its first and last layer; the paper's 36.5 million of
    WRN-28-10, of which 6,410 are its classifier of ten classes."""
    assert round(resnet12_parameters(3) / 1e6, 1) == 12.4
    assert resnet18_parameters(3) == 11_689_512 - 513 * 1000 - (49 - 9) * 3 * 64
    assert round((wrn_parameters(3) + 641 * 10) / 1e6, 1) == 36.5


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda: resnet12.ResNet12((3, 15, 32)), "15x32 are too small"),
        (lambda: resnet12.ResNet12((3, 32, 32), drop_rate=1.0), "drop_rate"),
        (lambda: resnet12.ResNet12((3, 32, 32), drop_block=0), "drop_block"),
        (lambda: WideResNet((3, 32, 32), depth=27, width=1), "6 k \\+ 4"),
        (lambda: WideResNet((3, 32, 32), depth=10, width=1, dropout=1.5), "dropout"),
        (lambda: Conv4Rfs((3, 7, 32)), "7x32 are too small"),
        (lambda: conv_64_256.ConvWidening((3, 32, 9)), "32x9 are too small"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], Any], refused: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=refused):
        make()


@pytest.mark.parametrize(("size", "side"), [(4, 2), (10, 5), (5, 5), (6, 9)])
def test_drop_block_drops_blocks_and_keeps_the_whole(size: int, side: int) -> None:
    """What is dropped is a union of blocks, as many as the papers' formula makes expect; the rest is scaled by one factor,
    so that the sum stays. A block larger than the maps is the whole map."""
    maps = torch.ones(2, 8, 200, size, size, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = drop_block(maps, 0.1, side)
    side = min(side, size)
    zero, free = kept == 0, size - side + 1
    blocks = zero.unfold(3, side, 1).unfold(4, side, 1).all(-1).all(-1)  # [T, n, C, free, free]: a whole block is zero
    covered = torch.zeros_like(zero)
    for i in range(side):
        for j in range(side):
            covered[..., i : i + free, j : j + free] |= blocks
    assert torch.equal(covered, zero)
    chance = 0.1 / side**2 * size**2 / free**2
    corner = zero[..., 0, 0].double().mean().item()  # one block alone covers a corner
    assert corner == pytest.approx(chance, abs=4 * (chance / zero[..., 0, 0].numel()) ** 0.5)
    torch.testing.assert_close(kept.sum(), maps.sum())
    assert len(kept[kept != 0].unique()) == 1


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (resnet12.ResNet12, 32),
        (resnet12.ResNet12, 84),
        (partial(WideResNet, depth=10, width=1, dropout=0.3), 16),
    ],
)
def test_dropping_acts_in_training_alone(make: Callable[..., Backbone], side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training two passes differ and torch's seed repeats one; in evaluation mode they are the same."""
    monkeypatch.setattr(resnet12, "FILTERS", FEW)
    network, x = make((3, side, side)), torch.rand(1, 2, 3, side, side)
    params = dict(network.named_parameters())

    def embed(seed: int, training: bool) -> Tensor:
        torch.manual_seed(seed)
        return network.train(training).embed(x, params)[0]

    with torch.random.fork_rng(), torch.no_grad():
        assert not torch.equal(embed(0, True), embed(1, True))
        assert torch.equal(embed(0, True), embed(0, True))
        assert torch.equal(embed(0, False), embed(1, False))


def test_options_of_resnet12_are_the_papers_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 5x5 for ImageNet's images and of 2x2 for CIFAR's; a rate of 0 drops nothing."""
    monkeypatch.setattr(resnet12, "FILTERS", FEW)
    assert [resnet12.ResNet12((3, side, side)).drop_block for side in (32, 84)] == [2, 5]
    assert resnet12.ResNet12((3, 84, 84), drop_block=3).drop_block == 3
    network, x = resnet12.ResNet12((3, 32, 32), drop_rate=0.0), torch.rand(1, 2, 3, 32, 32)
    params = dict(network.named_parameters())
    with torch.no_grad():
        assert torch.equal(network.train().embed(x, params)[0], network.eval().embed(x, params)[0])


@pytest.mark.parametrize("pooled", [True, False])
def test_scaled_embeddings_have_mean_squared_distances(pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Lee et al.'s prototypical networks: the squares of differences are averaged, where they were added up."""
    monkeypatch.setattr(resnet12, "FILTERS", FEW)
    x, found = images(1, 2, 3, 33, 33), {}
    for scaled in (False, True):
        network = randomised(resnet12.ResNet12((3, 33, 33), pooled=pooled, scaled=scaled))
        found[scaled] = network.embed(x, dict(network.named_parameters()))[0][0]
    distance = (found[True][0] - found[True][1]).square().sum()
    torch.testing.assert_close(distance, (found[False][0] - found[False][1]).square().mean())


@pytest.mark.parametrize("mode", ["support", "separate"])
def test_mamls_gradient_through_resnet12_is_that_of_finite_differences(
    mode: Normalisation, monkeypatch: pytest.MonkeyPatch, computed_by: str
) -> None:
    """Of second order, through two inner steps: the slope of the loss between two points so near that no value changes its
    sign, along a direction of each parameter's own."""
    monkeypatch.setattr(resnet12, "FILTERS", FEW)
    generator = torch.Generator().manual_seed(5)
    backbone = randomised(resnet12.ResNet12((3, 16, 16), pooled=False))
    info = MethodInfo("classification", 3, 3, (3, 16, 16), 5)
    hparams = build_hparams(MamlHparams, {"inner_lr": 0.01, "inner_steps": 2, "test_inner_steps": 2})
    maml = held(Maml(hparams, info, backbone).double().eval(), Conditions(mode))
    labels = torch.tensor([[0, 1, 2], [2, 0, 1]])
    tasks = Tasks(images(2, 3, 3, 16, 16), labels, images(2, 6, 3, 16, 16).flip(1), labels.repeat(1, 2), 3, torch.arange(2))
    maml.head_weight.data = torch.randn(maml.head_weight.shape, dtype=torch.float64, generator=generator)
    gradients = torch.autograd.grad(maml.loss(tasks).mean(), list(maml.parameters()))
    step, largest = 1e-7, max(float(g.norm()) for g in gradients)
    for (name, parameter), gradient in zip(maml.named_parameters(), gradients, strict=True):
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        direction /= direction.norm()
        value, losses = parameter.data, []
        for sign in (1, -1):
            parameter.data = value + sign * step * direction
            losses.append(maml.loss(tasks).mean().item())
        parameter.data = value
        slope = (losses[0] - losses[1]) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-6 * largest), name


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prototypical-networks", "baseline"])
@pytest.mark.parametrize("backbone", ["resnet12", "resnet18", "wrn-28-10", "conv4-rfs", "conv-64-96-128-256"])
def test_each_network_trains_two_updates_whole(method: str, backbone: str, tmp_path: Path) -> None:
    """At full size, on images of 32 x 32, two ways or two images an update, through the checks before a run and a test."""
    few = {"ways": 2, "queries": 1} if method == "prototypical-networks" else {"batch_size": 2}
    record = run(
        method,
        ways=2,
        dataset=SYNTHETIC,
        backbone=backbone,
        settings={"updates": 2, "validation": "none", **{f"train.{key}": value for key, value in few.items()}},
        protocol="custom",
        episodes=2,
        queries=2,
        out=tmp_path,
        device="cpu",
    )
    assert record.content["training"]["updates"] == 2
    assert 0 <= record.results[0]["mean"] <= 1
