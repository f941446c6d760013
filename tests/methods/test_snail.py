"""SNAIL has the layers of the paper's appendix; its blocks are tested in `test_temporal`."""

import pytest

from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import MethodInfo, NoHparams
from fewshot_bench.request import Request, TestRequest
from fewshot_bench.runs.requests.resolve import another_test, resolve
from fewshot_methods.backbones.conv4_fc import conv4_64_fc64
from fewshot_methods.backbones.resnet_snail import ResnetSnail
from fewshot_methods.snail import Snail, tc_dilations


def build(ways: int, shots: int) -> Snail:
    """SNAIL for Omniglot."""
    info = MethodInfo("classification", ways, ways * shots, (1, 28, 28), 10)
    return Snail(NoHparams(), info, conv4_64_fc64((1, 28, 28)))


def build_for_mini_imagenet() -> Snail:
    """SNAIL for 1 to 5 shots of five ways."""
    info = MethodInfo("classification", 5, 25, (3, 84, 84), 64)
    return Snail(NoHparams(), info, ResnetSnail((3, 84, 84)))


@pytest.mark.parametrize(
    ("length", "dilations"),
    [
        (6, [2, 4, 8]),
        (16, [2, 4, 8, 16]),
        (21, [2, 4, 8, 16, 32]),
        (26, [2, 4, 8, 16, 32]),
        (101, [2, 4, 8, 16, 32, 64, 128]),
    ],
)
def test_dilations_double_until_they_span_the_sequence(length: int, dilations: list[int]) -> None:
    """TC(T, F) has dilations 2^i for i = 1 to ceil(log2 T)."""
    assert tc_dilations(length) == dilations


def attention(channels: int, key: int, value: int) -> int:
    """Parameters of Attention(K, V): three affine maps."""
    return (channels + 1) * (key + key + value)


def convolutions(channels: int, blocks: int) -> int:
    """Parameters of a TC block of 128 filters: two convolutions of width 2, with biases, for each dense block."""
    return sum(2 * (2 * (channels + 128 * i) + 1) * 128 for i in range(blocks))


@pytest.mark.parametrize(("ways", "shots", "blocks"), [(5, 1, 3), (5, 5, 5), (20, 5, 7)])
def test_parameters_are_those_of_the_papers_table(ways: int, shots: int, blocks: int) -> None:
    """Attention(64, 32), TC(T, 128), Attention(256, 128), TC(T, 128), Attention(512, 256), FC(N), counted by hand."""
    first = 64 + ways  # channels: an embedding and a one-hot label
    second = first + 32
    third = second + blocks * 128
    fourth = third + 128
    fifth = fourth + blocks * 128
    expected = attention(first, 64, 32) + convolutions(second, blocks) + attention(third, 256, 128)
    expected += convolutions(fourth, blocks) + attention(fifth, 512, 256) + (fifth + 256 + 1) * ways
    method = build(ways, shots)
    layers = [*method.chain.parameters(), *method.head.parameters()]
    assert sum(p.numel() for p in layers) == expected


def test_the_5_way_network_of_1_to_5_shots_has_6_3_million_parameters() -> None:
    """The same count in numbers: embedding 112,320 + 4,160; the rest from channels 69, 101, 741, 869, 1509 and 1765."""
    embedding = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64 + 65 * 64
    attentions = 70 * 160 + 742 * 640 + 1510 * 1280
    convs = 256 * (2 * (101 + 229 + 357 + 485 + 613) + 5) + 256 * (2 * (869 + 997 + 1125 + 1253 + 1381) + 5)
    assert sum(p.numel() for p in build(5, 5).parameters()) == embedding + attentions + convs + 1766 * 5


def test_the_network_for_mini_imagenet_has_12_million_parameters() -> None:
    """Four residual blocks, 2048 and 384 units (3,544,512); then channels 389, 421, 1061, 1189, 1829 and 2085."""
    attentions = 390 * 160 + 1062 * 640 + 1830 * 1280
    convs = 256 * (2 * (421 + 549 + 677 + 805 + 933) + 5) + 256 * (2 * (1189 + 1317 + 1445 + 1573 + 1701) + 5)
    assert sum(p.numel() for p in build_for_mini_imagenet().parameters()) == 3_544_512 + attentions + convs + 2086 * 5


@pytest.mark.parametrize("name", ["snail", "tcml"])
def test_more_shots_than_it_is_built_for_are_refused(name: str) -> None:
    """The recipe trains up to 5 shots: a 6-shot run is refused before any work, and a 6-shot test of a 5-shot run too."""
    with pytest.raises(UsageError, match="trained with up to 5 shots, it cannot be tested with 6"):
        resolve(Request(name, "glyphs", 5, 6))
    run = resolve(Request(name, "glyphs", 5, 1))
    assert run.train.largest_shots == 5
    another_test(run, TestRequest(shots=5), run.test)
    with pytest.raises(UsageError, match="it cannot be tested with 6"):
        another_test(run, TestRequest(shots=6), run.test)
