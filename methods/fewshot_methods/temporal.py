"""Sequences of labelled images, and the causal blocks that read them: what TCML and SNAIL share (Mishra et al. 2017, 2018).

Each query of a task ends a sequence of its own: (x1, y1), ..., (xS, yS), (xq, -). All blocks are causal, so the support's
activations are the same in all sequences of a task, and they are computed once. Places 0 to S-1 are the support; each sees
those before it. Places S to S+Q-1 are the queries; each sees the support and itself. These are S + Q places, where Q
sequences would have Q (S + 1), with the same result once images are embedded.

Legend: T tasks, S support images, Q query images in all, P = S + Q places, N ways, D features, C channels, F filters,
K size of a key, V size of a value, R dilation.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import EmbeddingMethod


class SequenceMethod(EmbeddingMethod):
    """A backbone, a chain of causal blocks and a head; a subclass sets `chain` and `head`."""

    fixed_ways = True  # a label is a channel of the input
    fixed_support = True  # the chain reaches back as far as the longest sequence needs
    way_equivariant = False
    support_order_invariant = False
    chain: "Chain"
    head: nn.Module
    """Channels -> scores [..., N]."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [T, Q, N]: the head at the queries' places."""
        size = support.shape[1]
        places = self.chain(sequence(support, support_y, query, ways), size)  # [T, P, C]
        scores: Tensor = self.head(places[:, size:])
        return scores


def sequence(support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
    """The places [T, P, D+N]: each support image beside its own label, one-hot; each query beside zeros."""
    labels = F.pad(F.one_hot(support_y, ways), (0, 0, 0, query.shape[1]))  # [T, P, N]
    return torch.cat([torch.cat([support, query], 1), labels.to(support)], 2)


class Chain(nn.Module):
    """Blocks one after the other, each of which appends channels to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        """The channels of its output so far."""
        self.blocks = nn.ModuleList()

    def attention(self, key_size: int, value_size: int) -> None:
        """Append an attention block."""
        self._append(Attention(self.channels, key_size, value_size), value_size)

    def dense(self, dilations: Iterable[int], filters: int, residual: int = 0) -> None:
        """Append a dense block for each dilation."""
        for dilation in dilations:
            self._append(Dense(self.channels, filters, dilation, residual), filters)

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Places x [T, P, C], of which the first `size` are the support -> [T, P, channels]."""
        for block in self.blocks:
            x = torch.cat([x, block(x, size)], 2)
        return x

    def _append(self, block: nn.Module, channels: int) -> None:
        self.blocks.append(block)
        self.channels += channels


class Dense(nn.Module):
    """A gated causal convolution, and `residual` more that are each added to what they are given."""

    def __init__(self, channels: int, filters: int, dilation: int, residual: int = 0) -> None:
        super().__init__()
        self.first = GatedConv(channels, filters, dilation)
        self.residual = nn.ModuleList(GatedConv(filters, filters, dilation) for _ in range(residual))

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Places x [T, P, C], of which the first `size` are the support -> [T, P, F]."""
        x = self.first(x, size)
        for conv in self.residual:
            x = x + conv(x, size)
        return x


class GatedConv(nn.Module):
    """Causal convolution of width 2 and dilation R with a gate, tanh(f) * sigmoid(g): f and g at place t are linear in the
    inputs at places t - R (zeros before the start) and t."""

    def __init__(self, channels: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        bound = 1 / math.sqrt(2 * channels)  # torch's own of such a layer
        self.weight = nn.Parameter(torch.empty(2, 2 * filters, channels).uniform_(-bound, bound))  # past, present; to f, g
        self.bias = nn.Parameter(torch.zeros(2 * filters))

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Places x [T, P, C], of which the first `size` are the support -> [T, P, F]."""
        out = F.linear(x, self.weight[1], self.bias)  # [T, P, 2F]
        if (reach := size + 1 - self.dilation) > 0:
            past = F.linear(x[:, :reach], self.weight[0])  # [T, S+1-R, 2F], the last of them for every query
            queries = past[:, -1:].expand(-1, x.shape[1] - size, -1)
            out = out + F.pad(torch.cat([past[:, :-1], queries], 1), (0, 0, self.dilation, 0))
        content, gate = out.chunk(2, 2)
        return content.tanh() * gate.sigmoid()


class Attention(nn.Module):
    """Each place reads the values of those before it and its own, weighted by a softmax over their keys."""

    def __init__(self, channels: int, key_size: int, value_size: int) -> None:
        super().__init__()
        self.sizes = (key_size, key_size, value_size)
        self.project = nn.Linear(channels, sum(self.sizes))

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Places x [T, P, C], of which the first `size` are the support -> [T, P, V]."""
        query, key, value = self.project(x).split(self.sizes, 2)  # [T, P, K], [T, P, K], [T, P, V]
        own = (query * key).sum(2, keepdim=True)  # [T, P, 1]
        logits = torch.cat([query @ key[:, :size].mT, own], 2) / math.sqrt(self.sizes[0])  # [T, P, S+1]
        seen = torch.ones_like(logits[0], dtype=torch.bool).tril()  # a support place sees itself among the S
        weights = logits.masked_fill(~seen, -torch.inf).softmax(2)
        read: Tensor = weights[:, :, :size] @ value[:, :size] + weights[:, :, size:] * value
        return read
