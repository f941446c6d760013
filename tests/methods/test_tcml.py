"""TCML has the layers that its docstring states; its blocks are tested in `test_temporal`."""

import pytest
import torch

from fewshot_bench.method import MethodInfo
from fewshot_methods.backbones.conv4_fc import conv4_64_fc64
from fewshot_methods.tcml import Tcml, TcmlHparams
from fewshot_methods.temporal import Attention, Dense


def build(ways: int, hparams: TcmlHparams | None = None) -> Tcml:
    """TCML for Omniglot with up to 5 shots."""
    info = MethodInfo("classification", ways, ways * 5, (1, 28, 28), 10)
    return Tcml(hparams or TcmlHparams(), info, conv4_64_fc64((1, 28, 28)))


def test_two_stacks_of_dilations_and_no_attention() -> None:
    """Dilations 1, 2, 4, 8, 16 twice, three convolutions each."""
    blocks = list(build(5).chain.blocks)
    assert [block.first.dilation for block in blocks if isinstance(block, Dense)] == [1, 2, 4, 8, 16] * 2
    assert all(len(block.residual) == 2 for block in blocks if isinstance(block, Dense))
    assert not any(isinstance(block, Attention) for block in blocks)


@pytest.mark.parametrize("ways", [5, 20])
def test_parameters_are_those_of_the_layer_table(ways: int) -> None:
    """A dense block: a convolution of width 2 from all channels so far to f and g, two from 128; then 512 units and N."""
    channels = 64 + ways
    blocks = sum(256 * (2 * (channels + 128 * i) + 1) + 2 * 256 * (2 * 128 + 1) for i in range(10))
    head = (channels + 1280 + 1) * 512 + 513 * ways
    embedding = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64 + 65 * 64
    assert sum(p.numel() for p in build(ways).parameters()) == embedding + blocks + head


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


def test_convolutions_start_as_comparisons() -> None:
    """A place like the one before gives what the bias does; labels weigh more than images; residual ones add nothing."""
    method = build(5)
    for block in method.chain.blocks:
        past, present = block.first.weight
        torch.testing.assert_close(past, -present, rtol=0, atol=0)
        images, labels, blocks = present.split([64, 5, present.shape[1] - 69], 1)
        assert 1.5 < labels.std() / images.std() < 2.5
        assert not blocks.numel() or 6 < images.std() / blocks.std() < 10
        x = torch.randn(1, 9, present.shape[1])
        torch.testing.assert_close(block(x, 9), block.first(x, 9), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["filters", "dilations", "stacks", "hidden"])
def test_sizes_below_one_are_refused(name: str) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match="must be at least 1"):
        TcmlHparams(**{name: 0})
