"""The LSTM meta-learner equals its equations in numpy, torch's LSTM cell in a plain loop, and SGD where gates are forced.

Legend: T tasks, N ways, P coordinates of the learner, p of one task's in a test, H hidden units.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from held import held
from plain_loop import (
    EPS,
    T,
    Values,
    assert_equal,
    error,
    images_tasks,
    meta_gradient,
    plain_gradient,
    plain_losses,
    scores,
    small,
    waves_tasks,
)
from scipy.special import expit, logit
from torch import Tensor
from torch.func import functional_call

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.runs.plan import kept_bytes
from fewshot_bench.specs import Normalisation, TrainSpec
from fewshot_methods import lstm_meta_learner
from fewshot_methods.backbones.conv4 import conv4_32, conv4_64
from fewshot_methods.lstm_meta_learner import (
    LstmMetaLearner,
    LstmMetaLearnerHparams,
    MetaLstm,
    preprocess,
    seen_by_lstm,
    start,
    update,
)

Array = npt.NDArray[np.float64]
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
HIDDEN, STEPS, SCALE = 5, 3, 0.7


def learner(tasks: Tasks, mode: Normalisation = "separate", **given: Any) -> LstmMetaLearner:
    """The method on a small network, all of its parameters random."""
    hparams = {"hidden": HIDDEN, "inner_steps": STEPS, "gradient_scale": SCALE}
    method: LstmMetaLearner = small(LstmMetaLearner, tasks, mode, **hparams | given)
    return method


def own(params: Mapping[str, Tensor]) -> list[str]:
    """Names of the learner's parameters: all but the meta-learner's."""
    return [name for name in params if not name.startswith("lstm.")]


def weights_of(lstm: MetaLstm) -> tuple[Tensor, ...]:
    """The weights of the meta-learner, in their order, away from the graph."""
    return tuple(weight.detach() for weight in lstm.parameters())


# One coordinate after another, in numpy, as the paper writes it.


def numpy_preprocess(x: float) -> tuple[float, float]:
    """Andrychowicz et al. 2016, appendix A, with p = 10."""
    return (math.log(abs(x)) / 10, math.copysign(1, x)) if abs(x) >= math.exp(-10) else (-1, math.exp(10) * x)


def numpy_walk(weights: list[Array], losses: list[float], grads: list[float], theta: float) -> float:
    """Where a coordinate is after these losses and gradients."""
    weight, bias, (by_forget, by_input), forget_bias, input_bias = weights
    hidden = len(bias) // 4
    h = c = np.zeros(hidden)
    f = i = 0.0
    for loss, grad in zip(losses, grads, strict=True):
        seen = np.array([*numpy_preprocess(loss), *numpy_preprocess(grad)])
        ingate, forget, outgate, new = np.split(weight @ np.concatenate([seen, h]) + bias, 4)
        c = expit(forget) * c + expit(ingate) * np.tanh(new)
        h = expit(outgate) * np.tanh(c)
        f = expit(by_forget @ np.array([*h, theta, f]) + forget_bias[0])
        i = expit(by_input @ np.array([*h, theta, i]) + input_bias[0])
        theta = f * theta - i * grad
    return theta


def test_magnitude_and_sign_stand_in_place_of_a_number() -> None:
    """The logarithm and the sign, or -1 and e^p x below e^-p; zero and the border between the two included."""
    border = math.exp(-10)
    x = [0.0, 3.0, -3.0, 1e-3, -1e-3, border, -border, 0.9 * border, -0.9 * border, 1e-9, 2.5e7]
    expected = np.array([numpy_preprocess(value) for value in x]).T
    np.testing.assert_allclose(preprocess(torch.tensor(x, dtype=torch.float64)), expected, atol=1e-12)


def test_updates_of_a_coordinate_are_those_of_numpy() -> None:
    """Seven coordinates through four steps, each by itself: LSTM, gates and theta of the paper's equations."""
    lstm, generator = MetaLstm(HIDDEN).double(), torch.Generator().manual_seed(0)
    for parameter in lstm.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    weights = weights_of(lstm)
    losses, grads = (torch.randn(4, n, generator=generator, dtype=torch.float64) for n in (1, 7))
    first = theta = torch.randn(7, generator=generator, dtype=torch.float64)
    state = start(theta, weights)
    for loss, grad in zip(losses, grads, strict=True):
        theta, state = update(seen_by_lstm(loss, grad[None]), grad, theta, state, weights)
    arrays = [weight.numpy() for weight in weights]
    for coordinate, found in enumerate(theta):
        one = numpy_walk(arrays, losses[:, 0].tolist(), grads[:, coordinate].tolist(), first[coordinate].item())
        assert found.item() == pytest.approx(one, rel=1e-12)


