"""SNAIL, a simple neural attentive meta-learner (Mishra, Rohaninejad, Chen & Abbeel 2018, https://arxiv.org/abs/1707.03141).

A task is a sequence of labelled images with an unlabelled one at its end. A causal network predicts the label of the last:
temporal convolutions gather the past, attention picks from it. With a sequence of length T = N K + 1 it is (appendix A)

    Attention(64, 32), TC(T, 128), Attention(256, 128), TC(T, 128), Attention(512, 256), FC(N)

    Attention(x; K, V)  = [x, softmax(mask(query key' / sqrt(K))) value]     softmax over the keys of no later place
    Dense(x; R, F)      = [x, tanh(conv(x)) * sigmoid(conv(x))]              causal, width 2, dilation R, F filters
    TC(x; T, F)         = Dense(.; 2^i, F) for i = 1 .. ceil(log2 T)

Only the last place has a loss. One network serves 1 to 5 shots: each update draws its shots uniformly.

What is done here, and what the paper does not say:
- The queries of a task share the activations of its support (`temporal`). Given the embeddings, the result is the same as
  with a sequence for each query. In training all images of a task normalise each other (`joint`); testing uses running
  statistics.
- T is that of the most shots. The last dilation of each TC is T or more, so its weights for the past only meet the zeros
  before the start. They stay, as in the paper's formula.
- The paper's optimiser, updates, batch and initial weights are unknown. Here it is Adam, with torch's own initial weights of
  such layers, except that biases of convolutions start at 0.
- A public port (eambutu/snail-pytorch) normalises attention over the queries; here it is over the keys.
"""

import math
from typing import Any

from torch import nn

from fewshot_bench import Backbone, MethodInfo
from fewshot_methods.temporal import Chain, SequenceMethod


class Snail(SequenceMethod):
    """A backbone, temporal convolutions between attention blocks, and a linear layer."""

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        dilations = tc_dilations(info.largest_support + 1)
        self.chain = Chain(backbone.features + info.ways)
        self.chain.attention(64, 32)
        self.chain.dense(dilations, 128)
        self.chain.attention(256, 128)
        self.chain.dense(dilations, 128)
        self.chain.attention(512, 256)
        self.head = nn.Linear(self.chain.channels, info.ways)


def tc_dilations(length: int) -> list[int]:
    """Dilations of a TC block over a sequence of `length` places: 2, 4, ... 2^ceil(log2(length))."""
    return [2**i for i in range(1, math.ceil(math.log2(length)) + 1)]
