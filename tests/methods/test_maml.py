"""MAML equals a plain loop, learn2learn's and finite differences; its normalisation modes are what they are called.

Legend: T tasks, N ways, K shots, Q query images in all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from held import held
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.learning.inner_loop import Rates
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods.backbones.conv4 import Conv4, conv4_32, conv4_64, conv4_64_strided
from fewshot_methods.maml import Maml, MamlHparams

T, N, K, Q, SIDE = 3, 3, 2, 6, 16
MODES: list[Normalisation] = sorted(Maml.modes - {"none"})  # which is for networks without normalised layers
modes = pytest.mark.parametrize("mode", MODES)
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])
strided = pytest.mark.parametrize("strided", [False, True], ids=["pooled with scale", "strided"])

Gradients = dict[str, Tensor]


def make_maml(mode: Normalisation = "separate", *, strided: bool = True, **hparams: Any) -> Maml:
    """MAML on a small Conv4 in float64, its parameters and running statistics random."""
    generator = torch.Generator().manual_seed(0)
    backbone = Conv4((1, SIDE, SIDE), filters=4, strided=strided, scale=not strided, eps=1e-3)
    given = {"inner_lr": 0.3, "inner_steps": 2, "test_inner_steps": 2, **hparams}
    maml = Maml(build_hparams(MamlHparams, given), MethodInfo("classification", N, N * K, (1, SIDE, SIDE), 10), backbone)
    maml.double()
    for name, parameter in maml.named_parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * 0.5
        parameter.data += float(name.endswith("_scale"))
    for buffer in maml.buffers():
        buffer.data = torch.rand(buffer.shape, dtype=torch.float64, generator=generator) + 0.5
    held(maml, Conditions(mode))
    return maml


@pytest.fixture
def tasks() -> Tasks:
    """T tasks of random images in float64, labels shuffled."""
    return random_tasks()


def random_tasks() -> Tasks:
    """T tasks of random images in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(1)

    def images(count: int) -> Tensor:
        return torch.rand(T, count, 1, SIDE, SIDE, dtype=torch.float64, generator=generator)

    def shuffled(count: int) -> Tensor:
        labels = torch.arange(count) % N
        return torch.stack([labels[torch.randperm(count, generator=generator)] for _ in range(T)])

    return Tasks(images(N * K), shuffled(N * K), images(Q), shuffled(Q), N, torch.arange(T))


def only(tasks: Tasks, task: int) -> Tasks:
    """One task of a batch, as a batch of one."""
    return tasks.some(slice(task, task + 1))


def meta_gradient(maml: Maml, tasks: Tasks) -> Gradients:
    """The gradient of the mean loss of the tasks, by parameter."""
    params = dict(maml.named_parameters())
    return dict(zip(params, torch.autograd.grad(maml.loss(tasks).mean(), list(params.values())), strict=True))


# The same network from torch's layers, for learn2learn. In training mode a pass normalises with its own images'
# statistics, which is our mode `separate`. The peer adapts every parameter: `adapt_shift`. Where we have no scale, the
# twin's stays 1 and takes no part.


def twin_of(maml: Maml) -> nn.Sequential:
    """The network and head of `maml`, with the same weights."""
    backbone = maml.network
    assert isinstance(backbone, Conv4)
    layers: list[nn.Module] = []
    for layer in backbone.channels:
        weight = backbone.get_parameter(f"{layer}_weight")
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride=2 if backbone.strided else 1, padding=1, bias=False)
        norm = nn.BatchNorm2d(len(weight), eps=backbone.eps)
        norm.weight.requires_grad_(not backbone.strided)
        layers += [conv, norm, nn.ReLU(), *([] if backbone.strided else [nn.MaxPool2d(2)])]
    layers += [nn.AdaptiveAvgPool2d(1)] if backbone.strided else []
    twin = nn.Sequential(*layers, nn.Flatten(), nn.Linear(backbone.features, N)).double()
    for name, parameter in twin_parameters(maml, twin):
        parameter.data = maml.get_parameter(name).detach().clone()
    return twin


