"""MT-net is a T-net whose inner gradient is multiplied by a mask: which units, how often, and what its logits learn.

Legend: T tasks, O outputs of a layer.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from plain_loop import (
    T,
    Values,
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
from scipy.stats import logistic
from torch import Tensor

from fewshot_bench.episodes.randomness import task_uniforms
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones.conv4 import conv4_64_strided
from fewshot_methods.mt_net import MtNet, MtNetHparams
from fewshot_methods.t_net import TNet

ALPHA = 0.3
kinds = pytest.mark.parametrize("tasks", [images_tasks(), waves_tasks()], ids=["images", "waves"])
orders = pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
inner_steps = pytest.mark.parametrize("steps", [1, 3])


def layer(name: str) -> str:
    """`block1` of `network.block1_weight`, `head` of `head_bias`."""
    return name.removeprefix("network.").rpartition("_")[0]


def masks_of(method: MtNet, tasks: Tasks) -> Values:
    """The mask of each layer for each task [T, O]."""
    return {name: method.mask(tasks.key, name).detach().clone() for name in method.logit}


def losses_under(method: MtNet, params: Values, masks: Values, tasks: Tasks, steps: int, first_order: bool) -> Tensor:
    """Losses [T] of a plain loop that multiplies the gradient of output o of a layer by the layer's mask [T, O] at o."""

    def step(name: str, grad: Tensor, task: int) -> Tensor:
        mask = masks[layer(name)][task]
        rows = [ALPHA * mask[o] * grad[o] for o in range(len(grad))]
        return torch.stack(rows)

    return plain_losses(params, tasks, steps, without_shift(params), step, first_order)


@kinds
@orders
@inner_steps
def test_losses_and_meta_gradient_are_those_of_a_plain_loop(tasks: Tasks, steps: int, first_order: bool) -> None:
    """With the mask fixed as it was drawn: the gradient by weights and matrices."""
    method = small(MtNet, tasks, inner_lr=ALPHA, inner_steps=steps, first_order=first_order)
    params = {name: p for name, p in method.named_parameters() if not name.startswith("logit.")}
    losses = losses_under(method, params, masks_of(method, tasks), tasks, steps, first_order)
    torch.testing.assert_close(method.loss(tasks), losses)
    ours = meta_gradient(method, tasks)
    assert_equal({name: ours[name] for name in params}, plain_gradient(losses, params))


@kinds
@inner_steps
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logits_learn_as_if_the_mask_were_the_soft_one(tasks: Tasks, steps: int, temperature: float) -> None:
    """Straight through: the loss's slope by a mask's entry, found between two near masks of a plain loop, times the slope of
    the soft mask s = sigmoid((zeta + noise) / temperature), which is s (1 - s) / temperature."""
    method = small(MtNet, tasks, inner_lr=ALPHA, inner_steps=steps, temperature=temperature)
    params = {name: p.detach() for name, p in method.named_parameters()}
    params = {name: p.requires_grad_(name in without_shift(params)) for name, p in params.items()}
    ours, masks, near = meta_gradient(method, tasks), masks_of(method, tasks), 1e-6
    for name, mask in masks.items():
        uniform = task_uniforms(tasks.key, mask.shape[1:], f"mt-net mask of {name}")
        noise = torch.from_numpy(logistic.ppf(uniform.numpy()))
        soft = ((method.logit[name].detach() + noise) / temperature).sigmoid()  # [T, O]
        assert torch.equal(mask, (soft > 0.5).double())
        for output in {0, mask.shape[1] - 1}:
            slopes = torch.zeros(T, dtype=torch.float64)
            for sign in (1, -1):
                mask[:, output] += sign * near
                slopes += sign * losses_under(method, params, masks, tasks, steps, False).detach() / (2 * near)
                mask[:, output] -= sign * near
            expected = (slopes * soft[:, output] * (1 - soft[:, output]) / temperature).mean().item()
            assert ours[f"logit.{name}"][output].item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("mode", TRAIN_MODES)
def test_the_meta_gradient_is_that_of_finite_differences(mode: Normalisation) -> None:
    """In every training mode, of all but the logits, in which the hard mask is constant."""
    method = small(MtNet, images_tasks(), mode, inner_lr=ALPHA, inner_steps=2)
    assert_slopes(method, images_tasks(), but="logit.")


