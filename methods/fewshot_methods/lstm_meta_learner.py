"""The LSTM meta-learner (Ravi & Larochelle 2017, https://openreview.net/forum?id=rJY0-Kcll).

An update by gradient descent is like that of an LSTM's cell whose forget gate is 1 and whose input gate is the rate. So here
an LSTM learns to update the parameters theta of a learner. Each coordinate has its own state, and all share the weights:

    h_t, c_t = LSTM([preprocess(loss_t), preprocess(grad_t)], h_(t-1), c_(t-1))
    f_t = sigmoid(W_F [h_t, theta_(t-1), f_(t-1)] + b_F)        i_t = sigmoid(W_I [h_t, theta_(t-1), i_(t-1)] + b_I)
    theta_t = f_t * theta_(t-1) - i_t * grad_t                                                            (eqs. 2 to 4)

loss_t and grad_t are those of the learner on the support under theta_(t-1), and the meta-gradient treats them as constants.
The cell's start theta_0, the learner's initial parameters, is learned with the weights. The coordinates are all parameters
of the learner: filters, normalisation, head.

What the authors' code (twitter/meta-learning-lstm) does and the paper does not say, and what is done here:
- Their configurations take the whole support as one mini-batch, with 12 updates at 1 shot and 8 at 5. Every step here takes
  the whole support too, whatever the shots.
- At test the queries are normalised by statistics of the steps' mini-batches. The newest has weight 0.9 (5 shots: 0.95), and
  they are reset for each episode: mode `episode-running`, `statistics_momentum`. In training their queries normalise
  themselves: mode `separate`, with which the recipes `paper` train. Their running statistics start from mean 0 and variance
  1, ours from the whole statistics of the first step. Their running variance is unbiased, ours is biased.
- They divide the gradient of a mean loss by the number of images once more: `gradient_scale`, 1 by default.
- They feed each gate back before its sigmoid; here it is fed back after it, as the equations say.
- Their learner has a bias in each convolution, which the normalisation subtracts again; ours has none. Theirs has a scale in
  each normalisation; conv4-32, which the recipes `paper` use, has none.

Legend: T tasks, P coordinates, p of them in a chunk, n = T * p, H hidden units.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fewshot_bench import (
    Adapted,
    Backbone,
    GradientMethod,
    InnerLoop,
    MethodInfo,
    Parameters,
    Rates,
    Statistics,
    Steps,
    Tasks,
)

SMALLEST = 10.0
"""p of the preprocessing: magnitudes below exp(-p) are represented linearly, others by their logarithm."""
COORDINATES_AT_ONCE = {"cpu": 2**13, "cuda": 2**18}
"""Size n of a chunk. Its state must fit into a CPU's cache, and its steps into an accelerator's memory (1 KB each)."""

Weights = tuple[Tensor, ...]
"""The weights of `MetaLstm`, in its order."""
State = tuple[Tensor, Tensor, Tensor]
"""The state of n coordinates: h and c of the LSTM, each [H, n], and the gates f and i [2, n]."""


@dataclass(frozen=True)
class LstmMetaLearnerHparams:
    """Hyper-parameters of the LSTM meta-learner."""

    inner_steps: Steps = 12  # in training and at test; the authors: 12 at 1 shot, 8 at 5
    hidden: PositiveInt = 20  # units of the LSTM
    gradient_scale: PositiveFloat = 1.0  # factor of the learner's gradients; the authors: 1 / images
    statistics_momentum: Annotated[float, Field(gt=0, le=1)] = 0.9  # weight of the newest step; the authors: 0.95 at 5 shots
    head_std: NonNegativeFloat = 0.1  # standard deviation of the head's initial weights

    first_order = adapt_shift = True  # its equations fix both

    @property
    def test_inner_steps(self) -> int:
        """As many as in training."""
        return self.inner_steps


class LstmMetaLearner(GradientMethod):
    """A backbone and a linear head, updated by an LSTM that works on each of their values."""

    Hparams = LstmMetaLearnerHparams
    default_mode = "episode-running"

    def __init__(self, hparams: LstmMetaLearnerHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.lstm = MetaLstm(hparams.hidden)

    def rates(self, params: Parameters, step: int) -> Rates:
        """Every parameter of the learner adapts; the gates decide how fast."""
        return dict.fromkeys(self.adapting(), 1.0)

    def inner_loop(self, tasks: Tasks, params: Parameters, steps: int, second_order: bool) -> InnerLoop:
        """The loop whose updates are the LSTM's."""
        return LstmLoop(
            **vars(super().inner_loop(tasks, params, steps, second_order)),
            weights=tuple(params[f"lstm.{name}"] for name, _ in self.lstm.named_parameters()),
            gradient_scale=self.hparams.gradient_scale,
            statistics_momentum=self.hparams.statistics_momentum,
        )


