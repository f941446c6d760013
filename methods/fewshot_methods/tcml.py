"""TCML, meta-learning with temporal convolutions (Mishra, Rohaninejad, Chen & Abbeel 2017, arXiv:1707.03141, version 1).

SNAIL before it had attention. A task is a sequence of labelled images with an unlabelled one at its end, and a stack of
causal dilated convolutions predicts the label of the last. Dense blocks append their output to their input:

    Gated(x; R, F)  = tanh(conv(x)) * sigmoid(conv(x))               causal, width 2, dilation R, F filters
    Dense(x; R, F)  = [x, h3],   h1 = Gated(x),  h2 = h1 + Gated(h1),  h3 = h2 + Gated(h2)
    TCML            = Dense(.; R, 128) for R = 1, 2, 4, 8, 16, 1, 2, 4, 8, 16;  FC(512), ReLU, FC(N)

Only the last place has a loss. One network serves 1 to 5 shots: each update draws its shots uniformly.

What is done here, and what is not known:
- Version 1 of the paper was not available to us. Two public ports of it agree on dense blocks of three convolutions with 128
  filters and two residuals. The residual outside the gate is from the first (devsisters/TCML-tensorflow; the second adds
  inside); dilations and head are from the second (iwasaki-kenta/keita). The first says that the paper has dilations 1, 2
  five times, 4, 8, 16, and ends in attention over the support, which nothing in the paper's title suggests.
- The optimiser, updates, batch and initial weights are unknown. The network starts as a comparison (`start_as_comparison`),
  and features are divided by the root of their number. A step of Adam moves all weights of an image's features alike, which
  hid its differences to others. Without either it stayed at chance, on glyphs for 600 updates and on CIFAR-FS throughout.
- The queries of a task share the activations of its support (`temporal`). Given the embeddings, the result is the same as
  with a sequence for each query. In training all images of a task normalise each other (`joint`); testing uses running
  statistics.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fewshot_bench import Backbone, MethodInfo
from fewshot_methods.temporal import Chain, Dense, GatedConv, SequenceMethod

DIFFERENCE_GAIN, LABEL_GAIN, COPY_GAIN, SQUARES_GAIN = 1.5, 2.0, 4.0, 15.0
"""The scale of initial weights. With it tanh and sigmoid are neither linear nor saturated where features differ between two
images by 0.5 (fresh conv4-64-fc64) to 0.9 (conv4-64)."""
MEAN_SQUARE = 0.26
"""Mean of tanh(z) tanh(z/2) for z from N(0, 1)."""


@dataclass(frozen=True)
class TcmlHparams:
    """Hyper-parameters of TCML."""

    filters: PositiveInt = 128  # filters of each convolution
    dilations: Annotated[int, Field(ge=1, le=60)] = 5  # number of dilations in a stack: 1, 2, 4, ...
    stacks: Annotated[int, Field(ge=1, le=60)] = 2  # number of stacks of dilated blocks, one after another
    hidden: PositiveInt = 512  # units of the head


class Tcml(SequenceMethod):
    """A backbone, dense blocks of temporal convolutions, and a head of two layers."""

    Hparams = TcmlHparams

    def __init__(self, hparams: TcmlHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        dilations = [2**i for i in range(hparams.dilations)]
        self.chain = Chain(backbone.features + info.ways)
        for _ in range(hparams.stacks):
            self.chain.dense(dilations, hparams.filters, residual=2)
        for block in self.chain.blocks:
            assert isinstance(block, Dense)
            start_as_comparison(block, backbone.features, info.ways)
        self.head = nn.Sequential(
            nn.Linear(self.chain.channels, hparams.hidden), nn.ReLU(), nn.Linear(hparams.hidden, info.ways)
        )

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [T, Q, N], from features divided by the root of their number."""
        scale = math.sqrt(support.shape[2])
        return super().compare(support / scale, support_y, query / scale, ways)


def start_as_comparison(block: Dense, features: int, ways: int) -> None:
    """Initial weights that compare each place with the place R before it: h2 is the earlier one's label, gated by their
    likeness.

    The filters of h1 carry the label, then differences z of the images along random directions, and as many of -z. Their
    gates see the same z, so that a pair adds up to a square: tanh(z) sigmoid(z) + tanh(-z) sigmoid(-z) = tanh(z) tanh(z/2).
    The other weights, such as those of blocks before, are small as torch starts them or zero.
    """
    filters = block.first.weight.shape[1] // 2
    carriers = min(filters, max(1, filters // (4 * ways)) * ways)
    pairs = (filters - carriers) // 2
    labels = slice(features, features + ways)
    past, present = block.first.weight.data  # each [2F, C]: contents, gates
    past[:, : labels.stop] = present[:, : labels.stop] = 0
    past[:carriers, labels] = LABEL_GAIN * torch.eye(ways).repeat(1 + carriers // ways, 1)[:carriers]
    z = DIFFERENCE_GAIN * torch.randn(pairs, features)
    for start in (carriers, filters + carriers):
        z_rows = slice(start, start + 2 * pairs)
        past[z_rows, :features] = torch.cat([z, -z])
        present[z_rows, :features] = torch.cat([-z, z])

    second, third = list(block.residual)
    assert isinstance(second, GatedConv)
    assert isinstance(third, GatedConv)
    second.weight.data.zero_()
    _, present = second.weight.data
    present[:carriers, :carriers] = COPY_GAIN * torch.eye(carriers)
    weights = 2 * SQUARES_GAIN / max(1, pairs) * torch.rand(carriers, pairs)
    present[filters : filters + carriers, carriers : carriers + 2 * pairs] = -torch.cat([weights, weights], 1)
    second.bias.data[filters : filters + carriers] = SQUARES_GAIN * MEAN_SQUARE
    third.weight.data[:, :filters] = 0  # h3 = h2