# One task after another, by torch's functions and its LSTM cell; autograd goes through every step.


def torch_cell(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The LSTM's weights as `torch.nn.LSTMCell` names and orders them (i, f, new, o); it has a second bias."""
    rows = [params[f"lstm.{name}"].chunk(4) for name in ("weight", "bias")]
    weight, bias = (torch.cat([i, f, new, o]) for i, f, o, new in rows)
    return {"weight_ih": weight[:, :4], "weight_hh": weight[:, 4:], "bias_ih": bias, "bias_hh": torch.zeros_like(bias)}


def plain_trajectory(params: Values, tasks: Tasks, task: int, steps: int = STEPS) -> Iterator[tuple[float, Tensor, Values]]:
    """Loss and scaled gradient [p] of each step of one task, and the learner's parameters after it."""
    cell, names = torch.nn.LSTMCell(4, HIDDEN).double(), own(params)
    (w_f, w_i), b_f, b_i = params["lstm.gate_weight"], params["lstm.forget_bias"], params["lstm.input_bias"]
    theta = torch.cat([params[name].flatten() for name in names])
    hidden = torch.zeros(2, len(theta), HIDDEN, dtype=torch.float64)
    state, f, i = (hidden[0], hidden[1]), torch.zeros_like(theta), torch.zeros_like(theta)
    fast = {name: params[name] for name in names}
    for _ in range(steps):
        constants = {name: p.detach().requires_grad_() for name, p in fast.items()}
        loss = error(scores(tasks.support_x[task], constants), tasks.support_y[task])
        grads = torch.autograd.grad(loss, list(constants.values()))
        grad = torch.cat([g.flatten() for g in grads]) * SCALE
        pairs = [numpy_preprocess(loss.item()) + numpy_preprocess(g) for g in grad.tolist()]
        state = functional_call(cell, torch_cell(params), (torch.tensor(pairs, dtype=torch.float64), state))
        f = torch.sigmoid(torch.column_stack([state[0], theta, f]) @ w_f + b_f)
        i = torch.sigmoid(torch.column_stack([state[0], theta, i]) @ w_i + b_i)
        theta = f * theta - i * grad
        sizes = [params[name].numel() for name in names]
        fast = {name: part.view_as(params[name]) for name, part in zip(names, theta.split(sizes), strict=True)}
        yield loss.item(), grad, fast


def query_losses(params: Values, tasks: Tasks) -> Tensor:
    """The loss of each task on its queries [T] after the plain loop's steps."""
    last = [list(plain_trajectory(params, tasks, task))[-1][2] for task in range(len(tasks))]
    return torch.stack([error(scores(tasks.query_x[t], fast), tasks.targets[t]) for t, fast in enumerate(last)])


@kinds
def test_losses_and_meta_gradient_are_those_of_a_plain_loop(tasks: Tasks) -> None:
    """The gradient reaches theta_0, the LSTM and the gates through every step; the learner's gradients are constants."""
    method = learner(tasks)
    params = dict(method.named_parameters())
    losses = query_losses(params, tasks)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), plain_gradient(losses, params))


@kinds
def test_outputs_after_each_step_are_those_of_a_plain_loop(tasks: Tasks) -> None:
    """`predict_steps` gives them all, `predict` the last; a test may take more steps than training."""
    method = learner(tasks).eval()
    held(method, replace(method.conditions, inner_steps=5))
    params, found = dict(method.named_parameters()), method.predict_steps(tasks)
    torch.testing.assert_close(found[-1], method.predict(tasks))
    for task in range(T):
        plain = [scores(tasks.query_x[task], fast) for *_, fast in plain_trajectory(params, tasks, task, steps=5)]
        torch.testing.assert_close(found[:, task], torch.stack(plain))