def twin_parameters(maml: Maml, twin: nn.Sequential) -> Iterator[tuple[str, Tensor]]:
    """The twin's parameters that learn, each under our name."""
    convs = [layer for layer in twin if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in twin if isinstance(layer, nn.BatchNorm2d)]
    for layer, conv, norm in zip(maml.network.channels, convs, norms, strict=True):
        yield f"network.{layer}_weight", conv.weight
        yield f"network.{layer}_shift", norm.bias
        if f"network.{layer}_scale" in dict(maml.named_parameters()):
            yield f"network.{layer}_scale", norm.weight
    yield "head_weight", twin[-1].weight
    yield "head_bias", twin[-1].bias


def peer_adapted(peer: nn.Module, tasks: Tasks, task: int, steps: int) -> Any:
    """learn2learn's clone after `steps` steps on the support of a task."""
    learner = peer.clone()
    for _ in range(steps):
        learner.adapt(F.cross_entropy(learner(tasks.support_x[task]), tasks.support_y[task]))
    return learner


def assert_equal(ours: Gradients, theirs: Gradients) -> None:
    """Each tensor agrees to 1e-8 of its largest entry."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        largest = expected.abs().max()
        assert largest > 0, f"{name}: nothing to compare"
        assert (ours[name] - expected).abs().max() <= 1e-8 * largest, name


# The same from torch's functions alone, in the order of the papers: one task after another, a gradient a step.

BACKBONES: dict[str, Callable[[tuple[int, int, int]], Conv4]] = {
    "conv4-64": conv4_64,
    "conv4-64-strided": conv4_64_strided,
    "conv4-32": conv4_32,
}
LEARNING: dict[str, tuple[int, bool, bool, list[slice]]] = {
    "1 step": (1, False, False, [slice(0, T)]),
    "1 step of first order, shift adapts": (1, True, True, [slice(0, T)]),
    "3 steps of first order": (3, True, False, [slice(0, T)]),
    "3 steps, shift adapts": (3, False, True, [slice(0, T)]),
    "3 steps, in chunks": (3, False, False, [slice(0, 2), slice(2, T)]),
}
"""Inner steps, first order, whether the shift (and scale) adapts, and the tasks that are computed at once."""
STYLES = {"conv4-64": (1, 2, 1e-5), "conv4-64-strided": (2, 1, 1e-3), "conv4-32": (1, 2, 1e-3)}
"""Stride, window of the pooling, eps."""
INNER_LR = 0.2
BLOCKS = [f"block{i}" for i in range(1, 5)]
Used = dict[str, tuple[Tensor, Tensor]]
"""By block: mean and variance [O]."""


@dataclass(frozen=True)
class Plain:
    """MAML in a loop: how it learns, and its parameters and running statistics under the names of ours."""

    backbone: str
    mode: Normalisation
    steps: int
    first_order: bool
    adapt_shift: bool

    def maml(self) -> Maml:
        """Ours, on random parameters (scales of both signs) and running statistics."""
        hparams = {"inner_lr": INNER_LR, "inner_steps": self.steps, "first_order": self.first_order}
        return randomised(self.backbone, self.mode, **hparams, adapt_shift=self.adapt_shift)

    def losses(self, params: Gradients, running: Used, tasks: Tasks) -> Tensor:
        """Loss of each task [T]."""
        parts = zip(tasks.support_x, tasks.support_y, tasks.query_x, tasks.targets, strict=True)
        return torch.stack([self.loss(params, running, *of_task) for of_task in parts])

    def loss(
        self, params: Gradients, running: Used, support: Tensor, labels: Tensor, query: Tensor, targets: Tensor
    ) -> Tensor:
        """Mean cross-entropy on the queries of one task after the inner steps."""
        fast, passes = dict(params), list[Used]()
        names = [name for name in params if self.adapt_shift or not name.endswith(("_shift", "_scale"))]
        for _ in range(self.steps):
            images = torch.cat([support, query]) if self.mode == "joint" else support
            scores, used = self.scores(images, fast, running if self.mode == "running" else None)
            passes.append(used)
            loss = F.cross_entropy(scores[: len(support)], labels)
            wanted = [fast[name] for name in names]
            for name, gradient in zip(names, torch.autograd.grad(loss, wanted, create_graph=True), strict=True):
                fast[name] = fast[name] - INNER_LR * (gradient.detach() if self.first_order else gradient)
        return F.cross_entropy(self.query_scores(fast, running, passes, support, query), targets)

    def query_scores(self, fast: Gradients, running: Used, passes: list[Used], support: Tensor, query: Tensor) -> Tensor:
        """Scores of the queries [Q, N] under adapted parameters."""
        if self.mode == "joint":
            return self.scores(torch.cat([support, query]), fast, None)[0][len(support) :]
        if self.mode == "support+1":
            return torch.cat([self.scores(torch.cat([support, one[None]]), fast, None)[0][-1:] for one in query])
        match self.mode:
            case "running":
                given: Used | None = running
            case "support":
                given = self.scores(support, fast, None)[1]
            case "episode-running":
                given = {block: mean_of([used[block] for used in passes]) for block in BLOCKS}
            case _:
                given = None
        return self.scores(query, fast, given)[0]

    def scores(self, images: Tensor, params: Mapping[str, Tensor], given: Used | None) -> tuple[Tensor, Used]:
        """Scores [n, N] of images, and the statistics of each block's maps."""
        (stride, window, eps), x, used = STYLES[self.backbone], images, Used()
        for block in BLOCKS:
            x = F.conv2d(x, params[f"network.{block}_weight"], stride=stride, padding=1)
            used[block] = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            shift = params[f"network.{block}_shift"]
            scale = params.get(f"network.{block}_scale", torch.ones_like(shift))
            if given is None:
                x = F.batch_norm(x, None, None, scale, shift, training=True, eps=eps)
            else:
                mean, variance = (part[:, None, None] for part in given[block])
                x = (x - mean) / (variance + eps).sqrt() * scale[:, None, None] + shift[:, None, None]
            x = F.max_pool2d(F.relu(x), window)
        x = x.mean((2, 3)) if stride == 2 else x.flatten(1)
        return F.linear(x, params["head_weight"], params["head_bias"]), used


