"""T-net is MAML where T is the identity, and elsewhere equals a network with a layer more behind each layer.

Legend: T tasks, O outputs of a layer.
"""

import pytest
import torch
from plain_loop import (
    assert_equal,
    assert_slopes,
    images_tasks,
    meta_gradient,
    plain_gradient,
    plain_losses,
    small,
    waves_tasks,
    without_shift,
)
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones.conv4 import conv4_64_strided
from fewshot_methods.backbones.mlp import Mlp
from fewshot_methods.maml import Maml
from fewshot_methods.t_net import TNet, TNetHparams

ALPHA = 0.3
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])
strided = pytest.mark.parametrize("strided", [False, True], ids=["pooled with scale", "strided"])


def descent(name: str, grad: Tensor, task: int) -> Tensor:
    """One rate for all."""
    return ALPHA * grad


@orders
@inner_steps
@pytest.mark.parametrize("network", ["pooled with scale", "strided", "perceptron"])
def test_losses_and_meta_gradient_are_those_of_a_network_with_matrices(network: str, steps: int, first_order: bool) -> None:
    """A plain loop over tasks on a network that multiplies each layer's activations by its T, in front of the
    normalisation: a 1x1 convolution, or a matrix behind weight and bias; the head has one too."""
    tasks = waves_tasks() if network == "perceptron" else images_tasks()
    method = small(TNet, tasks, strided=network == "strided", inner_lr=ALPHA, inner_steps=steps, first_order=first_order)
    params = dict(method.named_parameters())
    losses = plain_losses(params, tasks, steps, without_shift(params), descent, first_order)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), plain_gradient(losses, params))


@kinds
@inner_steps
def test_with_identities_it_is_maml(tasks: Tasks, steps: int) -> None:
    """As it starts, it has MAML's losses and MAML's gradient of the parameters that MAML has."""
    method, maml = (small(m, tasks, inner_lr=ALPHA, inner_steps=steps) for m in (TNet, Maml))
    for matrix in method.transform.values():
        matrix.data = torch.eye(len(matrix)).double()
    method.load_state_dict(maml.state_dict(), strict=False)
    torch.testing.assert_close(method.loss(tasks), maml.loss(tasks), rtol=1e-12, atol=0)
    ours, theirs = meta_gradient(method, tasks), meta_gradient(maml, tasks)
    assert_equal({name: ours[name] for name in theirs}, theirs)


def test_matrices_start_as_identities() -> None:
    """One for each layer and one for the head."""
    method = TNet(TNetHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 10), conv4_64_strided((1, 28, 28)))
    sizes = {"block1": 64, "block2": 64, "block3": 64, "block4": 64, "head": 5}
    assert method.transform.keys() == sizes.keys()
    assert all(torch.equal(method.transform[layer], torch.eye(size)) for layer, size in sizes.items())


@kinds
def test_inner_steps_leave_the_matrices_alone(tasks: Tasks) -> None:
    """After them each task's are the very tensors that all began with, while weights and biases are each task's own."""
    method = small(TNet, tasks, inner_lr=ALPHA, inner_steps=2)
    params = dict(method.named_parameters())
    fast, _ = method.inner_loop(tasks, params, 2, second_order=True).adapt(tasks, params)
    for name, parameter in params.items():
        assert (fast[name] is parameter) == (name not in without_shift(params))


@kinds
def test_an_inner_step_moves_the_effective_weight_in_the_metric_of_the_matrix(tasks: Tasks) -> None:
    """T W moves by -alpha T T' g, where g is the gradient that MAML on T W would follow."""
    method, maml = (small(m, tasks, inner_lr=ALPHA) for m in (TNet, Maml))
    params = dict(method.named_parameters())
    effective = {name: method.transformed(name, params) for name in dict(maml.named_parameters())}
    fast, _ = method.inner_loop(tasks, params, 1, second_order=False).adapt(tasks, params)
    plain, _ = maml.inner_loop(tasks, effective, 1, second_order=False).adapt(tasks, effective)
    for layer, matrix in method.transform.items():
        name = f"{layer}_weight" if layer == "head" else f"network.{layer}_weight"
        step = (effective[name] - plain[name]).flatten(2)  # alpha g [T, O, M]
        moved = effective[name] - method.transformed(name, fast)
        torch.testing.assert_close(moved.flatten(2), matrix @ matrix.mT @ step)


@strided
@pytest.mark.parametrize("mode", TRAIN_MODES)
def test_the_meta_gradient_is_that_of_finite_differences(mode: Normalisation, strided: bool) -> None:
    """In every training mode, of weights, shifts and matrices."""
    assert_slopes(small(TNet, images_tasks(), mode, strided=strided, inner_lr=ALPHA, inner_steps=2), images_tasks())


def test_the_meta_gradient_of_a_regression_is_that_of_finite_differences() -> None:
    """On waves, through biases too."""
    assert_slopes(small(TNet, waves_tasks(), inner_lr=ALPHA), waves_tasks())


@pytest.mark.parametrize(
    ("network", "shape", "outputs", "expected"),
    [
        # Beside MAML's 64*9 + 3*64*64*9 + 4*64 + 5*64 + 5 = 111,749: four matrices of 64x64 and one of 5x5.
        (conv4_64_strided, (1, 28, 28), 5, 111_749 + 4 * 64 * 64 + 5 * 5),  # 128,158
        # Beside 1*40+40 + 40*40+40 + 40*1+1 = 1,761: two matrices of 40x40 and one number.
        (Mlp, (1,), 1, 1_761 + 2 * 40 * 40 + 1),  # 4,962
    ],
    ids=["Omniglot", "sinusoid"],
)
def test_the_number_of_parameters_is_that_of_the_layers(
    network: type, shape: tuple[int, ...], outputs: int, expected: int
) -> None:
    """Counted by hand."""
    kind = "regression" if outputs == 1 else "classification"
    method = TNet(TNetHparams(), MethodInfo(kind, outputs, 5, shape, 10), network(shape))
    assert sum(p.numel() for p in method.parameters()) == expected