@kinds
def test_the_meta_gradient_is_the_slope_while_the_learners_gradients_stay(tasks: Tasks) -> None:
    """Between two near points, numpy's walk along the same losses and gradients gives the slope of the first task's loss
    by an entry of every parameter."""
    params = {name: p.detach() for name, p in learner(tasks).named_parameters()}
    walked = list(plain_trajectory(params, tasks, 0))
    losses, grads = [loss for loss, _, _ in walked], torch.stack([grad for _, grad, _ in walked], 1).tolist()
    alone = replace(tasks, support_x=tasks.support_x[:1], support_y=tasks.support_y[:1], query_x=tasks.query_x[:1])
    gradient = meta_gradient(learner(tasks), replace(alone, query_y=tasks.targets[:1], key=tasks.key[:1]))

    def loss_at(values: Values) -> float:
        weights = [p.numpy() for name, p in values.items() if name.startswith("lstm.")]
        first = torch.cat([values[name].flatten() for name in own(values)]).tolist()
        theta = torch.tensor([numpy_walk(weights, losses, *one) for one in zip(grads, first, strict=True)]).double()
        parts = zip(own(values), theta.split([values[name].numel() for name in own(values)]), strict=True)
        outputs = scores(tasks.query_x[0], {name: part.view_as(values[name]) for name, part in parts})
        return error(outputs, tasks.targets[0]).item()

    largest = max(float(g.abs().max()) for g in gradient.values())
    for name, value in params.items():
        ends = []
        for distance in (1e-6, -1e-6):
            moved = value.clone()
            moved.view(-1)[-1] += distance
            ends.append(loss_at({**params, name: moved}))
        slope = (ends[0] - ends[1]) / 2e-6
        assert gradient[name].view(-1)[-1].item() == pytest.approx(slope, rel=1e-5, abs=1e-7 * largest), name