def mean_of(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The plain mean of means and of variances."""
    return torch.stack([mean for mean, _ in parts]).mean(0), torch.stack([variance for _, variance in parts]).mean(0)


def randomised(backbone: str, mode: Normalisation, **hparams: Any) -> Maml:
    """MAML on a registered backbone in float64."""
    generator = torch.Generator().manual_seed(0)
    network = BACKBONES[backbone]((1, SIDE, SIDE))
    maml = Maml(build_hparams(MamlHparams, hparams), MethodInfo("classification", N, N * K, (1, SIDE, SIDE), 10), network)
    held(maml.double(), Conditions(mode))
    for name, tensor in maml.state_dict().items():
        noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
        fan_in = max(1, tensor[0].numel())
        tensor.copy_(0.5 + noise.square() if "variance" in name else noise * (1.5 / fan_in) ** 0.5)
    return maml


@cache
def expected_of(plain: Plain) -> tuple[Tensor, Gradients]:
    """The losses [T] of a plain loop and the gradient of their mean."""
    maml = plain.maml()
    params = {name: parameter.detach().requires_grad_() for name, parameter in maml.named_parameters()}
    running = {b: (maml.get_buffer(f"running.{b}_mean"), maml.get_buffer(f"running.{b}_variance")) for b in BLOCKS}
    losses = plain.losses(params, running, random_tasks())
    gradient = torch.autograd.grad(losses.mean(), list(params.values()))
    return losses.detach(), dict(zip(params, gradient, strict=True))


@modes
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("learning", LEARNING)
def test_losses_and_meta_gradient_are_those_of_a_plain_loop(
    tasks: Tasks, mode: Normalisation, backbone: str, learning: str, computed_by: str
) -> None:
    """To 1e-8, in every mode, on every backbone, however it learns and however the tasks are chunked."""
    steps, first_order, adapt_shift, chunks = LEARNING[learning]
    plain = Plain(backbone, mode, steps, first_order, adapt_shift)
    maml, losses = plain.maml(), []
    for chunk in chunks:
        loss = maml.loss(tasks.some(chunk))
        (loss.sum() / T).backward()
        losses.append(loss.detach())
    expected, gradient = expected_of(plain)
    assert_equal({"loss": torch.cat(losses)}, {"loss": expected})
    assert_equal({name: p.grad for name, p in maml.named_parameters() if p.grad is not None}, gradient)


@strided
@inner_steps
def test_adapted_parameters_are_those_of_learn2learn(l2l: ModuleType, tasks: Tasks, strided: bool, steps: int) -> None:
    """After the inner steps every parameter of every task is the peer's."""
    maml = make_maml(strided=strided, inner_steps=steps, adapt_shift=True)
    loop = maml.inner_loop(tasks, dict(maml.named_parameters()), steps, second_order=True)
    fast, _ = loop.adapt(tasks, dict(maml.named_parameters()))
    peer = l2l.algorithms.MAML(twin_of(maml), lr=maml.hparams.inner_lr, allow_nograd=True)
    for task in range(T):
        learner = peer_adapted(peer, tasks, task, steps)
        theirs = {name: p.detach() for name, p in twin_parameters(maml, learner.module)}
        assert_equal({name: p[task].detach() for name, p in fast.items()}, theirs)


@strided
@inner_steps
@orders
def test_the_meta_gradient_is_that_of_learn2learn(
    l2l: ModuleType, tasks: Tasks, strided: bool, steps: int, first_order: bool
) -> None:
    """The gradient of the mean query loss over the tasks is the peer's, through the inner steps or not."""
    maml = make_maml(strided=strided, inner_steps=steps, adapt_shift=True, first_order=first_order)
    twin = twin_of(maml)
    peer = l2l.algorithms.MAML(twin, lr=maml.hparams.inner_lr, first_order=first_order, allow_nograd=True)
    for task in range(T):
        learner = peer_adapted(peer, tasks, task, steps)
        (F.cross_entropy(learner(tasks.query_x[task]), tasks.targets[task]) / T).backward()
    theirs = {name: p.grad for name, p in twin_parameters(maml, twin) if p.grad is not None}
    assert_equal(meta_gradient(maml, tasks), theirs)


@strided
def test_the_loss_is_that_of_learn2learn(l2l: ModuleType, tasks: Tasks, strided: bool) -> None:
    """Each task's loss is the peer's mean cross-entropy on its queries after adaptation."""
    maml = make_maml(strided=strided, adapt_shift=True)
    peer = l2l.algorithms.MAML(twin_of(maml), lr=maml.hparams.inner_lr, allow_nograd=True)
    learners = [peer_adapted(peer, tasks, task, maml.hparams.inner_steps) for task in range(T)]
    theirs = [F.cross_entropy(net(tasks.query_x[i]), tasks.targets[i]) for i, net in enumerate(learners)]
    torch.testing.assert_close(maml.loss(tasks), torch.stack(theirs))


@pytest.mark.parametrize("mode", TRAIN_MODES)
@strided
def test_the_meta_gradient_is_that_of_finite_differences(tasks: Tasks, mode: Normalisation, strided: bool) -> None:
    """In every training mode, of every parameter two entries: the slope of the loss between two near points."""
    maml, step = make_maml(mode, strided=strided), 1e-6
    gradient = meta_gradient(maml, tasks)
    largest = max(float(g.abs().max()) for g in gradient.values())
    for name, parameter in maml.named_parameters():
        entries = parameter.data.view(-1)
        for entry in (0, len(entries) - 1):
            value, losses = entries[entry].item(), []
            for shifted in (value + step, value - step):
                entries[entry] = shifted
                losses.append(maml.loss(tasks).mean().item())
            entries[entry] = value
            slope = (losses[0] - losses[1]) / (2 * step)
            assert gradient[name].view(-1)[entry].item() == pytest.approx(slope, rel=1e-5, abs=1e-7 * largest), name


@pytest.mark.parametrize("mode", TRAIN_MODES)
def test_a_first_order_gradient_takes_the_inner_gradient_for_a_constant(tasks: Tasks, mode: Normalisation) -> None:
    """With `first_order` the meta-gradient is that of parameters moved by a fixed step, in every training mode."""
    maml = make_maml(mode, first_order=True, inner_steps=1)
    params = dict(maml.named_parameters())
    loop = maml.inner_loop(tasks, params, 1, second_order=False)
    fast, gathered = loop.adapt(tasks, params)
    moved = {name: p + (fast[name] - p).detach() for name, p in params.items()}
    if gathered is not None:  # of the one support pass, before the step
        _, gathered = loop.network(tasks.support_x, params, None)
    scores, _ = loop.query_scores(tasks, moved, gathered)
    loss = F.cross_entropy(scores.flatten(0, 1), tasks.targets.flatten())
    theirs = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
    assert_equal(meta_gradient(maml, tasks), theirs)


@pytest.mark.parametrize("mode", TRAIN_MODES)
def test_a_first_order_gradient_passes_several_steps(tasks: Tasks, mode: Normalisation) -> None:
    """With three inner steps each training mode gives every parameter a finite gradient that is not zero."""
    gradient = meta_gradient(make_maml(mode, first_order=True, inner_steps=3), tasks)
    assert all(torch.isfinite(g).all() and g.any() for g in gradient.values())


@pytest.mark.parametrize("adapt_shift", [False, True])
def test_the_normalisation_adapts_only_where_told(tasks: Tasks, adapt_shift: bool) -> None:
    """Shift and scale stay shared by the tasks unless `adapt_shift`; all else has a value a task."""
    maml = make_maml(strided=False, adapt_shift=adapt_shift)
    params = dict(maml.named_parameters())
    fast, _ = maml.inner_loop(tasks, params, 2, second_order=True).adapt(tasks, params)
    for name, parameter in params.items():
        adapts = adapt_shift or not name.endswith(("_shift", "_scale"))
        assert fast[name].shape == ((T, *parameter.shape) if adapts else parameter.shape)
        assert (fast[name] is parameter) == (not adapts)


@modes
def test_tasks_in_one_call_equal_a_call_for_each(tasks: Tasks, mode: Normalisation) -> None:
    """Losses and scores of T tasks at once are those of T calls: tasks of a batch do not see each other."""
    maml = make_maml(mode)
    losses, scores = maml.loss(tasks), maml.predict(tasks.without_query_labels())
    for task in range(T):
        alone = only(tasks, task)
        torch.testing.assert_close(maml.loss(alone)[0], losses[task])
        torch.testing.assert_close(maml.predict(alone.without_query_labels())[0], scores[task])


def unlike_last_query(tasks: Tasks, change: str) -> Tasks:
    """The tasks with their last query replaced by its negative, or removed."""
    others, last = tasks.query_x[:, :-1], tasks.query_x[:, -1:]
    return replace(tasks, query_x=torch.cat([others, 1 - last], 1) if change == "replaced" else others)


@modes
@strided
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_queries_see_each_other_in_transductive_modes_alone(
    tasks: Tasks, mode: Normalisation, strided: bool, change: str
) -> None:
    """Another last query, or none, changes the others' scores under `separate` and `joint`, in no other mode."""
    maml, tasks = make_maml(mode, strided=strided), tasks.without_query_labels()
    before = maml.predict(tasks)[:, : Q - 1]
    after = maml.predict(unlike_last_query(tasks, change))[:, : Q - 1]
    assert torch.allclose(before, after, rtol=1e-10, atol=1e-10) == (mode not in TRANSDUCTIVE_MODES)


@modes
def test_the_order_of_the_queries_is_that_of_the_scores(tasks: Tasks, mode: Normalisation) -> None:
    """Queries in reverse order get the same scores in reverse order."""
    maml = make_maml(mode)
    scores = maml.predict(replace(tasks, query_x=tasks.query_x.flip(1), query_y=None))
    torch.testing.assert_close(scores.flip(1), maml.predict(tasks.without_query_labels()))


@modes
@pytest.mark.parametrize("grad", [False, True], ids=["under no_grad", "outside no_grad"])
def test_predicting_leaves_the_method_untouched(tasks: Tasks, mode: Normalisation, grad: bool) -> None:
    """Neither parameters nor gradients nor running statistics change, with gradients enabled or not."""
    maml = make_maml(mode).eval()
    for parameter in maml.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in maml.state_dict().items()}
    with torch.set_grad_enabled(grad):
        maml.predict(tasks.without_query_labels())
    maml.after_update()
    assert all(torch.equal(value, before[name]) for name, value in maml.state_dict().items())
    assert all(p.grad is not None and p.grad.eq(1).all() and p.requires_grad for p in maml.parameters())


