"""Baseline's heads, fitted all at once in few coordinates, are those that torch's own layer, loss and SGD fit one by one.

Legend: T tasks, S support images, Q query images in all, N ways, D features, R coordinates.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from feature_tasks import feature_tasks, on_small_backbone
from torch import Tensor, nn

from fewshot_bench.episodes.randomness import task_orders
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.baseline import Baseline, BaselineHparams, spanned

SIZES = [(3, 4, 1), (3, 5, 2), (30, 4, 1), (30, 5, 3)]  # features, ways, shots: fewer and more than the support and ways


def fitted(method: Baseline, head: nn.Module, tasks: Tasks, task: int) -> nn.Module:
    """A head after the authors' fine-tuning to one task: torch's loss and SGD, the task's own mini-batches of 4."""
    x, y = tasks.support_x[task], tasks.support_y[task]
    sgd = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for order in task_orders(tasks.key[task : task + 1], len(x), "mini-batches", method.hparams.epochs)[0]:
        for places in order.split(4):
            sgd.zero_grad()
            F.cross_entropy(head(x[places]), y[places]).backward()
            sgd.step()
    return head


@pytest.mark.parametrize(("features", "ways", "shots"), SIZES)
def test_the_scores_are_those_of_heads_fitted_by_torch(features: int, ways: int, shots: int) -> None:
    """From the same initial weights, through the same mini-batches, in float64, for the whole 100 epochs."""
    tasks, method = feature_tasks(features, ways, shots), on_small_backbone(Baseline)
    with torch.no_grad():
        found = method.predict(tasks)
    start = method.initial_head(tasks.key, ways, features)
    for task in range(len(tasks)):
        head = nn.Linear(features, ways, dtype=torch.float64)
        head.load_state_dict({name: draw[task] for name, draw in start.items()})
        wanted = fitted(method, head, tasks, task)(tasks.query_x[task])
        torch.testing.assert_close(found[task], wanted, rtol=1e-9, atol=1e-10)


def test_a_head_learns_its_support() -> None:
    """After the fit most of the support is answered rightly, before it not."""
    tasks, method = feature_tasks(30, count=20), on_small_backbone(Baseline)
    shown = replace(tasks, query_x=tasks.support_x)
    answers = method.predict(shown).argmax(-1)
    start = method.initial_head(tasks.key, 4, 30)
    before = method.head_scores(start, tasks.support_x).argmax(-1)
    assert (before == tasks.support_y).double().mean() < 0.5
    assert (answers == tasks.support_y).double().mean() > 0.95


def test_the_initial_head_is_torchs_linear_layers() -> None:
    """Uniform within 1 / sqrt(D), weights and biases, each task's from its own key."""
    key = torch.arange(50)
    head = on_small_backbone(Baseline).initial_head(key, 5, 64)
    torch.testing.assert_close(head["weight"].var(), torch.tensor(1 / (3 * 64), dtype=torch.float64), rtol=0.05, atol=0)
    for draw in head.values():
        assert 0.98 / 8 < draw.abs().max() < 1 / 8
    again = on_small_backbone(Baseline).initial_head(key[7:8], 5, 64)
    assert torch.equal(again["weight"][0], head["weight"][7])
    assert not torch.equal(head["weight"][7], head["weight"][8])


def test_a_task_depends_on_its_key() -> None:
    """Another key is another start and other mini-batches; the same key the same scores."""
    tasks, method = feature_tasks(9), on_small_backbone(Baseline)
    other = replace(tasks, key=tasks.key + 1)
    assert torch.equal(method.predict(tasks), method.predict(tasks))
    assert not torch.allclose(method.predict(tasks), method.predict(other))


def test_a_gradient_is_that_of_each_tasks_own_loss() -> None:
    """It equals central differences of the mean cross-entropy of a mini-batch."""
    tasks, method = feature_tasks(6, count=2), on_small_backbone(Baseline)
    head, x, y = method.initial_head(tasks.key, 4, 6), tasks.support_x[:, :4], tasks.support_y[:, :4]

    def losses(head: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(method.head_scores(head, x).mT, y, reduction="none").mean(1)

    for name, grad in method.gradients(head, x, y).items():
        step = torch.zeros_like(head[name])
        step[:, 1, ...] = 1e-6 if name == "bias" else 0
        if name == "weight":
            step[:, 1, 2] = 1e-6
        slope = (losses({**head, name: head[name] + step}) - losses({**head, name: head[name] - step})) / 2e-6
        torch.testing.assert_close(grad[:, 1, 2] if name == "weight" else grad[:, 1], slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("features", [3, 30])
def test_the_basis_is_orthonormal_and_holds_support_and_weights(features: int) -> None:
    """Going to its coordinates and back loses nothing, also where a feature is always zero."""
    x = feature_tasks(features).support_x
    x[..., 0] = 0
    weight = torch.rand(3, 4, features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    basis = spanned(x, weight)
    assert basis.shape == (3, features, min(features, x.shape[1] + 4))
    torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[-1], dtype=torch.float64).expand(3, -1, -1))
    for rows in (x, weight):
        torch.testing.assert_close(rows @ basis @ basis.mT, rows)


def test_no_gradient_of_the_network_is_needed_or_kept() -> None:
    """A prediction where gradients are off leaves none, and scores that hang on nothing."""
    method = on_small_backbone(Baseline)
    with torch.no_grad():
        scores = method.predict(feature_tasks(9))
    assert not scores.requires_grad
    assert all(p.grad is None for p in method.parameters())


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"mini_batch": 0}, {"head_lr": 0.0}])
def test_impossible_hyper_parameters_are_refused(wrong: dict[str, float]) -> None:
    """There must be an epoch, an image and a rate."""
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} must be"):
        build_hparams(BaselineHparams, wrong)