@kinds
def test_forced_gates_are_gradient_descent(tasks: Tasks) -> None:
    """With the forget gate at 1 and the input gate at a constant, it is SGD at that rate, all parameters adapting."""
    method, rate = learner(tasks), 0.3
    params = dict(method.named_parameters())
    for name in ("weight", "bias", "gate_weight"):
        params[f"lstm.{name}"].data.zero_()
    params["lstm.forget_bias"].data.fill_(50)  # its sigmoid is 1 in float64
    params["lstm.input_bias"].data.fill_(logit(rate))
    learned = {name: params[name] for name in own(params)}
    losses = plain_losses(
        learned, tasks, STEPS, own(params), lambda _name, grad, _task: rate * SCALE * grad, first_order=True
    )
    torch.testing.assert_close(method.loss(tasks), losses)
    found = meta_gradient(method, tasks)
    assert_equal({name: found[name] for name in learned}, plain_gradient(losses, learned))


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_coordinates_at_once_do_not_matter(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Chunks of coordinates change neither losses nor gradients."""
    tasks = images_tasks()
    method = learner(tasks)
    losses, gradient = method.loss(tasks), meta_gradient(method, tasks)
    monkeypatch.setitem(lstm_meta_learner.COORDINATES_AT_ONCE, "cpu", at_once)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), gradient)


# Normalisation


def statistics_of(x: Tensor, params: Mapping[str, Tensor], given: Mapping[str, tuple[Tensor, Tensor]] | None) -> Any:
    """Outputs [n, N] of a strided network, and by block the mean and biased variance of its images [n, 1, H, W]; `given`
    ones normalise in their place."""
    used = {}
    for block in [f"block{i}" for i in range(1, 5)]:
        x = F.conv2d(x, params[f"network.{block}_weight"], stride=2, padding=1)
        used[block] = given[block] if given else (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))
        x = F.relu(F.batch_norm(x, *used[block], None, params[f"network.{block}_shift"], eps=EPS))
    return F.linear(x.mean((2, 3)), params["head_weight"], params["head_bias"]), used


@pytest.mark.parametrize("momentum", [0.9, 0.25, 1.0])
def test_queries_are_normalised_by_the_running_statistics_of_their_episodes_steps(momentum: float) -> None:
    """Mode `episode-running`: torch's rule from the first step's statistics on, for each task by itself; nothing of an
    earlier episode stays."""
    tasks = images_tasks()
    method = learner(tasks, "episode-running", statistics_momentum=momentum)
    found, again = method.predict(tasks), method.predict(tasks)
    torch.testing.assert_close(found, again, rtol=0, atol=0)
    params = {name: p.detach() for name, p in method.named_parameters()}
    for task in range(T):
        trajectory = [params, *(fast for *_, fast in plain_trajectory(params, tasks, task))]
        passes = [statistics_of(tasks.support_x[task], fast, None)[1] for fast in trajectory[:-1]]
        running = {block: [value.clone() for value in pair] for block, pair in passes[0].items()}
        for used in passes[1:]:
            for block, (mean, variance) in used.items():
                running[block][0] = (1 - momentum) * running[block][0] + momentum * mean
                running[block][1] = (1 - momentum) * running[block][1] + momentum * variance
        torch.testing.assert_close(found[task], statistics_of(tasks.query_x[task], trajectory[-1], running)[0])


def test_an_episodes_statistics_do_not_enter_the_next() -> None:
    """A prediction is the same whatever was predicted or trained on before, but for running statistics."""
    tasks = images_tasks()
    method = learner(tasks, "episode-running")
    before = method.predict(tasks)
    method.loss(replace(tasks, support_x=1 - tasks.support_x))
    method.after_update()
    torch.testing.assert_close(method.predict(tasks), before, rtol=0, atol=0)


# What it starts from, and what it refuses


def test_gates_start_near_gradient_descent() -> None:
    """Forget biases from U(4, 5), input biases from U(-5, -4), all other weights from U(-0.01, 0.01)."""
    drawn = [dict(MetaLstm(20).named_parameters()) for _ in range(200)]
    forget, rate = (torch.cat([d[name].detach() for d in drawn]) for name in ("forget_bias", "input_bias"))
    assert 4 <= forget.min() < 4.1 and 4.9 < forget.max() <= 5
    assert -5 <= rate.min() < -4.9 and -4.1 < rate.max() <= -4
    for name in ("weight", "bias", "gate_weight"):
        values = torch.cat([d[name].detach().flatten() for d in drawn])
        assert -0.01 <= values.min() < -0.0099 and 0.0099 < values.max() <= 0.01


def test_sizes_are_those_of_the_papers_table() -> None:
    """On 84x84 images: four layers of 32 filters of 3x3 with a shift each, a head of 5 outputs on 32 x 5 x 5 features; an
    LSTM of 20 units on 4 inputs, and two gates of 22 weights and a bias."""
    shape = (3, 84, 84)
    method = LstmMetaLearner(LstmMetaLearnerHparams(), MethodInfo("classification", 5, 5, shape, 64), conv4_32(shape))
    layers = 9 * 3 * 32 + 3 * 9 * 32 * 32 + 4 * 32 + 5 * 800 + 5
    assert sum(p.numel() for p in method.parameters()) == layers + 4 * 20 * (4 + 20 + 1) + 2 * 23 == 34691


@pytest.mark.parametrize("mode", [mode for mode in TRAIN_MODES if mode != "none"])
def test_every_parameter_gets_a_gradient(mode: Normalisation) -> None:
    """In each mode of training, with the start that the method gives itself."""
    tasks = images_tasks()
    torch.manual_seed(0)
    method = LstmMetaLearner(
        LstmMetaLearnerHparams(inner_steps=2), MethodInfo("classification", 3, 6, (1, 16, 16), 10), conv4_32((1, 16, 16))
    ).double()
    held(method, Conditions(mode))
    method.loss(tasks).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_no_state_of_the_lstm_is_kept_for_the_gradient() -> None:
    """What a task of Conv4-64 keeps is less than the states of its coordinates would take."""
    shape = (1, 28, 28)
    method = LstmMetaLearner(LstmMetaLearnerHparams(), MethodInfo("classification", 5, 5, shape, 10), conv4_64(shape))
    about = {"method": "lstm-meta-learner", "hparams": {}, "backbone": "conv4-64", "dataset": "glyphs", "data": {}}
    size = {"ways": 5, "shots": 1, "queries": 1, "updates": 1, "seed": 0, "validation": None, "selection": "last"}
    kept = kept_bytes(method, TrainSpec.checked({**about, **size, "normalisation": "episode-running"}), kernels=False)
    coordinates = sum(p.numel() for name, p in method.named_parameters() if not name.startswith("lstm."))
    assert kept < 12 * coordinates * 2 * 20 * 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"inner_steps": 0}, "inner_steps"),
        ({"hidden": 0}, "hidden"),
        ({"gradient_scale": 0.0}, "gradient_scale"),
        ({"statistics_momentum": 0.0}, "statistics_momentum"),
        ({"statistics_momentum": 1.1}, "statistics_momentum"),
        ({"head_std": -0.1}, "head_std"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(given: dict[str, Any], said: str) -> None:
    """The message names the one that is."""
    with pytest.raises(UsageError, match=said):
        build_hparams(LstmMetaLearnerHparams, given)