class MetaLstm(nn.Module):
    """The weights that all coordinates share, from U(-0.01, 0.01); the gates start near gradient descent at a small rate."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4 * hidden, 4 + hidden).uniform_(-0.01, 0.01))  # rows: i, f, o, new
        self.bias = nn.Parameter(torch.empty(4 * hidden).uniform_(-0.01, 0.01))
        self.gate_weight = nn.Parameter(torch.empty(2, hidden + 2).uniform_(-0.01, 0.01))  # rows: W_F, W_I
        self.forget_bias = nn.Parameter(torch.empty(1).uniform_(4, 5))
        self.input_bias = nn.Parameter(torch.empty(1).uniform_(-5, -4))


def preprocess(x: Tensor) -> Tensor:
    """Two numbers in place of each, [*shape] -> [2, *shape]: (log|x| / p, sign x), or (-1, e^p x) where |x| < e^-p
    (Andrychowicz et al. 2016, appendix A)."""
    return torch.stack([x.abs().clamp(min=math.exp(-SMALLEST)).log() / SMALLEST, (x * math.exp(SMALLEST)).clamp(-1, 1)])


def seen_by_lstm(loss: Tensor, grad: Tensor) -> Tensor:
    """Losses [T] and gradients [T, p] of p coordinates, preprocessed and flat: [4, n]."""
    return torch.cat([preprocess(loss)[..., None].expand(2, *grad.shape), preprocess(grad)]).flatten(1)


def start(theta: Tensor, weights: Weights) -> State:
    """The state of coordinates theta [n] before the first step."""
    hidden = theta.new_zeros(len(weights[1]) // 4, len(theta))
    return hidden, hidden, theta.new_zeros(2, len(theta))


def update(seen: Tensor, grad: Tensor, theta: Tensor, state: State, weights: Weights) -> tuple[Tensor, State]:
    """One step of n coordinates: what the LSTM sees [4, n], their gradients [n], theta [n] and state -> the next two."""
    weight, bias, gate_weight, forget_bias, input_bias = weights
    h, c, gates = state
    i, f, o, new = torch.addmm(bias[:, None], weight, torch.cat([seen, h])).chunk(4)  # each [H, n]
    c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), new.tanh())
    h = o.sigmoid() * c.tanh()
    by_hidden, by_theta, by_gate = gate_weight.split([len(h), 1, 1], dim=1)  # [2, H], [2, 1], [2, 1]
    gates = (by_hidden @ h + by_theta * theta + by_gate * gates + torch.stack([forget_bias, input_bias])).sigmoid()
    forget, rate = gates.unbind()
    return forget * theta - rate * grad, (h, c, gates)


def chunks(theta: Tensor) -> list[slice]:
    """The coordinates of theta [T, P] in parts that are computed at once, those of all tasks together."""
    tasks, size = theta.shape
    each = max(1, COORDINATES_AT_ONCE.get(theta.device.type, 2**13) // tasks)
    return [slice(first, min(first + each, size)) for first in range(0, size, each)]


@dataclass(frozen=True, kw_only=True)
class LstmLoop(InnerLoop):
    """The inner loop with the LSTM's updates in place of gradient descent's."""

    weights: Weights
    gradient_scale: float
    statistics_momentum: float

    def trajectory(self, tasks: Tasks, params: Parameters) -> Iterator[Adapted]:
        """The learner's parameters after each update, and the statistics gathered."""
        first = torch.cat([params[name].flatten() for name in self.adapting])  # [P]
        theta = first.detach().expand(len(tasks), -1)  # [T, P]
        states = [start(theta[:, part].flatten(), self.weights) for part in chunks(theta)]
        losses: list[Tensor] = []
        grads: list[Tensor] = []
        gathered: Statistics | None = None
        for step in range(1, len(self.rates) + 1):
            fast = {name: p.detach().requires_grad_() for name, p in self._learner(theta, params).items()}
            loss, found, used = self.support_gradients(self.batch(tasks, step), {**params, **fast}, None, step)
            gathered = None if used is None else newer(gathered, used, self.statistics_momentum)
            losses.append(loss.detach())
            grads.append(torch.cat([found[name].flatten(1) for name in self.adapting], 1) * self.gradient_scale)  # [T, P]
            theta = self._updated(losses[-1], grads[-1], theta, states)
            walked = Walk.apply(theta, step, first, *losses, *grads, *self.weights)
            yield {**params, **self._learner(walked, params)}, gathered

    @torch.no_grad()
    def _updated(self, loss: Tensor, grad: Tensor, theta: Tensor, states: list[State]) -> Tensor:
        """theta [T, P] after a step, chunk by chunk; their `states` become the next."""
        moved = []
        for k, part in enumerate(chunks(theta)):
            mine = grad[:, part]  # [T, p]
            new, states[k] = update(
                seen_by_lstm(loss, mine), mine.flatten(), theta[:, part].flatten(), states[k], self.weights
            )
            moved.append(new.view_as(mine))
        return torch.cat(moved, 1)

    def _learner(self, theta: Tensor, params: Parameters) -> dict[str, Tensor]:
        """theta [T, P] as the learner's parameters [T, *shape]."""
        shapes = {name: params[name].shape for name in self.adapting}
        parts = theta.split([shape.numel() for shape in shapes.values()], dim=1)
        return {name: part.reshape(len(theta), *shapes[name]) for name, part in zip(shapes, parts, strict=True)}


