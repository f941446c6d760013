"""`train.precision`: what is rounded, what never is, and that accuracy does not suffer.

bfloat16 keeps 8 significant bits, so rounding to the nearest errs by U = 2^-8 of a value at most. References are computed
in float64 from operands that are rounded one by one.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import call, snapshot
from small_trainer import trainer
from tiny import blobs, build, tasks_of
from torch import Tensor

import fewshot_bench
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning import layers
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.learning.layers import conv2d
from fewshot_bench.learning.precision import products_in
from fewshot_bench.request import Request
from fewshot_bench.results.statistics import score_interval
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.testing import episode_scores
from fewshot_bench.specs import Precision, TrainSpec

U = 2.0**-8
"""The largest relative error of rounding to bfloat16."""

multiplies_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 products: it takes minutes"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
with_each_weight = pytest.mark.parametrize(
    ("own", "stride"), [(False, 1), (False, 2), (True, 1), (True, 2)], ids=["shared", "shared-strided", "own", "own-strided"]
)


def flags() -> dict[str, Any]:
    """What torch lets CUDA round."""
    convolutions = getattr(torch.backends.cudnn, "conv", torch.backends.cudnn)
    name = "fp32_precision" if hasattr(convolutions, "fp32_precision") else "allow_tf32"
    matmul = torch.backends.cuda.matmul
    return {
        "convolutions": getattr(convolutions, name),
        "matrix products": getattr(matmul, name),
        "sums": matmul.allow_bf16_reduced_precision_reduction,
    }


EXACT = ("ieee", False)


def operands(own: bool, device: str = "cpu", filters: int = 16) -> tuple[Tensor, Tensor]:
    """Maps [2, 3, 16, 9, 9] and weights [O, 16, 3, 3] or [2, O, 16, 3, 3] whose results are about 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 16, 9, 9, generator=generator)
    weight = torch.randn(*([2] if own else []), filters, 16, 3, 3, generator=generator) / 12
    return x.to(device), weight.to(device)


