"""What tests of gradient-based methods share: small networks with random values, and the inner loop as one would write it.

Legend: T tasks, N ways, K shots, Q queries in all, n images or points, D features.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from held import held
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.gradient import GradientMethod
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones.conv4 import Conv4
from fewshot_methods.backbones.mlp import Mlp

T, N, K, Q, SIDE, EPS = 3, 3, 2, 6, 16, 1e-3
Values = dict[str, Tensor]
Step = Callable[[str, Tensor, int], Tensor]
"""Name of a parameter, its inner gradient, number of the task -> what is subtracted from the parameter."""


def images_tasks(shots: int = K) -> Tasks:
    """T tasks of random images in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(1)

    def images(count: int) -> Tensor:
        return torch.rand(T, count, 1, SIDE, SIDE, dtype=torch.float64, generator=generator)

    def shuffled(count: int) -> Tensor:
        labels = torch.arange(count) % N
        return torch.stack([labels[torch.randperm(count, generator=generator)] for _ in range(T)])

    return Tasks(images(N * shots), shuffled(N * shots), images(Q), shuffled(Q), N, torch.arange(T) * 7919 + 3)


def waves_tasks() -> Tasks:
    """T tasks of points of a wave in float64."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(T, 5 + Q, 1, dtype=torch.float64, generator=generator) * 10 - 5
    y = (x + torch.arange(T).double()[:, None, None]).sin()
    return Tasks(x[:, :5], y[:, :5], x[:, 5:], y[:, 5:], 1, torch.arange(T) * 7919 + 3, "regression")


def one_task(tasks: Tasks, task: int) -> Tasks:
    """One task of a batch, as a batch of one."""
    return tasks.some(slice(task, task + 1))


def small(method: type[GradientMethod], tasks: Tasks, mode: Normalisation = "separate", **given: Any) -> Any:
    """The method on a small network for these tasks, in float64 and training mode; its parameters are random, those of a
    matrix near the identity, those of a scale near 1; so are its running statistics."""
    regression, strided = tasks.kind == "regression", given.pop("strided", True)
    shape = (1,) if regression else (1, SIDE, SIDE)
    backbone = Mlp(shape) if regression else Conv4((1, SIDE, SIDE), filters=4, strided=strided, scale=not strided, eps=EPS)
    info = MethodInfo(tasks.kind, tasks.ways, N * K, shape, 10)
    built = method(build_hparams(method.Hparams, given), info, backbone).double()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in built.named_parameters():
        noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        start = torch.eye(len(parameter)).double() if name.startswith("transform.") else float(name.endswith("_scale"))
        parameter.data = start + noise * (0.2 if regression else 0.5)
    for name, buffer in built.running.named_buffers():
        buffer.data = torch.rand(buffer.shape, dtype=torch.float64, generator=generator)
        buffer += 0.5 if name.endswith("_variance") else -1.0  # means below zero leave the ReLUs something
    held(built, Conditions("none" if regression else mode))
    return built.train()


def meta_gradient(method: GradientMethod, tasks: Tasks) -> Values:
    """The gradient of the mean loss of the tasks, by parameter."""
    params = dict(method.named_parameters())
    return dict(zip(params, torch.autograd.grad(method.loss(tasks).mean(), list(params.values())), strict=True))


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Each tensor agrees to 1e-8 of its largest entry."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        largest = expected.abs().max()
        assert largest > 0, f"{name}: nothing to compare"
        assert (ours[name] - expected).abs().max() <= 1e-8 * largest, name


def assert_slopes(method: GradientMethod, tasks: Tasks, but: str = "no name") -> None:
    """Of every parameter whose name does not begin with `but`, two entries of the meta-gradient are the slope of the loss
    between two near points."""
    gradient, step = meta_gradient(method, tasks), 1e-6
    largest = max(float(g.abs().max()) for g in gradient.values())
    for name, parameter in method.named_parameters():
        entries = parameter.data.view(-1)
        for entry in () if name.startswith(but) else (0, len(entries) - 1):
            value, losses = entries[entry].item(), []
            for shifted in (value + step, value - step):
                entries[entry] = shifted
                losses.append(method.loss(tasks).mean().item())
            entries[entry] = value
            slope = (losses[0] - losses[1]) / (2 * step)
            assert gradient[name].reshape(-1)[entry].item() == pytest.approx(slope, rel=1e-5, abs=1e-7 * largest), name


# The same from torch's functions alone, one task after another. A pass normalises with its own images: mode `separate`.


def features(x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Features [n, D] of images [n, C, H, W] or points [n, 1]; a layer's matrix, where it has one, acts on its activations
    before anything else does."""
    layer = 1
    while f"network.layer{layer}_weight" in params:
        x = F.linear(x, params[f"network.layer{layer}_weight"], params[f"network.layer{layer}_bias"])
        x = F.relu(x @ params[f"transform.layer{layer}"].mT if f"transform.layer{layer}" in params else x)
        layer += 1
    for block in [f"block{i}" for i in range(1, 5) if f"network.block{i}_weight" in params]:
        shift, scale = params[f"network.{block}_shift"], params.get(f"network.{block}_scale")
        x = F.conv2d(x, params[f"network.{block}_weight"], stride=1 if scale is not None else 2, padding=1)
        if f"transform.{block}" in params:
            x = F.conv2d(x, params[f"transform.{block}"][:, :, None, None])
        x = F.relu(F.batch_norm(x, None, None, scale, shift, training=True, eps=EPS))
        x = F.max_pool2d(x, 2) if scale is not None else x
    return x if x.dim() == 2 else x.flatten(1) if "network.block1_scale" in params else x.mean((2, 3))


def scores(x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Outputs [n, N] of inputs [n, ...]."""
    outputs = F.linear(features(x, params), params["head_weight"], params["head_bias"])
    return outputs @ params["transform.head"].mT if "transform.head" in params else outputs


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, or mean squared error."""
    return F.mse_loss(outputs, targets) if targets.is_floating_point() else F.cross_entropy(outputs, targets)


def adapted(params: Values, tasks: Tasks, task: int, steps: int, names: list[str], step: Step, first_order: bool) -> Values:
    """The parameters of one task after its inner steps, in which `names` adapt."""
    fast = dict(params)
    for _ in range(steps):
        loss = error(scores(tasks.support_x[task], fast), tasks.support_y[task])
        found = torch.autograd.grad(loss, [fast[name] for name in names], create_graph=not first_order)
        fast |= {name: fast[name] - step(name, grad, task) for name, grad in zip(names, found, strict=True)}
    return fast


def plain_losses(
    params: Values, tasks: Tasks, steps: int, names: list[str], step: Step, first_order: bool = False
) -> Tensor:
    """The loss of each task on its queries [T] after its inner steps; with `first_order` their gradients are constants."""
    losses = []
    for task in range(len(tasks)):
        fast = adapted(params, tasks, task, steps, names, step, first_order)
        losses.append(error(scores(tasks.query_x[task], fast), tasks.targets[task]))
    return torch.stack(losses)


def plain_gradient(losses: Tensor, params: Values) -> Values:
    """The gradient of the mean of losses [T], by parameter."""
    return dict(zip(params, torch.autograd.grad(losses.mean(), list(params.values())), strict=True))


def without_shift(params: Mapping[str, Tensor]) -> list[str]:
    """Names of the network's and the head's parameters, without the normalisation's."""
    own = [name for name in params if name.startswith(("network.", "head_"))]
    return [name for name in own if not name.endswith(("_shift", "_scale"))]