class Walk(torch.autograd.Function):
    """The result of the steps, theta_t [T, P], as a function of theta_0 [P] and the weights, given each step's losses [T]
    and gradients [T, P]. The gradient computes the steps again, chunk by chunk, so that none of their states is kept."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, steps: int, first: Tensor, *given: Tensor) -> Tensor:
        ctx.steps = steps
        ctx.save_for_backward(first, *given)
        return theta.view_as(theta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> Any:
        first, *given = ctx.saved_tensors
        losses, grads, weights = given[: ctx.steps], given[ctx.steps : 2 * ctx.steps], given[2 * ctx.steps :]
        totals = [torch.zeros_like(weight) for weight in weights]
        by_first = torch.empty_like(first)
        for part in chunks(outer):
            leaves = [tensor.detach().requires_grad_() for tensor in (first[part], *weights)]
            theta = walk(losses, [grad[:, part] for grad in grads], leaves[0], tuple(leaves[1:]))
            by_first[part], *by_weights = torch.autograd.grad(theta, leaves, outer[:, part])
            for total, found in zip(totals, by_weights, strict=True):
                total += found
        return None, None, by_first, *[None] * (2 * ctx.steps), *totals


@torch.enable_grad()
def walk(losses: Sequence[Tensor], grads: Sequence[Tensor], first: Tensor, weights: Weights) -> Tensor:
    """p coordinates after all steps [T, p], from theta_0 [p] and each step's losses [T] and gradients [T, p]."""
    theta = first.expand_as(grads[0]).flatten()  # [n]
    state = start(theta, weights)
    for loss, grad in zip(losses, grads, strict=True):
        theta, state = update(seen_by_lstm(loss, grad), grad.flatten(), theta, state, weights)
    return theta.view_as(grads[0])


def newer(earlier: Statistics | None, new: Statistics, momentum: float) -> Statistics:
    """Running statistics after a step's `new` ones, which weigh `momentum`; the first are taken as they are."""
    new = {name: (mean.detach(), variance.detach()) for name, (mean, variance) in new.items()}
    if earlier is None:
        return new
    means = {name: mean.lerp(new[name][0], momentum) for name, (mean, _) in earlier.items()}
    return {name: (means[name], variance.lerp(new[name][1], momentum)) for name, (_, variance) in earlier.items()}
