"""The inner loop of gradient-based meta-learning: a few steps of gradient descent on the support of each task.

All tasks of a batch step together: the adapted parameters carry a task axis, and the gradient of the sum of the tasks'
losses is each task's own gradient, because no parameter is shared between two tasks.

Legend: T tasks, S support images, Q query images in all, N ways.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.backbone import Parameters
from fewshot_bench.normalisation import Statistics, merged
from fewshot_bench.specs import Normalisation
from fewshot_bench.tasks import Tasks

Network = Callable[[Tensor, Parameters, Statistics | None], tuple[Tensor, Statistics]]
"""Images [T, n, ...], parameters and statistics -> outputs [T, n, N] and the statistics that were used."""


@dataclass(frozen=True)
class InnerLoop:
    """How tasks adapt. `rates` names the parameters that adapt and their rates; the others stay as they are."""

    network: Network
    mode: Normalisation
    running: Statistics  # used by mode `running` alone
    rates: Mapping[str, float | Tensor]
    steps: int
    second_order: bool

    def adapt(self, tasks: Tasks, params: Parameters) -> tuple[dict[str, Tensor], Statistics | None]:
        """Parameters after `steps` steps on the support, those that adapt with a task axis [T, ...] (Finn et al. 2017,
        eq. 1), and the statistics that the passes gathered (mode `episode-running`)."""
        fast = {name: p.expand(len(tasks), *p.shape) if name in self.rates else p for name, p in params.items()}
        gathered: Statistics | None = None
        with torch.enable_grad():
            if not any(p.requires_grad for p in fast.values()):
                fast = {name: p.detach().requires_grad_() for name, p in fast.items()}
            for step in range(1, self.steps + 1):
                scores, used = self._support_scores(tasks, fast)
                gathered = merged(gathered, used, step) if self.mode == "episode-running" else None
                loss = F.cross_entropy(scores.mT, tasks.support_y, reduction="none").mean(1)  # [T]
                adapting = [fast[name] for name in self.rates]
                # A first-order gradient too passes through the gathered statistics: their graph outlives the step.
                keep = self.second_order or gathered is not None
                grads = torch.autograd.grad(loss.sum(), adapting, retain_graph=keep, create_graph=self.second_order)
                for (name, rate), grad in zip(self.rates.items(), grads, strict=True):
                    fast[name] = fast[name] - rate * grad  # [T, ...]
        return fast, gathered

    def query_scores(self, tasks: Tasks, params: Parameters, gathered: Statistics | None) -> tuple[Tensor, Statistics]:
        """Scores of the queries [T, Q, N] under adapted parameters, and the statistics of the support or of all."""
        size = tasks.support_x.shape[1]
        match self.mode:
            case "running" | "episode-running":
                given = self.running if self.mode == "running" else gathered
                return self.network(tasks.query_x, params, given)
            case "joint":
                scores, used = self.network(torch.cat([tasks.support_x, tasks.query_x], 1), params, None)
                return scores[:, size:], used
            case "support+1":  # each query beside the support alone
                singles = [torch.cat([tasks.support_x, query], 1) for query in torch.split(tasks.query_x, 1, dim=1)]
                passes = [self.network(images, params, None) for images in singles]
                return torch.cat([scores[:, size:] for scores, _ in passes], 1), passes[0][1]
            case "support":
                _, used = self.network(tasks.support_x, params, None)
                return self.network(tasks.query_x, params, used)[0], used
            case _:
                return self.network(tasks.query_x, params, None)

    def _support_scores(self, tasks: Tasks, params: Parameters) -> tuple[Tensor, Statistics]:
        size = tasks.support_x.shape[1]
        if self.mode == "joint":
            scores, used = self.network(torch.cat([tasks.support_x, tasks.query_x], 1), params, None)
            return scores[:, :size], used
        return self.network(tasks.support_x, params, self.running if self.mode == "running" else None)