def reference(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`conv2d` by torch's own convolution, task by task, in float64."""
    weights = weight if weight.dim() == 5 else [weight] * len(x)
    pairs = zip(x.double(), weights, strict=True)
    return torch.stack([F.conv2d(images, w.double(), stride=stride, padding=1) for images, w in pairs])


def rounded(x: Tensor) -> Tensor:
    """Values rounded to bfloat16."""
    return x.bfloat16().to(x.dtype)


def assert_within(got: Tensor, wanted: Tensor, roundings: float) -> None:
    """The distance of `got` from `wanted` is at most so many roundings' of the size of `wanted`."""
    error = (got.double() - wanted.double()).norm() / wanted.double().norm()
    assert error <= roundings * U, f"{error / U:.2f} U"


def test_it_is_an_explicit_choice() -> None:
    """By default nothing is rounded, and a run that rounds is another run."""
    runs = [resolve(Request("maml", device="cpu", settings=more)) for more in [(), ("train.precision=bfloat16",)]]
    assert [run.train.precision for run in runs] == ["highest", "bfloat16"]
    assert TrainSpec.model_fields["precision"].default == "highest"
    assert runs[0].run_id != runs[1].run_id


REFUSED = {
    "an unknown one": (["precision=half"], "'highest', 'tf32' or 'bfloat16'", "'half'"),
    "tf32 on a processor": (["train.precision=tf32"], "CUDA device", "'cpu'"),
    "tf32 of float64": (["precision=tf32", "dtype=float64"], "precision=tf32", "--set dtype=float32"),
    "bfloat16 of float64": (["precision=bfloat16", "dtype=float64"], "precision=bfloat16", "--set dtype=float32"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    """Exit 2 and at most three lines: what was asked for, and what would be right."""
    settings, *words = REFUSED[name]
    options = [part for setting in settings for part in ("--set", setting)]
    said = call("run", "--method", "maml", "--device", "cpu", *options, "--out", tmp_path / "runs")
    assert (said.code, said.out) == (2, "")
    assert len(said.complaint.splitlines()) <= 3
    assert [word for word in words if word not in said.complaint] == [], said.complaint
    assert snapshot(tmp_path) == {}


def test_tf32_is_accepted_for_a_cuda_device() -> None:
    """A record of one can be read anywhere, and tested there: tests do not use it."""
    fields = resolve(Request("maml", device="cpu")).train.model_dump() | {"precision": "tf32"}
    assert TrainSpec.checked(fields | {"device": "cuda"}).precision == "tf32"
    with pytest.raises(UsageError, match="CUDA"):
        TrainSpec.checked(fields)


@pytest.mark.parametrize("precision", ["highest", "tf32", "bfloat16"])
def test_torch_rounds_float32_for_tf32_alone_and_there_in_convolutions_alone(precision: Precision) -> None:
    """Its own default rounds convolutions; sums of bfloat16 products are never rounded on the way."""
    before = flags()
    assert before["convolutions"] not in EXACT
    with products_in(precision):
        inside = flags()
    assert (inside["convolutions"] in EXACT) == (precision != "tf32")
    assert inside["matrix products"] in EXACT
    assert inside["sums"] is False
    assert flags() == before


def test_everything_is_as_before_after_an_error_inside() -> None:
    """Flags and products, one level at a time."""
    before, (x, weight) = flags(), operands(own=False)
    exact = reference(x, weight, 1).float()
    with products_in("highest"):
        with pytest.raises(ZeroDivisionError), products_in("bfloat16"):
            raise ZeroDivisionError
        assert flags()["convolutions"] in EXACT
        torch.testing.assert_close(conv2d(x, weight), exact, rtol=1e-5, atol=1e-5)
    assert flags() == before
    torch.testing.assert_close(conv2d(x, weight), exact, rtol=1e-5, atol=1e-5)


@on_each_device
@with_each_weight
def test_bfloat16_rounds_both_operands_and_the_result(own: bool, stride: int, device: str) -> None:
    """Equal to the rounded convolution of rounded operands but where the last bit of a sum tips it; outside neither is."""
    x, weight = operands(own, device)
    with products_in("bfloat16"):
        got = conv2d(x, weight, stride)
    wanted = reference(rounded(x), rounded(weight), stride).float()
    assert got.dtype == torch.float32
    assert torch.equal(got, rounded(got))
    assert (got == rounded(wanted)).double().mean() > 0.98
    torch.testing.assert_close(got, wanted, rtol=U, atol=1e-6)
    with products_in("highest"):
        torch.testing.assert_close(conv2d(x, weight, stride), reference(x, weight, stride).float(), rtol=1e-5, atol=1e-5)


@on_each_device
@with_each_weight
def test_gradients_are_of_rounded_operands_as_well(own: bool, stride: int, device: str) -> None:
    """By maps and by weights: the gradient of the results is rounded like any operand, and so is what comes out."""
    x, weight = (value.requires_grad_() for value in operands(own, device))
    with products_in("bfloat16"):
        y = conv2d(x, weight, stride)
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(device)
        y.backward(grad)
    exact = [rounded(value.detach()).requires_grad_() for value in (x, weight)]
    wanted = torch.autograd.grad(reference(exact[0], exact[1], stride), exact, rounded(grad).double())
    for got, by in zip((x.grad, weight.grad), wanted, strict=True):
        assert got is not None
        assert got.dtype == torch.float32
        assert torch.equal(got, rounded(got))
        assert_within(got, by, roundings=1)


def meta_gradient(weight: Tensor, x: Tensor, convolve: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Gradient, by the weight before it, of the sum of cubes of the maps after one inner step: all of it is smooth."""
    weight = weight.detach().requires_grad_()
    tasks = weight.expand(len(x), *weight.shape) if weight.dim() == 4 else weight
    (step,) = torch.autograd.grad(convolve(x, tasks).pow(3).mean(), tasks, create_graph=True)
    (found,) = torch.autograd.grad(convolve(x.flip(1), tasks - 2 * step).pow(3).mean(), weight)
    return found


@on_each_device
def test_a_gradient_through_a_gradient_is_close(device: str) -> None:
    """A dozen roundings or so follow one another, each by 0.42 U in the mean square (an even spread of mantissas), which
    makes 1.5 U where they are independent; 4 U leaves room for the cubes, which enlarge them."""
    x, weight = operands(own=False, device=device)
    wanted = meta_gradient(weight.double(), x.double(), lambda maps, w: reference(maps, w, 1))
    with products_in("bfloat16"):
        got = meta_gradient(weight, x, conv2d)
    assert_within(got, wanted, roundings=4)
    with products_in("highest"):
        assert_within(meta_gradient(weight, x, conv2d), wanted, roundings=1e-3)


@pytest.mark.parametrize("own", [False, True])
def test_a_first_layer_is_never_rounded(own: bool) -> None:
    """It is a small part of the work, and its operands are the images."""
    x, weight = operands(own, filters=16 * 9 + 1)
    exact = conv2d(x, weight)
    with products_in("bfloat16"):
        assert torch.equal(conv2d(x, weight), exact)


def test_float64_is_never_rounded() -> None:
    """There is no such run, but a method may compute in it."""
    x, weight = (value.double() for value in operands(own=False))
    with products_in("bfloat16"):
        torch.testing.assert_close(conv2d(x, weight), reference(x, weight, 1))


@needs_cuda
@pytest.mark.parametrize(("precision", "low", "high"), [("highest", 0, 2.0**-20), ("tf32", 2.0**-14, 2.0**-10)])
def test_cuda_rounds_to_tf32_where_asked_and_only_there(precision: Precision, low: float, high: float) -> None:
    """tf32 keeps 11 significant bits of the operands, float32 keeps 24."""
    x, weight = operands(own=False, device="cuda")
    with products_in(precision):
        got = conv2d(x, weight)
    wanted = reference(x, weight, 1)
    assert low <= (got - wanted).norm() / wanted.norm() <= high


def method_gradient(name: str, precision: Precision, seed: int) -> Tensor:
    """The gradient of a method's mean loss over four tasks, as one vector."""
    method, tasks = build(name, seed=seed).float().train(), tasks_of(blobs(seed=seed))
    tasks = replace(tasks, support_x=tasks.support_x.float(), query_x=tasks.query_x.float())
    with products_in(precision):
        method.loss(tasks).mean().backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


@pytest.mark.usefixtures("computed_by")
@pytest.mark.parametrize("name", ["prototypical-networks", "maml"])
def test_a_methods_gradient_is_as_close_as_eight_bits_allow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our kernels and by torch: no further from float32's than twice what random errors up to U in the operands make.

    No fixed bound holds: another winner of a pooling or another side of a ReLU moves a gradient by all of its share, so
    errors of U make 5 to 30 % of it. Twice, because results and gradients are rounded too.
    """
    exact = [method_gradient(name, "highest", seed) for seed in range(3)]
    got = [method_gradient(name, "bfloat16", seed) for seed in range(3)]
    generator = torch.Generator().manual_seed(0)

    def disturbed(x: Tensor) -> Tensor:
        return x * (1 + U * (2 * torch.rand(x.shape, generator=generator) - 1))

    monkeypatch.setattr(layers, "operand", disturbed)
    allowed = [method_gradient(name, "highest", seed) for seed in range(3)]
    errors = [sum(float((a - e).norm() / e.norm()) for a, e in zip(some, exact, strict=True)) for some in (got, allowed)]
    assert 0 < errors[0] <= 2 * errors[1], errors


class Spy(Method):
    """Notes whether a product was rounded, in training and in tests."""

    modes = frozenset({"joint", "running"})

    def __init__(self, inner: Method) -> None:
        super().__init__(inner.hparams, inner.info, None)
        self.inner, self.seen = inner, {True: set[bool](), False: set[bool]()}

    def loss(self, tasks: Tasks) -> Tensor:
        """The inner method's."""
        self._look()
        with self.inner.under(self.conditions):
            return self.inner.loss(tasks)

    def predict(self, tasks: Tasks) -> Tensor:
        """The inner method's."""
        self._look()
        with self.inner.under(self.conditions):
            return self.inner.predict(tasks)

    def _look(self) -> None:
        x, weight = operands(own=False)
        y = conv2d(x, weight)
        self.seen[self.training].add(torch.equal(y, rounded(y)))
        assert flags()["convolutions"] in EXACT


@pytest.mark.parametrize("precision", ["highest", "bfloat16"])
def test_updates_are_rounded_where_asked_and_scores_never(precision: Precision, tmp_path: Path) -> None:
    """Neither in validation nor in a test, even one that is called from where products are rounded."""
    run = trainer(tmp_path, dtype="float32", precision=precision, updates=2)
    run.source.dtype = torch.float32
    assert run.validation is not None
    run.validation.dtype = torch.float32
    run.method = spy = Spy(run.method.float())
    run.best = run._weights()
    run.optimiser = type(run.optimiser)(spy.parameters(), run.spec.lr)
    run.train(Listener())
    with products_in(precision):
        list(episode_scores(spy, run.validation, Conditions("running"), 4, 2))
    assert spy.seen == {True: {precision == "bfloat16"}, False: {False}}
    assert {tensor.dtype for tensor in spy.state_dict().values()} == {torch.float32}


@multiplies_bfloat16
def test_accuracy_stays_within_the_interval(tmp_path: Path) -> None:
    """Prototypical networks on glyphs, five seeds at each precision, tested on the same episodes.

    The accuracy of bfloat16 lies in the interval of float32's over seeds and episodes; and the interval of the difference,
    paired by seed and episode, excludes a loss of 3 points, so that the first is not true for want of evidence.
    """
    settings = {"backbone": "conv4-32", "split": "train+val", "selection": "last", "updates": 60}
    settings |= {"train.ways": 10, "train.queries": 3, "lr": 0.002}
    scores: dict[str, list[np.ndarray[Any, Any]]] = {"highest": [], "bfloat16": []}
    for precision, found in scores.items():
        for seed in range(5):
            record = fewshot_bench.run(
                "prototypical-networks",
                settings=settings | {"train.precision": precision},
                protocol="custom",
                episodes=200,
                queries=15,
                seed=seed,
                device="cpu",
                out=tmp_path,
            )
            found.append(record.scores(record.results[0]["id"]))
    highest = score_interval(scores["highest"], trials=75)
    assert highest.mean > 0.7  # it has learned
    assert highest.low <= np.mean(scores["bfloat16"]) <= highest.high
    differences = [b - a for a, b in zip(scores["highest"], scores["bfloat16"], strict=True)]
    assert any(difference.any() for difference in differences)
    assert score_interval(differences, trials=75, metric="difference").low > -0.03
