"""Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016, https://arxiv.org/abs/1606.04080).

A query takes its label from the support images that resemble it, by attention over the whole support set (eq. 1):

    p(y | x, S) = sum_i a(x, x_i) y_i        a(x, x_i) = softmax_i(cosine(f(x), g(x_i)))

f and g are one network, f' = g'. With `fce`, full contextual embeddings (appendix A), each sees the support set. g is an
LSTM in both directions over the support, f an LSTM that reads the support K times; both add the raw embedding (skip):

    g(x_i, S) = h_i forwards + h_i backwards + g'(x_i)
    h^_k, c_k = LSTM(f'(x), [h_{k-1}, r_{k-1}], c_{k-1})        h_k = h^_k + f'(x)        f(x, S) = h_K
    r_{k-1}   = sum_i softmax_i(h_{k-1} . g(x_i, S)) g(x_i, S)

Scores are log p(y | x, S), so that the cross-entropy of the scores is the paper's loss. Cosines differ by at most 2, so
no probability is below exp(-2 scale) / S, and none is clamped. The cosine of a zero vector is 0.

What the paper does not say, and what is done here:
- Training normalises support and query of an episode together (`joint`), testing uses running statistics.
- h_0 and c_0 are 0, so r_0 is the mean of g. The re-run of Ravi & Larochelle (code twitter/meta-learning-lstm) starts from
  it too. K = 3 is theirs. The weights of the LSTMs start uniform within 1 / sqrt(D), and there is one bias for each gate.
- Embeddings that end in a ReLU have cosines from 0 to 1. The right class of N then gets at most e / (e + N - 1), and
  training is slow. (A public port, oscarknagg/few-shot, reaches 92.0 % on Omniglot 5-way 1-shot, where the paper prints 98.1
  %.) `scale` multiplies the cosines: 1 is the paper's equation, the code of Chen et al. 2019 takes 100, our own recipes take
  10.
- The re-run adds up the cosines of a class before a softmax over the classes. The paper's attention is over the images, and
  so it is here. The two are equal only at one shot. The re-run's dropout is left out.
- The order of the support matters only to g's LSTM. The class declares `support_order_invariant` for `fce` off, the default;
  with `fce` on, the method object declares False.

Legend: T tasks, S support images, Q query images in all, N ways, D features, M rows, L LSTMs side by side.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fewshot_bench import Backbone, EmbeddingMethod, MethodInfo, Steps

LARGEST_SCALE = 40.0
"""With a larger scale a probability could be too small for float32, and its logarithm infinite."""


@dataclass(frozen=True)
class MatchingHparams:
    """Hyper-parameters of matching networks."""

    fce: bool = False  # full contextual embeddings
    read_steps: Steps = 3  # K: how often f reads the support; needs fce=true
    scale: Annotated[float, Field(gt=0, le=LARGEST_SCALE)] = 1.0  # factor of the cosines; the paper has none, which is 1


class MatchingNetworks(EmbeddingMethod):
    """Attention over the support by cosine similarity, in a learned space."""

    Hparams = MatchingHparams

    def __init__(self, hparams: MatchingHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        if hparams.fce:
            self.support_order_invariant = False  # type: ignore[misc]  # the class declares it for its default
            self.g = Lstms(2, backbone.features, backbone.features)  # forwards and backwards
            self.f = Lstms(1, backbone.features, 2 * backbone.features)

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Log-probability of each way [T, Q, N]."""
        if self.hparams.fce:
            support = self.embed_support(support)
            query = self.embed_query(query, support)
        attention = F.softmax(self.hparams.scale * cosines(query, support), -1)  # [T, Q, S]
        probability: Tensor = attention @ F.one_hot(support_y, ways).to(attention.dtype)
        return probability.log()

    def embed_support(self, raw: Tensor) -> Tensor:
        """g(x_i, S) of all support images [T, S, D], given their raw embeddings g' (appendix A.2)."""
        inputs = self.g.inputs(torch.stack([raw, raw.flip(1)]))  # [2, T, S, 4D]
        h = c = raw.new_zeros(2, len(raw), raw.shape[2])
        outputs = []
        for place in range(raw.shape[1]):
            h, c = self.g.step(inputs[:, :, place], h, c)  # [2, T, D]
            outputs.append(h)
        forwards, backwards = torch.stack(outputs, 2).unbind()  # [T, S, D]
        return forwards + backwards.flip(1) + raw

    def embed_query(self, raw: Tensor, support: Tensor) -> Tensor:
        """f(x, S) of each query [T, Q, D] by itself, given its raw embedding f' and g [T, S, D] (appendix A.1)."""
        inputs = self.f.inputs(raw[None])  # [1, T, Q, 4D]
        h = c = torch.zeros_like(raw)
        for _ in range(self.hparams.read_steps):
            read = F.softmax(h @ support.mT, -1) @ support  # [T, Q, D]
            state = torch.cat([h, read], -1)  # [T, Q, 2D]
            (output,), (c,) = self.f.step(inputs, state[None], c[None])
            h = output + raw
        return h


class Lstms(nn.Module):
    """L LSTMs of D units side by side, each with its own weights. Their state, of D or more values, is passed in.

    The gates input, forget, output and the candidate are x W + state U + b, in this order.
    """

    def __init__(self, count: int, units: int, state: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(units)
        self.weight_input = nn.Parameter(torch.empty(count, units, 4 * units).uniform_(-bound, bound))
        self.weight_state = nn.Parameter(torch.empty(count, state, 4 * units).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, 1, 4 * units).uniform_(-bound, bound))

    def inputs(self, x: Tensor) -> Tensor:
        """The inputs' part of the gates: x [L, T, M, D] -> [L, T, M, 4D]."""
        rows = torch.baddbmm(self.bias, x.flatten(1, 2), self.weight_input)
        return rows.view(*x.shape[:3], -1)

    def step(self, inputs: Tensor, state: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Output and next cell [L, ..., D], given the inputs' part [L, ..., 4D], the state [L, ..., state] and the cell."""
        shape = inputs.shape
        gates = inputs + (state.flatten(1, -2) @ self.weight_state).view(shape)
        i, forget, o, candidate = gates.chunk(4, -1)
        c = forget.sigmoid() * c + i.sigmoid() * candidate.tanh()
        return o.sigmoid() * c.tanh(), c


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between each of a [T, Q, D] and each of b [T, S, D]: [T, Q, S]."""
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT
