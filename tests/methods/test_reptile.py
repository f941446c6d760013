"""Reptile is torch's Adam on the mini-batches of one task after another, and an update is a step towards what that led to.

Legend: T tasks, N ways, S support images, B images of a mini-batch, Q queries in all.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from held import held
from plain_loop import EPS, SIDE, N, Q, T, Values, assert_equal, images_tasks, meta_gradient, one_task, small
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.runs.optimisers import Sgd
from fewshot_bench.specs import Normalisation
from fewshot_methods.backbones.conv4 import conv4_32, conv4_64_strided
from fewshot_methods.reptile import Reptile, ReptileHparams

ALPHA, STEPS, B = 0.01, 4, 4
S = 5 * N


class Plain:
    """The network of a Reptile in torch's layers, trained on mini-batches by torch's Adam."""

    def __init__(self, method: Reptile) -> None:
        layers, self.named = list[nn.Module](), dict[str, Tensor]()
        for block in method.network.channels:
            weight = method.get_parameter(f"network.{block}_weight")
            conv = nn.Conv2d(weight.shape[1], len(weight), 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(len(weight), eps=EPS)  # in training mode: a pass's own statistics
            layers += [conv, norm, nn.ReLU(), nn.MaxPool2d(2)]
            self.named |= {f"network.{block}_weight": conv.weight, f"network.{block}_scale": norm.weight}
            self.named |= {f"network.{block}_shift": norm.bias}
        head = nn.Linear(method.network.features, N)
        self.named |= {"head_weight": head.weight, "head_bias": head.bias}
        self.network = nn.Sequential(*layers, nn.Flatten(), head).double()
        self.load(dict(method.named_parameters()))
        self.adam = torch.optim.Adam(self.network.parameters(), lr=ALPHA, betas=(0.0, 0.999))

    def load(self, values: Values) -> None:
        """Set the parameters; the state of Adam stays."""
        for name, parameter in self.named.items():
            parameter.data = values[name].detach().clone()

    def train(self, method: Reptile, tasks: Tasks, task: int, steps: int) -> Values:
        """The parameters after `steps` steps on the mini-batches that `method` gives the task."""
        for step in range(1, steps + 1):
            batch = method.batch(tasks, step)
            self.adam.zero_grad()
            F.cross_entropy(self.network(batch.support_x[task]), batch.support_y[task]).backward()
            self.adam.step()
        return {name: p.detach().clone() for name, p in self.named.items()}


def reptile(mode: Normalisation = "separate", **given: Any) -> Any:
    """Reptile on a small pooled network in float64."""
    hparams = {
        "inner_lr": ALPHA,
        "inner_steps": STEPS,
        "inner_batch": B,
        "test_inner_steps": 3,
        "test_inner_batch": 5,
        **given,
    }
    return small(Reptile, images_tasks(), mode, strided=False, **hparams)


@pytest.fixture
def tasks() -> Tasks:
    """T tasks of S = 5 N images each."""
    return images_tasks(shots=5)


def test_the_gradient_of_a_task_is_how_far_torchs_adam_went(tasks: Tasks) -> None:
    """theta - phi, phi being where Adam with beta1 = 0 arrives on the same mini-batches."""
    method = reptile()
    theta = {name: p.detach().clone() for name, p in method.named_parameters()}
    for task in range(T):
        phi = Plain(method).train(method, tasks, task, STEPS)
        found = meta_gradient(method, one_task(tasks, task))
        assert_equal(found, {name: theta[name] - phi[name] for name in theta})


def test_an_update_by_gradient_descent_interpolates_between_start_and_mean_end(tasks: Tasks) -> None:
    """With the rate eps, theta becomes theta + eps (mean of phi - theta)."""
    method, eps = reptile(), 0.3
    theta = {name: p.detach().clone() for name, p in method.named_parameters()}
    ends = [Plain(method).train(method, tasks, task, STEPS) for task in range(T)]
    method.loss(tasks).mean().backward()
    Sgd(method.parameters(), lr=eps).step()
    moved = {name: p.detach() - theta[name] for name, p in method.named_parameters()}
    mean = {name: torch.stack([end[name] for end in ends]).mean(0) for name in theta}
    assert_equal(moved, {name: eps * (mean[name] - theta[name]) for name in theta})


def test_with_one_task_an_update_training_is_the_authors_loop(tasks: Tasks) -> None:
    """Three updates of a task each, by rates that fall to 0: parameters and second moment are those of one Adam that keeps
    its state while the parameters are put back and interpolated."""
    method = reptile()
    plain = Plain(method)
    optimiser = Sgd(method.parameters(), lr=1.0)
    for task, eps in enumerate([1.0, 2 / 3, 1 / 3]):
        theta = {name: p.detach().clone() for name, p in plain.named.items()}
        phi = plain.train(method, tasks, task, STEPS)
        plain.load({name: theta[name] + eps * (phi[name] - theta[name]) for name in theta})
        method.zero_grad()
        method.loss(one_task(tasks, task)).mean().backward()
        optimiser.lr = eps
        optimiser.step()
        method.after_update()
    assert_equal(dict(method.named_parameters()), plain.named)
    assert method.taken == 3 * STEPS
    for name, parameter in plain.named.items():
        torch.testing.assert_close(
            method.get_buffer(f"moment_{name.replace('.', '_')}"),
            plain.adam.state[parameter]["exp_avg_sq"],
            rtol=1e-8,
            atol=0,
        )


def test_the_second_moment_of_two_tasks_is_the_mean_over_the_orders_in_which_they_may_run(tasks: Tasks) -> None:
    """What each task's squared gradients add, decayed by the steps of those that come after it, in either order."""
    pair = [one_task(tasks, 0), one_task(tasks, 1)]
    start, kept = 0.01, 0.999**STEPS
    added = []
    for part in pair:
        method = reptile()
        method.moment_head_weight += start
        method.loss(part)
        method.after_update()
        added.append(method.moment_head_weight - kept * start)
    method = reptile()
    method.moment_head_weight += start
    for part in pair:
        method.loss(part)
    method.after_update()
    one_order, other_order = (kept**2 * start + kept * a + b for a, b in (added, added[::-1]))
    torch.testing.assert_close(method.moment_head_weight, (one_order + other_order) / 2, rtol=1e-10, atol=0)
    assert method.taken == 2 * STEPS