@modes
def test_scores_are_the_same_under_no_grad(tasks: Tasks, mode: Normalisation) -> None:
    """A test runs without gradients; the inner steps take theirs all the same, and none is left in the scores."""
    maml, tasks = make_maml(mode).eval(), tasks.without_query_labels()
    with torch.no_grad():
        scores = maml.predict(tasks)
    assert not scores.requires_grad
    torch.testing.assert_close(scores, maml.predict(tasks).detach())


@modes
def test_the_loss_is_that_of_the_predicted_scores(tasks: Tasks, mode: Normalisation) -> None:
    """With as many steps at test as in training, the loss is the cross-entropy of what `predict` gives."""
    maml = make_maml(mode)
    scores = maml.predict(tasks.without_query_labels())
    expected = torch.stack([F.cross_entropy(scores[i], tasks.targets[i]) for i in range(T)])
    torch.testing.assert_close(maml.loss(tasks).detach(), expected.detach())


def test_the_inner_steps_of_the_conditions_win(tasks: Tasks) -> None:
    """Five steps asked for by the conditions give what five as hyper-parameter give, and not what two give."""
    tasks = tasks.without_query_labels()
    two, five = make_maml("support"), make_maml("support", test_inner_steps=5)
    before = two.predict(tasks)
    held(two, Conditions("support", inner_steps=5))
    assert torch.equal(two.predict(tasks), five.predict(tasks))
    assert not torch.allclose(two.predict(tasks), before)


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_move_in_training_alone(tasks: Tasks, training: bool) -> None:
    """An update moves them; a loss in evaluation mode, as in validation, does not."""
    maml = make_maml("support").train(training)
    before = maml.running.block1_mean.clone()
    maml.loss(tasks)
    maml.after_update()
    assert torch.equal(maml.running.block1_mean, before) == (not training)


