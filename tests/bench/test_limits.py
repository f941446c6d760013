"""Limits against closed forms written out by hand, and the counts of convolutions against torch's own counter."""

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fewshot_bench.bench import limits
from fewshot_bench.bench.limits import CONV4_64, LayerSeconds
from fewshot_bench.bench.works import EPISODE, TRAINING

FIRST = 28 * 28 * 9 * 1 * 64 * 2
REST = [14 * 14 * 9 * 64 * 64 * 2, 7 * 7 * 9 * 64 * 64 * 2, 3 * 3 * 9 * 64 * 64 * 2]
MAPS = 64 * (28 * 28 + 14 * 14 + 7 * 7 + 3 * 3)  # values that Conv4-64 makes of an image before pooling


@dataclass(frozen=True)
class Given:
    """A machine by its two figures."""

    layers: tuple[LayerSeconds, ...]
    bandwidth_gbs: float


COMPUTING = Given(tuple(LayerSeconds(layer.flops, layer.passes * layer.flops) for layer in CONV4_64), math.inf)
"""One operation a second, and memory that costs nothing."""
MOVING = Given((LayerSeconds(0, 0),) * 4, 1e-9)
"""One byte a second, and convolutions that cost nothing."""


def test_each_layer_takes_the_operations_that_its_shape_says() -> None:
    """0.90, 14.45, 3.61 and 0.66 million an image."""
    assert [layer.flops for layer in CONV4_64] == [FIRST, *REST]


def test_a_prototypical_episode_takes_a_pass_of_each_image() -> None:
    """360 images: three convolutions in each layer, two in the first, whose images have no gradient."""
    operations = 360 * (2 * FIRST + 3 * sum(REST))
    assert 1 / limits.prototypical_training(COMPUTING, TRAINING) == pytest.approx(operations)
    assert operations / 1e9 == pytest.approx(20.9, abs=0.1)


def test_a_maml_task_takes_a_pass_of_each_query_and_three_of_each_support_image() -> None:
    """75 queries and 5 support images, whose nine convolutions a layer are four in the first."""
    operations = 75 * (2 * FIRST + 3 * sum(REST)) + 5 * (4 * FIRST + 9 * sum(REST))
    assert 1 / limits.maml_training(COMPUTING, EPISODE) == pytest.approx(operations)
    assert operations / 1e9 == pytest.approx(5.2, abs=0.1)


def test_a_maml_test_adapts_three_times_and_embeds_its_queries_once() -> None:
    """First order: three passes of the support forward and backward."""
    operations = 75 * (FIRST + sum(REST)) + 3 * 5 * (2 * FIRST + 3 * sum(REST))
    assert 1 / limits.maml_test(COMPUTING, EPISODE) == pytest.approx(operations)


def test_a_prototypical_test_embeds_each_image_once() -> None:
    """However often it occurs."""
    assert 2000 / limits.prototypical_test(COMPUTING, 2000, 33_000) == pytest.approx(33_000 * (FIRST + sum(REST)))


def test_training_moves_each_map_three_and_a_half_times() -> None:
    """Read, a quarter written; read with a quarter of a gradient, and its gradient written."""
    assert 1 / limits.prototypical_training(MOVING, TRAINING) == pytest.approx(360 * MAPS * 4 * 3.5)
    images = 75 * MAPS + 5 * (2 * 64 * 28 * 28 + 3 * (MAPS - 64 * 28 * 28))
    assert 1 / limits.maml_training(MOVING, EPISODE) == pytest.approx(images * 4 * 3.5)
    assert 1 / limits.maml_test(MOVING, EPISODE) == pytest.approx((15 * 3.5 + 75 * 1.25) * MAPS * 4)


def test_scoring_moves_80_embeddings_of_64_values() -> None:
    """Read and written."""
    assert 1 / limits.scoring(MOVING, EPISODE) == pytest.approx(80 * 64 * 4 * 2)


@pytest.mark.parametrize("second_order", [False, True])
def test_the_convolutions_of_an_inner_step_are_as_many_as_torch_counts(second_order: bool) -> None:
    """Of a layer on images and one on maps: a pass forward and backward, or one that is differentiated again, where torch
    makes the images' own gradient as well, which nobody needs."""
    small = [limits.Layer(1, 4), limits.Layer(64, 4)]
    images = torch.ones(2, 1, 4, 4)
    weights = [torch.full((64, layer.channels, 3, 3), 0.01, requires_grad=True) for layer in small]

    def loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(images, first, padding=1).sin(), second, padding=1).sin().sum()

    with FlopCounterMode(display=False) as counter:
        value = loss(*weights)
        grads = torch.autograd.grad(value, weights, create_graph=second_order)
        if second_order:
            torch.autograd.grad(grads, weights, grad_outputs=[torch.ones_like(g) for g in grads])
    passes = [layer.passes * (layer.second_order if second_order else 1) for layer in small]
    counted = sum(count * layer.flops for count, layer in zip(passes, small, strict=True))
    assert counter.get_total_flops() == 2 * (counted + small[0].flops * second_order)
