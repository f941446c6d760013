"""Adam and stochastic gradient descent with their state in the open, by torch's own arithmetic.

`torch.optim` makes the same updates, but the first use of its classes imports torch's compiler (`torch._dynamo`, sympy,
triton), which no run uses: a second at the start of each.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from fewshot_bench.specs import TrainSpec


class Optimiser(ABC):
    """Updates parameters from their gradients; `lr` may be changed between two steps."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self.parameters = list(parameters)
        self.state: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters; one that has no gradient stays as it is."""
        places = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        state = {name: [slot[i] for i in places] for name, slot in self.state.items()}
        grads = [grad for i in places if (grad := self.parameters[i].grad) is not None]
        self._update([self.parameters[i] for i in places], grads, state)

    @abstractmethod
    def _update(self, params: list[Tensor], grads: list[Tensor], state: Mapping[str, list[Tensor]]) -> None:
        """Update `params` and their `state` in place."""

    def tensors(self) -> dict[str, Tensor]:
        """The state, flat: `<parameter number>.<name>`."""
        return {f"{i}.{name}": tensor for name, slot in self.state.items() for i, tensor in enumerate(slot)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for key, tensor in tensors.items():
            number, name = key.split(".")
            self.state[name][int(number)].copy_(tensor)


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015) with its own defaults."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.state = {
            "step": [torch.tensor(0.0) for _ in self.parameters],
            "exp_avg": [torch.zeros_like(parameter) for parameter in self.parameters],
            "exp_avg_sq": [torch.zeros_like(parameter) for parameter in self.parameters],
        }

    def _update(self, params: list[Tensor], grads: list[Tensor], state: Mapping[str, list[Tensor]]) -> None:
        adam(
            params=params,
            grads=grads,
            exp_avgs=state["exp_avg"],
            exp_avg_sqs=state["exp_avg_sq"],
            max_exp_avg_sqs=[],
            state_steps=state["step"],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class Sgd(Optimiser):
    """Stochastic gradient descent, with momentum (Nesterov's or Polyak's) that starts at zero."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self.state = {"momentum": [torch.zeros_like(parameter) for parameter in self.parameters]} if momentum else {}

    def _update(self, params: list[Tensor], grads: list[Tensor], state: Mapping[str, list[Tensor]]) -> None:
        buffers: list[Tensor | None] = list(state.get("momentum", [None] * len(params)))
        sgd(
            params=params,
            d_p_list=grads,
            momentum_buffer_list=buffers,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )


def optimiser_of(spec: TrainSpec, parameters: Iterable[Tensor]) -> Optimiser:
    """The optimiser that a spec names."""
    if spec.optimiser == "sgd":
        return Sgd(parameters, spec.lr, spec.weight_decay, momentum=spec.momentum, nesterov=spec.nesterov)
    return Adam(parameters, spec.lr, spec.weight_decay)


def learning_rate(spec: TrainSpec, update: int) -> float:
    """The rate of update 0, 1, ... of a training."""
    reached = [rate for first, rate in spec.lr_steps if first <= update]
    rate = reached[-1] if reached else spec.lr
    if spec.lr_halve_every:
        rate *= 0.5 ** (update // spec.lr_halve_every)
    return rate * (1 - update / spec.updates) if spec.lr_linear else rate
