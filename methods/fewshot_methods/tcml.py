"""TCML, meta-learning with temporal convolutions (Mishra, Rohaninejad, Chen & Abbeel 2017, arXiv:1707.03141, version 1).

SNAIL before its attention: a task is a sequence of labelled images with an unlabelled one at its end, whose label a stack
of causal dilated convolutions predicts. Dense blocks append their output to their input:

    Gated(x; R, F)  = tanh(conv(x)) * sigmoid(conv(x))               causal, width 2, dilation R, F filters
    Dense(x; R, F)  = [x, h3],   h1 = Gated(x),  h2 = h1 + Gated(h1),  h3 = h2 + Gated(h2)
    TCML            = Dense(.; R, 128) for R = 1, 2, 4, 8, 16, 1, 2, 4, 8, 16;  FC(512), ReLU, FC(N)

The loss is that of the last place alone. One network serves 1 to 5 shots: each update draws its shots uniformly.

What is done here, and what is not known:
- Version 1 was not at hand. Two public ports of it agree on dense blocks of three convolutions with 128 filters and two
  residuals. The residual outside the gate is the first's (devsisters/TCML-tensorflow; the second adds inside); dilations
  and head are the second's (iwasaki-kenta/keita). The first says that the paper has dilations 1, 2 five times, 4, 8, 16,
  and ends in attention over the support, which no name of the paper suggests.
- The optimiser, updates, batch and initial weights are unknown. The convolutions start here as comparisons
  (`start_as_comparison`): with torch's own initial weights the network was still at chance on glyphs after 645 updates of 8
  tasks.
- The queries of a task share the activations of its support (`temporal`), to the same result as a sequence for each.
"""

import math
from dataclasses import dataclass

from torch import nn

from fewshot_bench.backbone import Backbone
from fewshot_bench.method import MethodInfo
from fewshot_methods.temporal import Chain, Dense, SequenceMethod

FEATURE_GAIN, LABEL_GAIN = 8.0, 16.0
"""Of initial weights, by trials on artificial tasks with features as unlike as those of a fresh backbone (0.3 in deviation):
so the network leaves chance within 100 updates, with gains of 1 after 1,000."""


@dataclass(frozen=True)
class TcmlHparams:
    """Hyper-parameters of TCML."""

    filters: int = 128  # of each convolution
    dilations: int = 5  # of a stack: 1, 2, 4, ...
    stacks: int = 2
    hidden: int = 512  # units of the head

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ValueError(f"filters, dilations, stacks and hidden must be at least 1, got {tuple(vars(self).values())}.")


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


def start_as_comparison(block: Dense, features: int, ways: int) -> None:
    """Initial weights: those for the past are minus those for the present, the images' and labels' own channels weigh more
    than those of blocks before, and h2 and h3 add nothing."""
    for conv in (block.first, *block.residual):
        past, present = conv.weight.data  # each [2F, C]
        bound = math.sqrt(6 / present.shape[1])
        present.uniform_(-bound, bound)
        if conv is block.first:
            present[:, :features] *= FEATURE_GAIN
            present[:, features : features + ways] *= LABEL_GAIN
        else:
            present[: len(present) // 2] = 0  # f
        past.copy_(-present)
