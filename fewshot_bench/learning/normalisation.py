"""Batch normalisation with its statistics in the open: which images normalise which is never left to `train()`/`eval()`.

A pass through a backbone normalises with the statistics that it is given, or with its own, and returns what it used. A
mode then only says which pass gets which statistics (`EmbeddingMethod`, `InnerLoop`):

- `running`: those gathered in training; `support`: the support's, for support and queries;
- `separate`: the support's for the support, the queries' for the queries (Finn et al. 2017); `joint`: support and query
  together (Snell et al. 2017, in training); both are transductive at test;
- `support+1`: each query beside the support alone (Nichol et al. 2018); `episode-running`: reset for each episode, gathered
  in its inner steps (Ravi & Larochelle 2017; here as a plain mean over the steps).

Legend: G groups that share statistics (tasks), M values of a channel in a group (images times places), C channels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_bench.specs import Normalisation

Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Layer name -> mean [G, C] and biased variance [G, C]; G = 1 serves every task."""

TRAIN_MODES: tuple[Normalisation, ...] = ("support", "separate", "joint", "episode-running")


class Moments(torch.autograd.Function):
    """Mean [G, C] and biased variance [G, C] of x [G, M, C], by matrix products: several times faster than
    `torch.var_mean` over a channels-last map on a CPU. Two passes, so no cancellation. Twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        groups, size, _ = x.shape
        ones = x.new_ones(1, 1, size).expand(groups, 1, size)
        mean = torch.bmm(ones, x) / size  # [G, 1, C]
        variance = torch.bmm(ones, (x - mean).square_()) / size  # [G, 1, C]
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        for_mean, for_variance = grads
        slope = for_variance * (2 / x.shape[1])
        return torch.addcmul(for_mean / x.shape[1] - slope * mean, x, slope)  # [G, M, C]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [G, C] of x [G, M, C], one for each group and channel."""
    mean, variance = Moments.apply(x)
    return mean[:, 0], variance[:, 0]


def merged(earlier: Statistics | None, new: Statistics, count: int) -> Statistics:
    """The mean of `count` passes' statistics, after `count - 1` of them gave `earlier`: a cumulative running average."""
    if earlier is None:
        return new
    return {
        name: (mean + (new[name][0] - mean) / count, variance + (new[name][1] - variance) / count)
        for name, (mean, variance) in earlier.items()
    }


class RunningStatistics(nn.Module):
    """Running mean and variance of every layer, updated once in each update from all its tasks, however they were chunked.

    An update's mean is the mean of its tasks' means. Its variance is the mean of their variances plus the variance of their
    means. Both enter with `momentum`. So each task weighs the same; if all hold equally many values, this pools all values.
    """

    def __init__(self, channels: Mapping[str, int], momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.names = tuple(channels)
        for name, size in channels.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_variance", torch.ones(size))
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}
        self._tasks = 0

    def collect(self, statistics: Statistics) -> None:
        """Add one chunk's statistics (G tasks)."""
        for name, (mean, variance) in statistics.items():
            first, second = self._sums.get(name, (torch.zeros_like(mean[0]), torch.zeros_like(mean[0])))
            mean, variance = mean.detach(), variance.detach()
            self._sums[name] = (first + mean.sum(0), second + (variance + mean.square()).sum(0))
        self._tasks += len(next(iter(statistics.values()))[0]) if statistics else 0

    def commit(self) -> None:
        """Let what was collected since the last call enter the running statistics."""
        if not self._tasks:
            return
        for name, (first, second) in self._sums.items():
            mean = first / self._tasks
            getattr(self, f"{name}_mean").lerp_(mean, self.momentum)
            getattr(self, f"{name}_variance").lerp_(second / self._tasks - mean.square(), self.momentum)
        self._sums, self._tasks = {}, 0

    def statistics(self) -> Statistics:
        """The running statistics, shared by every task (G = 1)."""
        return {name: (getattr(self, f"{name}_mean")[None], getattr(self, f"{name}_variance")[None]) for name in self.names}