def test_a_unit_is_selected_as_often_as_its_logit_says() -> None:
    """Of 20,000 tasks the share is sigmoid(logit), within four standard errors, and the masks are 0 or 1."""
    method, count = small(MtNet, waves_tasks()), 20_000
    logits = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0], dtype=torch.float64)
    method.logit["layer1"].data[:5] = logits
    masks = method.mask(torch.arange(count) * 104_729, "layer1")[:, :5]
    assert masks.unique().tolist() == [0, 1]
    chance = logits.sigmoid()
    assert ((masks.mean(0) - chance).abs() < 4 * (chance * (1 - chance) / count).sqrt()).all()


def test_a_mask_is_its_tasks_own() -> None:
    """The same key gives the same mask in any company; other keys, other layers and other units are drawn apart."""
    method = small(MtNet, waves_tasks())
    for logit in method.logit.values():
        logit.data.zero_()
    key = torch.arange(2000)
    first, second = method.mask(key, "layer1"), method.mask(key, "layer2")
    assert torch.equal(method.mask(key[7:8], "layer1")[0], first[7])
    pairs = [(first[:, 0], first[:, 1]), (first[:, 0], second[:, 0]), (first[1:, 0], first[:-1, 0])]
    for one, other in pairs:  # as often alike as not, within four standard errors
        assert abs((one == other).double().mean() - 0.5) < 4 * 0.5 / 2000**0.5


@kinds
def test_what_a_mask_leaves_out_stays(tasks: Tasks) -> None:
    """After three steps exactly the weights and biases of the selected units have moved, of the same units in both."""
    method = small(MtNet, tasks, inner_lr=ALPHA)
    params = dict(method.named_parameters())
    fast, _ = method.inner_loop(tasks, params, 3, second_order=False).adapt(tasks, params)
    masks = masks_of(method, tasks)
    for name in without_shift(params):
        stayed, selected = fast[name] == params[name], masks[layer(name)] == 1
        assert stayed[~selected].all()
        if layer(name) != "head":  # the one unit of a regression's head may be selected in no task
            assert not stayed[selected].all()


@kinds
@pytest.mark.parametrize("logit", [50.0, -50.0])
def test_with_every_unit_on_it_is_a_t_net_and_with_none_it_does_not_adapt(tasks: Tasks, logit: float) -> None:
    """Extreme logits leave no chance: the losses of a T-net that steps, or does not."""
    method, t_net = (small(m, tasks, inner_lr=ALPHA, inner_steps=2) for m in (MtNet, TNet))
    for values in method.logit.values():
        values.data.fill_(logit)
    t_net.load_state_dict({name: value for name, value in method.state_dict().items() if not name.startswith("logit.")})
    params = dict(t_net.named_parameters())
    loop = t_net.inner_loop(tasks, params, 2, second_order=False)
    expected = t_net.loss(tasks) if logit > 0 else losses_of(loop.query_scores(tasks, params, None)[0], tasks)
    torch.testing.assert_close(method.loss(tasks), expected)


def losses_of(outputs: Tensor, tasks: Tasks) -> Tensor:
    """The loss of each task [T] from its outputs [T, n, N]."""
    error = F.mse_loss if tasks.kind == "regression" else F.cross_entropy
    return torch.stack([error(of_task, targets) for of_task, targets in zip(outputs, tasks.targets, strict=True)])


@kinds
def test_a_test_draws_the_mask_too(tasks: Tasks) -> None:
    """Scores are repeated exactly, follow the task's key, and are those of the loss."""
    method = small(MtNet, tasks, inner_lr=ALPHA, inner_steps=2, test_inner_steps=2).eval()
    shown = tasks.without_query_labels()
    scores = method.predict(shown)
    assert torch.equal(method.predict(shown), scores)
    torch.testing.assert_close(losses_of(scores, tasks), method.loss(tasks).detach())
    others = method.predict(replace(shown, key=shown.key + 1))
    assert not torch.allclose(others, scores)


def test_the_number_of_parameters_is_that_of_a_t_net_and_a_logit_a_unit() -> None:
    """128,158 of a T-net for 5-way Omniglot, 4 x 64 logits of the layers and 5 of the head."""
    method = MtNet(MtNetHparams(), MethodInfo("classification", 5, 5, (1, 28, 28), 10), conv4_64_strided((1, 28, 28)))
    assert sum(p.numel() for p in method.parameters()) == 128_158 + 4 * 64 + 5


def test_a_temperature_of_nothing_is_refused() -> None:
    """The error names it."""
    with pytest.raises(UsageError, match="temperature"):
        build_hparams(MtNetHparams, {"temperature": 0.0})
