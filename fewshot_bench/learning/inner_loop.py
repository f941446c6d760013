"""The inner loop of gradient-based meta-learning: a few steps of gradient descent on the support of each task.

All tasks of a batch step together: the adapted parameters carry a task axis, and the gradient of the sum of the tasks'
losses is each task's own gradient, because no parameter is shared between two tasks.

A method says what adapts in each step and how (`InnerLoop`'s fields). MAML is `rates` of one number, Meta-SGD `rates` of
learned tensors, ANIL `rates` of the head alone, MT-net a mask as `direction` and a network that transforms its activations.

Legend: T tasks, S support images, Q query images in all, N ways.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.losses import task_losses
from fewshot_bench.learning.normalisation import Statistics, merged
from fewshot_bench.specs import Normalisation

Network = Callable[[Tensor, Parameters, Statistics | None], tuple[Tensor, Statistics]]
"""Images [T, n, ...], parameters and statistics -> outputs [T, n, N] and the statistics that were used."""
Rates = Mapping[str, float | Tensor]
"""The parameters that adapt in a step, and the rate of each: one number, or one for each value (broadcast against
[T, *shape])."""
Direction = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""The gradients of the adapting parameters, each [T, *shape] -> the directions to step against, of the same shapes."""
Batch = Callable[[Tasks, int], Tasks]
"""The tasks as inner step 1, 2, ... sees them: a mini-batch of their support."""
Adapted = tuple[dict[str, Tensor], Statistics | None]
"""Parameters after a step, those that adapt with a task axis [T, ...], and the statistics gathered so far (mode
`episode-running`)."""


def steepest(grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Plain gradient descent."""
    return grads


def always_steepest(step: int) -> Direction:
    """Plain gradient descent in every step."""
    return steepest


def whole_support(tasks: Tasks, step: int) -> Tasks:
    """Every step sees all of the support."""
    return tasks


@dataclass(frozen=True)
class InnerLoop:
    """How tasks adapt. `rates` holds the rates of each step; a parameter that a step does not name stays as it is in that
    step. `direction` says how step 1, 2, ... transforms the gradients first, `batch` what of the support it sees."""

    network: Network
    mode: Normalisation
    running: Statistics  # used by mode `running` alone
    rates: Sequence[Rates]
    second_order: bool
    direction: Callable[[int], Direction] = always_steepest
    batch: Batch = whole_support

    @property
    def adapting(self) -> list[str]:
        """Names of the parameters that adapt in some step."""
        return list(dict.fromkeys(name for rates in self.rates for name in rates))

    def adapt(self, tasks: Tasks, params: Parameters) -> Adapted:
        """What the steps on the support lead to (Finn et al. 2017, eq. 1)."""
        *_, last = self.trajectory(tasks, params)
        return last

    def trajectory(self, tasks: Tasks, params: Parameters) -> Iterator[Adapted]:
        """The adapted parameters after each step."""
        adapting = set(self.adapting)
        fast = {name: p.expand(len(tasks), *p.shape) if name in adapting else p for name, p in params.items()}
        if not any(p.requires_grad for p in fast.values()):
            fast = {name: p.detach().requires_grad_() for name, p in fast.items()}
        for name in adapting:
            if not fast[name].requires_grad:  # frozen: a task's copy adapts, but its start does not train
                fast[name] = fast[name].detach().requires_grad_()
        gathered: Statistics | None = None
        for step in range(1, len(self.rates) + 1):
            fast, gathered = self._step(tasks, fast, gathered, step)
            yield fast, gathered

    def scores_by_step(self, tasks: Tasks, params: Parameters) -> Tensor:
        """Scores of the queries after each step: [steps, T, Q, N]."""
        return torch.stack([self.query_scores(tasks, *adapted)[0] for adapted in self.trajectory(tasks, params)])

    def _step(self, tasks: Tasks, fast: dict[str, Tensor], gathered: Statistics | None, step: int) -> Adapted:
        _, grads, gathered = self.support_gradients(self.batch(tasks, step), fast, gathered, step)
        directions, rates = self.direction(step)(grads), self.rates[step - 1]
        with torch.enable_grad():
            # The next step's gradient is by a parameter's value after this step, not through its effect in earlier steps.
            stay = {name: fast[name].view_as(fast[name]) for name in self.adapting if name not in rates}
            return fast | stay | {name: fast[name] - rate * directions[name] for name, rate in rates.items()}, gathered

    @torch.enable_grad()
    def support_gradients(
        self, tasks: Tasks, fast: Mapping[str, Tensor], gathered: Statistics | None, step: int
    ) -> tuple[Tensor, dict[str, Tensor], Statistics | None]:
        """Each task's loss on its support [T], its gradients by the parameters that adapt in this step [T, *shape], and the
        statistics gathered in `step` steps."""
        scores, used = self._support_scores(tasks, fast)
        gathered = merged(gathered, used, step) if self.mode == "episode-running" else None
        loss = task_losses(scores, tasks.support_y, tasks.kind)
        # A first-order gradient too passes through the gathered statistics: their graph outlives the step.
        keep = self.second_order or bool(gathered)
        rates = self.rates[step - 1]
        adapting = [fast[name] for name in rates]
        found = torch.autograd.grad(loss.sum(), adapting, retain_graph=keep, create_graph=self.second_order)
        return loss, dict(zip(rates, found, strict=True)), gathered

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
