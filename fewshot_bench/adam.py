"""Adam with its state in the open, by torch's own arithmetic.

`torch.optim.Adam` makes the same updates, but its first use imports torch's compiler (`torch._dynamo`, sympy, triton), which
no run uses: a second at the start of each.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma & Ba 2015) with its own defaults; `lr` may be changed between two steps."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.lr = lr
        self.parameters = list(parameters)
        self.state = {
            "step": [torch.tensor(0.0) for _ in self.parameters],
            "exp_avg": [torch.zeros_like(parameter) for parameter in self.parameters],
            "exp_avg_sq": [torch.zeros_like(parameter) for parameter in self.parameters],
        }

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients; one that has none stays as it is."""
        moved = [(i, p, p.grad) for i, p in enumerate(self.parameters) if p.grad is not None]
        adam(
            params=[parameter for _, parameter, _ in moved],
            grads=[grad for _, _, grad in moved],
            exp_avgs=[self.state["exp_avg"][i] for i, _, _ in moved],
            exp_avg_sqs=[self.state["exp_avg_sq"][i] for i, _, _ in moved],
            max_exp_avg_sqs=[],
            state_steps=[self.state["step"][i] for i, _, _ in moved],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The state, flat: `<parameter number>.<name>`."""
        return {f"{i}.{name}": tensor for name, slot in self.state.items() for i, tensor in enumerate(slot)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for key, tensor in tensors.items():
            number, name = key.split(".")
            self.state[name][int(number)].copy_(tensor)