@pytest.mark.parametrize(
    "given",
    [{"inner_steps": 0}, {"test_inner_steps": 0}, {"inner_steps": -1}, {"inner_lr": "fast"}, {"inner_steps": 1.5}],
)
def test_impossible_hyperparameters_are_refused(given: dict[str, Any]) -> None:
    """Steps under one, and values that are no numbers of the right type, raise `UsageError` that names the key."""
    with pytest.raises(UsageError, match=next(iter(given))):
        build_hparams(MamlHparams, given)


@pytest.mark.parametrize("inner_lr", [0.0, -0.1, float("nan"), float("inf")])
def test_an_inner_rate_that_is_not_positive_and_finite_is_refused(inner_lr: float) -> None:
    """A rate of nothing, uphill or not a number raises `UsageError` that names it."""
    with pytest.raises(UsageError, match="inner_lr"):
        build_hparams(MamlHparams, {"inner_lr": inner_lr})


def test_rates_of_what_is_no_parameter_are_refused(tasks: Tasks) -> None:
    """As a plugin's slip: the name, and those that exist."""

    class Slip(Maml):
        """Names a parameter that is not there."""

        def rates(self, params: Parameters, step: int) -> Rates:
            """One that is not there, beside MAML's."""
            return {**super().rates(params, step), "head": 0.1}

    method = make_maml("support")
    method.__class__ = Slip
    with pytest.raises(FewshotError, match=r"Slip.rates names head, which .* head_weight"):
        method.loss(tasks)
