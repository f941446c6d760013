"""The base of methods that adapt by gradient: a backbone and a linear head, and an inner loop over them.

A subclass says which parameters adapt at which rates in each step (`rates`) and, where it differs from MAML there, how a
step's gradients are transformed (`direction`), what of the support a step sees (`batch`) or what the network computes
(`forward`). What all steps of a task share is made in `inner_loop`. Training goes through the inner steps;
`first_order` treats their gradients as constants.

Legend: T tasks, S support images or points, Q queries in all, n of either, N outputs (ways; 1 for regression), D features.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.backbone import Backbone, Parameters
from fewshot_bench.learning.base import Method, MethodInfo
from fewshot_bench.learning.inner_loop import Direction, InnerLoop, Rates, steepest, whole_support
from fewshot_bench.learning.layers import linear
from fewshot_bench.learning.losses import task_losses
from fewshot_bench.learning.normalisation import RunningStatistics, Statistics
from fewshot_bench.specs import Normalisation, Steps


@dataclass(frozen=True)
class GradientHparams:
    """Hyper-parameters that every gradient-based method has; a method's own dataclass extends it."""

    inner_steps: Steps = 1  # in training
    test_inner_steps: Steps = 3  # at validation and test
    first_order: bool = False  # the gradients of the inner steps are constants
    adapt_shift: bool = False  # whether the shift (and scale) of the normalisation adapts
    head_std: NonNegativeFloat = 0.1  # of the head's initial weights; the code of Finn et al.: 1


class GradientMethod(Method):
    """A backbone and a linear head that adapt to each task by gradient steps on its support."""

    Hparams: ClassVar[type] = GradientHparams
    fixed_ways = True
    way_equivariant = False  # the head has an output for each way
    kinds = frozenset({"classification", "regression"})
    modes = frozenset({"none", "running", "support", "separate", "joint", "support+1", "episode-running"})
    default_mode: ClassVar[Normalisation] = "support"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.network = backbone
        self.running = RunningStatistics(backbone.channels)
        self.head_weight = nn.Parameter(torch.randn(info.outputs, backbone.features) * hparams.head_std)
        self.head_bias = nn.Parameter(torch.zeros(info.outputs))

    @classmethod
    def inner_steps(cls, hparams: Any) -> int:
        """Inner steps at test."""
        return int(hparams.test_inner_steps)

    @abstractmethod
    def rates(self, params: Parameters, step: int) -> Rates:
        """The rate of each parameter that adapts in inner step 1, 2, ... (see `adapting`), one number or one for each value;
        learned rates are found in `params`."""

    def direction(self, tasks: Tasks, step: int) -> Direction:
        """How inner step 1, 2, ... transforms the gradients of these tasks."""
        return steepest

    def batch(self, tasks: Tasks, step: int) -> Tasks:
        """What inner step 1, 2, ... sees of the support."""
        return whole_support(tasks, step)

    def forward(self, x: Tensor, params: Parameters, given: Statistics | None) -> tuple[Tensor, Statistics]:
        """Outputs [T, n, N] of x [T, n, ...] under `params`, and the statistics used."""
        body = {name.removeprefix("network."): p for name, p in params.items()}
        features, used = self.network.embed(x, body, given)  # [T, n, D]
        return linear(features, params["head_weight"], params["head_bias"]), used

    def adapting(self) -> Iterable[str]:
        """Names of the network's and the head's parameters, without the normalisation's unless `adapt_shift`."""
        for name, _ in self.named_parameters():
            own = name.startswith(("network.", "head_"))
            if own and (self.hparams.adapt_shift or not name.endswith(("_shift", "_scale"))):
                yield name

    def inner_loop(self, tasks: Tasks, params: Parameters, steps: int, second_order: bool) -> InnerLoop:
        """The loop that takes these tasks from `params` through so many steps. Override it for what all steps of a task
        share, such as a draw or an inner optimiser's state (`dataclasses.replace` of this one), or for another loop."""
        mode = self.conditions.normalisation
        running = self.running.statistics() if mode == "running" else {}
        rates = [self.rates(params, step) for step in range(1, steps + 1)]
        if unknown := sorted({name for of_step in rates for name in of_step} - set(params)):
            names, wrong = ", ".join(params), ", ".join(unknown)
            raise FewshotError(f"{type(self).__name__}.rates names {wrong}, which are not parameters. There are: {names}.")
        return InnerLoop(self.forward, mode, running, rates, second_order, partial(self.direction, tasks), self.batch)

    def loss(self, tasks: Tasks) -> Tensor:
        """Loss of the adapted parameters on each task's queries [T]."""
        params = dict(self.named_parameters())
        loop = self.inner_loop(tasks, params, self.hparams.inner_steps, second_order=not self.hparams.first_order)
        outputs, used = loop.query_scores(tasks, *loop.adapt(tasks, params))
        if self.training:
            self.running.collect(used)
        return task_losses(outputs, tasks.targets, tasks.kind)

    def predict(self, tasks: Tasks) -> Tensor:
        """Outputs [T, Q, N] after the inner steps of the present conditions."""
        loop, params = self._test_loop(tasks)
        fast, gathered = loop.adapt(tasks, params)
        return loop.query_scores(tasks, {name: p.detach() for name, p in fast.items()}, gathered)[0]

    def predict_steps(self, tasks: Tasks) -> Tensor:
        """Outputs [steps, T, Q, N] after each inner step of the present conditions."""
        loop, params = self._test_loop(tasks)
        return loop.scores_by_step(tasks, params).detach()

    def after_update(self) -> None:
        """Let the update's statistics enter the running ones."""
        self.running.commit()

    def _test_loop(self, tasks: Tasks) -> tuple[InnerLoop, Parameters]:
        params = {name: p.detach() for name, p in self.named_parameters()}
        steps = self.conditions.inner_steps or self.hparams.test_inner_steps
        return self.inner_loop(tasks, params, steps, second_order=False), params
