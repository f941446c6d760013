"""learn2learn behind our interface: what the methods that run its own algorithms share.

learn2learn 0.2.0 (Arnold et al. 2020, https://arxiv.org/abs/2008.12284) is optional; this module, imported only when one of
these methods is used, imports it. Algorithms, networks and losses are its own, computed as its examples do: one task after
another. What is ours:

- Which images normalise which. Its networks hold torch's `BatchNorm2d`, and its MAML examples leave them in training mode,
  also at test: each pass is normalised by its own images. This is our mode `separate` (transductive), the default of
  training here. For an inductive test there is `support`: the queries pass together with the support, and only the maps of
  the support (their mean and biased variance) normalise all. A hook does this, so that the gradient goes through these
  statistics and they are exact, unlike with momentum 1 and evaluation mode. Running statistics, which neither mode uses, are
  not kept.
- The network: its `CNN4` for images of any size. Its `OmniglotCNN` registers its convolutions twice, and its Meta-SGD then
  adapts those that are not used. For regression its examples build a network of torch's layers; here it is the papers' 2x40.

Scale and shift of the normalisation adapt like every other parameter. The convolutions have biases, which the normalisation
subtracts again, so their gradients are only rounding.

Legend: T tasks, S support, Q queries in all, n images or points, N outputs (ways, or 1 for regression), C, H, W of an image.
"""

import io
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from fewshot_bench import Backbone, Method, MethodInfo, Steps, Tasks, UsageError, task_losses

with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it and what it imports warn meanwhile
    warnings.simplefilter("ignore")
    l2l: Any = import_module("learn2learn")


@dataclass(frozen=True)
class L2lGradientHparams:
    """Hyper-parameters of learn2learn's gradient-based methods; the defaults are those of its example maml_omniglot.py."""

    inner_lr: PositiveFloat = 0.5  # for a mean loss
    inner_steps: Steps = 1  # in training
    test_inner_steps: Steps = 1  # at validation and test
    first_order: bool = False  # the gradients of the inner steps are constants
    hidden_size: PositiveInt = 64  # filters of each layer
    max_pool: bool = True  # true: pool after each convolution; false: convolve with stride 2, which is faster


class L2lGradientMethod(Method):
    """A network that one of learn2learn's algorithms adapts, task by task."""

    Hparams = L2lGradientHparams
    needs_backbone = False
    fixed_ways = True
    way_equivariant = False  # the head has an output for each way
    kinds = frozenset({"classification", "regression"})
    modes = frozenset({"none", "separate", "support"})  # none is for functions, whose network normalises nothing
    default_mode = "separate"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone | None) -> None:
        super().__init__(hparams, info, backbone)
        images = info.kind == "classification"
        self.learner: Any = self.algorithm(image_classifier(hparams, info) if images else function_network(info))

    @classmethod
    def inner_steps(cls, hparams: Any) -> int:
        """Inner steps at test."""
        return int(hparams.test_inner_steps)

    @abstractmethod
    def algorithm(self, network: nn.Module) -> Any:
        """learn2learn's algorithm around a network: a module with `clone` and `adapt`."""

    def loss(self, tasks: Tasks) -> Tensor:
        """Loss of the adapted network on each task's queries [T]."""
        outputs = []
        for task in range(len(tasks)):
            *_, learner = self._adapt(tasks, task, self.hparams.inner_steps, self.hparams.first_order)
            outputs.append(self._outputs(learner, tasks, task))
        return task_losses(torch.stack(outputs), tasks.targets, tasks.kind)

    def predict(self, tasks: Tasks) -> Tensor:
        """Outputs [T, Q, N] after the inner steps of the present conditions."""
        outputs = []
        for task in range(len(tasks)):
            *_, learner = self._adapt_for_test(tasks, task)
            outputs.append(self._outputs(learner, tasks, task).detach())
        return torch.stack(outputs)

    def predict_steps(self, tasks: Tasks) -> Tensor:
        """Outputs [steps, T, Q, N] after each inner step of the present conditions."""
        outputs = [
            torch.stack([self._outputs(learner, tasks, task).detach() for learner in self._adapt_for_test(tasks, task)])
            for task in range(len(tasks))
        ]
        return torch.stack(outputs, 1)

    def _adapt_for_test(self, tasks: Tasks, task: int) -> Iterator[Any]:
        return self._adapt(tasks, task, self.conditions.inner_steps or self.hparams.test_inner_steps, first_order=True)

    def _adapt(self, tasks: Tasks, task: int, steps: int, first_order: bool) -> Iterator[Any]:
        """learn2learn's clone for one task, after each step: the same object, adapted further."""
        x, y = tasks.support_x[task], tasks.support_y[task]
        with torch.enable_grad():
            learner = self.learner.clone()
        for _ in range(steps):
            with torch.enable_grad():
                learner.adapt(task_losses(learner(x)[None], y[None], tasks.kind)[0], first_order=first_order)
            yield learner

    def _outputs(self, learner: Any, tasks: Tasks, task: int) -> Tensor:
        """Outputs for the queries [Q, N] of one task, under the present normalisation mode."""
        support, query = tasks.support_x[task], tasks.query_x[task]
        mode = self.conditions.normalisation
        if mode == "none" and normalised_layers(learner):
            raise UsageError(
                "learn2learn's network for images has normalised layers: set normalisation to separate or support."
            )
        with normalised_by_first(learner, len(support)) if mode == "support" else nullcontext():
            outputs: Tensor = learner(torch.cat([support, query]) if mode == "support" else query)
        return outputs[-len(query) :]


def image_classifier(hparams: Any, info: MethodInfo) -> nn.Module:
    """Its Conv4 with a linear head: [n, C, H, W] -> [n, N]."""
    channels, *sides = info.input_shape
    for _ in range(4):
        sides = [side // 2 if hparams.max_pool else -(-side // 2) for side in sides]
    size = hparams.hidden_size * math.prod(sides)
    network: nn.Module = l2l.vision.models.CNN4(
        info.outputs, hparams.hidden_size, channels=channels, max_pool=hparams.max_pool, embedding_size=size
    )
    for layer in normalised_layers(network):
        layer.track_running_stats = False
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return network


def function_network(info: MethodInfo) -> nn.Module:
    """The papers' network of two layers of 40 units: [n, D] -> [n, N]."""
    size = math.prod(info.input_shape)
    return nn.Sequential(nn.Linear(size, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, info.outputs))


def normalised_layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Its layers of batch normalisation."""
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


@contextmanager
def normalised_by_first(network: nn.Module, count: int) -> Iterator[None]:
    """Within the block the first `count` images of a pass normalise all of them, and no running statistics change."""

    def normalise(layer: nn.BatchNorm2d, given: tuple[Tensor], output: Tensor) -> Tensor:
        (maps,) = given  # [n, C, H, W]
        variance, mean = torch.var_mean(maps[:count], (0, 2, 3), correction=0, keepdim=True)  # [1, C, 1, 1]
        scale, shift = (value[:, None, None] for value in (layer.weight, layer.bias))
        return (maps - mean) * (variance + layer.eps).rsqrt() * scale + shift

    hooks = [layer.register_forward_hook(normalise) for layer in normalised_layers(network)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