def test_the_value_of_the_loss_is_that_of_the_queries_after_the_steps(tasks: Tasks) -> None:
    """For the learning curve: the adapted network's cross-entropy, the queries normalised by themselves."""
    method = reptile()
    for task, loss in enumerate(method.loss(tasks)):
        plain = Plain(method)
        plain.train(method, tasks, task, STEPS)
        torch.testing.assert_close(loss, F.cross_entropy(plain.network(tasks.query_x[task]), tasks.targets[task]))


def places_of(method: Reptile, tasks: Tasks, steps: int) -> Tensor:
    """Which places of the support the mini-batches of `steps` steps hold [T, steps, B]."""
    size = tasks.support_x.shape[1]
    marks = torch.arange(size).double().expand(len(tasks), size)[..., None]
    marked = replace(tasks, support_x=marks)
    return torch.stack([method.batch(marked, step).support_x[..., 0] for step in range(1, steps + 1)], 1).long()


def test_mini_batches_use_the_support_up_before_it_is_shuffled_again(tasks: Tasks) -> None:
    """Placed after one another, they hold every place once in each S, in an order of the task's own, and bring its label."""
    method = reptile()
    stream = places_of(method, tasks, 15).flatten(1)  # [T, 15 B]: four shuffles of S = 15
    for task in range(T):
        shuffles = stream[task].view(4, S)
        assert all(sorted(shuffle.tolist()) == list(range(S)) for shuffle in shuffles)
        assert len({tuple(shuffle.tolist()) for shuffle in shuffles}) == 4
    assert len({tuple(order.tolist()) for order in stream}) == T
    batch, places = method.batch(tasks, 3), places_of(method, tasks, 3)[:, 2]
    for task in range(T):
        assert torch.equal(batch.support_y[task], tasks.support_y[task, places[task]])
        assert torch.equal(batch.support_x[task], tasks.support_x[task, places[task]])


def test_the_first_place_is_any_place_equally_often() -> None:
    """Of 10,000 tasks, within four standard errors."""
    count = 10_000
    x, y = torch.zeros(count, 5, 1), torch.zeros(count, 5, dtype=torch.int64)
    tasks = Tasks(x, y, x, y, N, torch.arange(count))
    first = Counter(places_of(reptile(inner_batch=2), tasks, 1)[:, 0, 0].tolist())
    assert all(abs(first[place] / count - 0.2) < 4 * (0.16 / count) ** 0.5 for place in range(5))


