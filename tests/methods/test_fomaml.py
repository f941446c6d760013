"""First-order MAML is MAML with its second derivatives cut, step by step.

Legend: T tasks.
"""

import pytest
import torch
from plain_loop import (
    T,
    adapted,
    assert_equal,
    error,
    images_tasks,
    meta_gradient,
    one_task,
    plain_gradient,
    plain_losses,
    scores,
    small,
    waves_tasks,
    without_shift,
)
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4 import conv4_32, conv4_64_strided
from fewshot_methods.fomaml import Fomaml, FomamlHparams
from fewshot_methods.maml import Maml

ALPHA = 0.3
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])


def descent(name: str, grad: Tensor, task: int) -> Tensor:
    """One rate for all."""
    return ALPHA * grad


@kinds
@inner_steps
def test_the_meta_gradient_is_that_of_a_plain_loop_whose_inner_gradients_are_cut(tasks: Tasks, steps: int) -> None:
    """Losses and meta-gradient equal a loop over tasks in which every inner gradient is a constant."""
    method = small(Fomaml, tasks, inner_lr=ALPHA, inner_steps=steps)
    params = dict(method.named_parameters())
    losses = plain_losses(params, tasks, steps, without_shift(params), descent, first_order=True)
    torch.testing.assert_close(method.loss(tasks), losses)
    assert_equal(meta_gradient(method, tasks), plain_gradient(losses, params))


@inner_steps
def test_the_meta_gradient_is_the_query_gradient_at_the_adapted_parameters(steps: int) -> None:
    """As Finn et al. describe it: of each task, the gradient where the inner steps end; the mean over the tasks."""
    tasks = images_tasks()
    method = small(Fomaml, tasks, inner_lr=ALPHA, inner_steps=steps)
    params = dict(method.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    for task in range(T):
        end = adapted(params, tasks, task, steps, without_shift(params), descent, first_order=True)
        end = {name: p.detach().requires_grad_() for name, p in end.items()}
        found = torch.autograd.grad(error(scores(tasks.query_x[task], end), tasks.targets[task]), list(end.values()))
        total = {name: total[name] + grad / T for name, grad in zip(end, found, strict=True)}
    assert_equal(meta_gradient(method, tasks), total)


@kinds
def test_the_losses_are_mamls_and_the_gradient_is_not(tasks: Tasks) -> None:
    """The same steps lead to the same losses; the second derivatives are what differs."""
    methods = [small(method, tasks, inner_lr=ALPHA, inner_steps=2) for method in (Fomaml, Maml)]
    first, second = (method.loss(tasks) for method in methods)
    torch.testing.assert_close(first, second)
    cut, whole = (
        meta_gradient(method, tasks)["network.block1_weight" if tasks.ways > 1 else "network.layer1_weight"]
        for method in methods
    )
    assert (cut - whole).abs().max() > 1e-3 * whole.abs().max()


def test_tasks_in_one_call_equal_a_call_for_each() -> None:
    """The tasks of a batch do not see each other."""
    tasks = images_tasks()
    method = small(Fomaml, tasks, "support", inner_lr=ALPHA)
    for task, loss in enumerate(method.loss(tasks)):
        torch.testing.assert_close(method.loss(one_task(tasks, task))[0], loss)


def test_second_order_is_refused() -> None:
    """`first_order: false` is MAML, and the error says so."""
    with pytest.raises(UsageError, match="maml"):
        build_hparams(FomamlHparams, {"first_order": False})


@pytest.mark.parametrize(
    ("backbone", "shape", "expected"),
    [
        # A filter has 9 weights for each input channel; each layer has a shift for each filter; the head is linear.
        (conv4_64_strided, (1, 28, 28), 64 * 9 + 3 * 64 * 64 * 9 + 4 * 64 + 5 * 64 + 5),  # 111,749
        (conv4_32, (3, 84, 84), 3 * 32 * 9 + 3 * 32 * 32 * 9 + 4 * 32 + 5 * 800 + 5),  # 32,645
    ],
    ids=["Omniglot", "mini-ImageNet"],
)
def test_the_networks_have_the_papers_number_of_parameters(
    backbone: type, shape: tuple[int, int, int], expected: int
) -> None:
    """Four layers of 64 strided filters on Omniglot, of 32 pooled ones on mini-ImageNet, and a head of 5 outputs."""
    method = Fomaml(FomamlHparams(), MethodInfo("classification", 5, 5, shape, 10), backbone(shape))
    assert sum(p.numel() for p in method.parameters()) == expected
