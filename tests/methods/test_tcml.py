"""TCML has the layers that its docstring states; its blocks are tested in `test_temporal`."""

import pytest
import torch

from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4_fc import conv4_64_fc64
from fewshot_methods.backbones.resnet_snail import ResnetSnail
from fewshot_methods.tcml import Tcml, TcmlHparams
from fewshot_methods.temporal import Dense


def build(ways: int, hparams: TcmlHparams | None = None) -> Tcml:
    """TCML for Omniglot with up to 5 shots."""
    info = MethodInfo("classification", ways, ways * 5, (1, 28, 28), 10)
    return Tcml(hparams or TcmlHparams(), info, conv4_64_fc64((1, 28, 28)))


def dense_blocks(method: Tcml) -> list[Dense]:
    """Those of its chain, which has no others."""
    blocks = [block for block in method.chain.blocks if isinstance(block, Dense)]
    assert len(blocks) == len(method.chain.blocks)
    return blocks


def test_two_stacks_of_dilations_and_no_attention() -> None:
    """Dilations 1, 2, 4, 8, 16 twice, three convolutions each."""
    blocks = dense_blocks(build(5))
    assert [block.first.dilation for block in blocks] == [1, 2, 4, 8, 16] * 2
    assert all(len(block.residual) == 2 for block in blocks)


@pytest.mark.parametrize("ways", [5, 20])
def test_parameters_are_those_of_the_layer_table(ways: int) -> None:
    """A dense block: a convolution of width 2 from all channels so far to f and g, two from 128; then 512 units and N."""
    channels = 64 + ways
    blocks = sum(256 * (2 * (channels + 128 * i) + 1) + 2 * 256 * (2 * 128 + 1) for i in range(10))
    head = (channels + 1280 + 1) * 512 + 513 * ways
    embedding = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64 + 65 * 64
    assert sum(p.numel() for p in build(ways).parameters()) == embedding + blocks + head


def test_the_network_for_mini_imagenet_has_the_residual_embedding() -> None:
    """Of 3,544,512 parameters and 384 features, which with five labels enter the ten dense blocks."""
    info = MethodInfo("classification", 5, 25, (3, 84, 84), 64)
    method = Tcml(TcmlHparams(), info, ResnetSnail((3, 84, 84)))
    blocks = sum(256 * (2 * (389 + 128 * i) + 1) + 2 * 256 * 257 for i in range(10))
    assert sum(p.numel() for p in method.parameters()) == 3_544_512 + blocks + (389 + 1280 + 1) * 512 + 513 * 5


@pytest.mark.parametrize("ways", [5, 20])
def test_the_query_sees_the_first_image_of_the_longest_sequence(ways: int) -> None:
    """At 5 shots every support image has an effect on the query's score: the stacks reach back far enough."""
    method, size = build(ways).double(), ways * 5
    for parameter in method.chain.parameters():  # away from the start, where some convolutions add nothing
        parameter.data.normal_(std=0.1)
    support = torch.randn(1, size, 64, dtype=torch.float64, requires_grad=True)
    labels, query = torch.arange(size)[None] % ways, torch.randn(1, 1, 64, dtype=torch.float64)
    (by_support,) = torch.autograd.grad(method.compare(support, labels, query, ways).sum(), support)
    assert (by_support.abs().sum(2) > 0).all()


def test_a_block_starts_by_telling_the_label_of_a_place_the_more_the_liker_that_place_is() -> None:
    """h3 = h2, in which the past place's class alone is carried, and falls as its image moves away."""
    ways, features = 5, 64
    for block in build(ways).double().chain.blocks:
        reach, rest = block.first.dilation, block.first.weight.shape[2] - features - ways
        x = torch.zeros(6, reach + 1, features + ways + rest, dtype=torch.float64)
        x[:, 0, :features] = torch.linspace(0, 2, 6)[:, None] * torch.randn(features) / 8  # away from the last place's zeros
        x[:, 0, features + 3] = 1
        h3 = block(x, reach)[:, -1]
        h1 = block.first(x, reach)
        h2 = (h1 + block.residual[0](h1, reach))[:, -1]
        torch.testing.assert_close(h3, h2, rtol=0, atol=0)
        carried = h2[:, : 6 * ways].reshape(6, -1, ways)  # 128 filters carry each of 5 labels 6 times
        assert (carried[:, :, 3].diff(dim=0) < 0).all()
        assert (carried[:, :, [0, 1, 2, 4]] == 0).all()


def test_a_pair_of_filters_starts_as_a_square() -> None:
    """tanh(z) tanh(z/2), by the closed form of the docstring, of z the images' difference along one direction."""
    block = dense_blocks(build(5).double())[0]
    past, image = torch.randn(2, 64, dtype=torch.float64)
    x = torch.nn.functional.pad(torch.stack([past, image])[None], (0, 5))
    h1 = block.first(x, 1)[0, 1]
    directions = block.first.weight[0, 30 : 30 + 49, :64]
    z = directions @ (past - image)
    torch.testing.assert_close(h1[30 : 30 + 49] + h1[30 + 49 : 30 + 98], z.tanh() * (z / 2).tanh())


def test_few_filters_carry_what_labels_they_can() -> None:
    """Fewer filters than classes are no error."""
    method = build(5, TcmlHparams(filters=3, dilations=1, stacks=1))
    assert method.compare(torch.randn(1, 5, 64), torch.arange(5)[None], torch.randn(1, 2, 64), 5).isfinite().all()


def test_features_are_divided_by_the_root_of_their_number() -> None:
    """64 of them by 8; labels stay 0 or 1."""
    method, seen = build(5), []
    method.chain.register_forward_pre_hook(lambda chain, inputs: seen.append(inputs[0]))
    support, query = torch.randn(1, 5, 64), torch.randn(1, 2, 64)
    method.compare(support, torch.arange(5)[None], query, 5)
    torch.testing.assert_close(seen[0][:, :, :64], torch.cat([support, query], 1) / 8)
    assert seen[0][:, :, 64:].unique().tolist() == [0, 1]


@pytest.mark.parametrize("name", ["filters", "dilations", "stacks", "hidden"])
def test_sizes_below_one_are_refused(name: str) -> None:
    """The error names the key and the value."""
    with pytest.raises(UsageError, match=f"{name} must be a whole number .* got 0"):
        build_hparams(TcmlHparams, {name: 0})