@pytest.mark.parametrize(("size", "batch"), [(5, 5), (5, 12), (1, 3)])
def test_a_mini_batch_may_be_as_large_as_the_support_or_larger(size: int, batch: int) -> None:
    """It then goes on in the next shuffle: each place is there as often as any other, or once more."""
    x, y = torch.zeros(T, size, 1), torch.zeros(T, size, dtype=torch.int64)
    places = places_of(reptile(inner_batch=batch), Tasks(x, y, x, y, N, torch.arange(T)), 2)
    assert places.shape == (T, 2, batch)
    for task in places:
        counts = Counter(task.flatten().tolist())
        assert len(counts) == size
        assert max(counts.values()) - min(counts.values()) <= 1


def scores_of_a_test(method: Reptile, tasks: Tasks, task: int, mode: Normalisation) -> Tensor:
    """Scores [Q, N] of a task under torch's Adam, going on from the second moment of `method`."""
    plain = Plain(method)
    for name, parameter in plain.named.items():
        plain.adam.state[parameter] = {
            "step": torch.tensor(float(method.taken)),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": method.get_buffer(f"moment_{name.replace('.', '_')}").clone(),
        }
    plain.train(method, tasks, task, method.hparams.test_inner_steps)
    if mode == "separate":
        return plain.network(tasks.query_x[task])
    return torch.cat([plain.network(torch.cat([tasks.support_x[task], query[None]]))[-1:] for query in tasks.query_x[task]])


@pytest.mark.parametrize("mode", ["support+1", "separate"])
@pytest.mark.parametrize("updates", [0, 2])
def test_a_test_goes_on_from_the_second_moment_of_training(tasks: Tasks, mode: Normalisation, updates: int) -> None:
    """The inner steps of a test, on its own size of mini-batch, then each query beside the support or all by themselves."""
    method = reptile()
    for _ in range(updates):
        method.loss(tasks)
        method.after_update()
    held(method.eval(), Conditions(mode))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    scores = method.predict(tasks.without_query_labels())
    for task in range(T):
        torch.testing.assert_close(scores[task], scores_of_a_test(method, tasks, task, mode))
    method.after_update()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_queries_see_each_other_under_separate_alone(tasks: Tasks) -> None:
    """Another last query changes the others' scores there, and not where each stands beside the support."""
    method, shown = reptile().eval(), tasks.without_query_labels()
    other = replace(shown, query_x=torch.cat([shown.query_x[:, :-1], 1 - shown.query_x[:, -1:]], 1))
    for mode in ("support+1", "support", "separate"):
        held(method, Conditions(mode))
        before, after = (method.predict(t)[:, : Q - 1] for t in (shown, other))
        assert torch.allclose(before, after, rtol=1e-10, atol=1e-10) == (mode != "separate")


def test_a_score_after_each_inner_step_ends_with_the_prediction(tasks: Tasks) -> None:
    """`predict_steps` takes the same mini-batches as `predict`."""
    method = reptile().eval()
    shown = tasks.without_query_labels()
    torch.testing.assert_close(method.predict_steps(shown)[-1], method.predict(shown))


@pytest.mark.parametrize("given", [{"inner_batch": 0}, {"first_order": False}, {"adapt_shift": False}, {"inner_lr": 0.0}])
def test_what_is_not_reptile_is_refused(given: dict[str, Any]) -> None:
    """The error names the key."""
    with pytest.raises(UsageError, match=next(iter(given))):
        build_hparams(ReptileHparams, given)


@pytest.mark.parametrize(
    ("backbone", "shape", "expected"),
    [
        (conv4_64_strided, (1, 28, 28), 64 * 9 + 3 * 64 * 64 * 9 + 4 * 64 + 5 * 64 + 5),  # 111,749
        (conv4_32, (3, 84, 84), 3 * 32 * 9 + 3 * 32 * 32 * 9 + 4 * 32 + 5 * 800 + 5),  # 32,645
    ],
    ids=["Omniglot", "mini-ImageNet"],
)
def test_the_number_of_parameters_is_that_of_the_layers(backbone: type, shape: tuple[int, int, int], expected: int) -> None:
    """Nothing but the network learns; the second moment is as large, and no parameter."""
    method = Reptile(ReptileHparams(), MethodInfo("classification", 5, 50, shape, 10), backbone(shape))
    assert sum(p.numel() for p in method.parameters()) == expected
    assert sum(b.numel() for name, b in method.named_buffers() if name.startswith("moment_")) == expected


def test_the_small_network_has_a_scale_and_a_shift_in_every_layer() -> None:
    """What these tests compare includes the normalisation's parameters."""
    names = dict(reptile().named_parameters())
    assert {f"network.block{i}_{what}" for i in range(1, 5) for what in ("scale", "shift")} <= names.keys()
    assert SIDE // 16 == 1
