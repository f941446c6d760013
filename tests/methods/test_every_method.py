"""What every registered method must hold, ours or a third party's: being registered is enough to be tested.

Declarations are proved both ways: what is declared holds, and what is not declared really breaks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
import torch
from held import held
from safetensors.torch import load, save
from tiny import VARIANTS, blobs, build, concat, for_test, tasks_of, varying_tasks, waves
from torch import Tensor

from fewshot_bench import kernels
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.metrics import accuracy
from fewshot_bench.plugins import registry
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Kind

METHODS = [*sorted(name for name, plugin in registry.registered("methods").items() if not plugin.missing()), *VARIANTS]
CLASSES = {name: registry.find("methods", VARIANTS.get(name, (name, {}))[0]).load() for name in METHODS}
TRAINED = [name for name in METHODS if CLASSES[name].trained]
BY_EPISODES = [name for name in TRAINED if CLASSES[name].trains_on == "episodes"]
BY_CLASSES = [name for name in TRAINED if CLASSES[name].trains_on == "classes"]
WITH_KIND: list[tuple[str, Kind]] = [(name, kind) for name in METHODS for kind in sorted(CLASSES[name].kinds)]
TRAINED_WITH_KIND = [(name, kind) for name, kind in WITH_KIND if name in BY_EPISODES]
WITH_MODE = [(name, mode) for name in METHODS for mode in sorted(CLASSES[name].modes - {"none"})]

pytestmark = pytest.mark.usefixtures("compiled_where_it_can_be")

each_method = pytest.mark.parametrize("name", METHODS)
each_kind = pytest.mark.parametrize(("name", "kind"), WITH_KIND)

CLOSE = {"rtol": 1e-8, "atol": 1e-9}
"""Float64 rounding of another order of summation."""


ROUNDING = {"reptile": 0.1}
"""Where float32 may differ by more. Reptile's inner Adam divides each gradient by its own size: with no earlier squares to
go on from, its 50 steps make much of the rounding of those that are nearly zero."""


@pytest.fixture
def compiled_where_it_can_be() -> Iterator[None]:
    """As a run on a CPU computes: with the kernels, unless there is no compiler."""
    with ExitStack() as stack:
        with suppress(kernels.Unavailable):
            stack.enter_context(kernels.serving(True))
        yield


def made(kind: Kind, count: int = 4) -> Tasks:
    """Tasks of one kind."""
    return tasks_of(blobs(), count) if kind == "classification" else waves(count)


ROUNDED = 1e-4
"""Of the largest score. Float32's rounding, 6e-8 of a value, makes 1e-5 of it in the longest of these computations; weights
and images rounded to tf32 make 1e-4 and more with all but a few methods."""
TURNED = 0.1
"""Of the largest score. Inner steps are not continuous, as a value may pass a ReLU or win a pooling window by less than its
rounding. In float64, images changed by 3e-7 of their value moved the scores of 1 task in 20 (MAML) to 1 in 5 (Reptile) by
1e-4 to 0.07, those of the others by 1e-6."""
TELLING = {"relation-networks": Conditions("support")}
"""Where untrained running statistics, the default, leave scores that differ by less than float32 can hold (2e-7)."""


def in_float32(tasks: Tasks) -> Tasks:
    """The same tasks, rounded."""
    halves = {key: getattr(tasks, key).float() for key in ("support_x", "query_x")}
    if tasks.kind == "regression":
        halves |= {"support_y": tasks.support_y.float(), "query_y": tasks.targets.float()}
    return replace(tasks, **halves)


def predicted(method: Method, tasks: Tasks) -> Tensor:
    """What the method says, as at test: no gradient asked for, no query label."""
    with torch.no_grad():
        return method.predict(tasks.without_query_labels())


def others_moved(method: Method, tasks: Tasks) -> bool:
    """Whether queries see each other: the scores of the others after the last is replaced by noise or removed, after noise
    is added before them, and after all have changed places."""
    query, generator = tasks.query_x, torch.Generator().manual_seed(0)
    noise = torch.rand(query[:, -1:].shape, dtype=query.dtype, generator=generator)

    def alike(other: Tensor, scores: slice, expected: Tensor) -> bool:
        return torch.allclose(predicted(method, replace(tasks, query_x=other))[:, scores], expected, **CLOSE)

    before = predicted(method, tasks)
    return not (
        alike(torch.cat([query[:, :-1], noise], 1), slice(-1), before[:, :-1])
        and alike(query[:, :-1], slice(None), before[:, :-1])
        and alike(torch.cat([noise, query], 1), slice(1, None), before)
        and alike(query.flip(1), slice(None), before.flip(1))
    )


@each_kind
def test_outputs_have_one_value_a_query_and_way(name: str, kind: Kind) -> None:
    """`predict` returns finite outputs [T, Q, N], of functions [T, Q, 1]."""
    outputs = predicted(for_test(build(name, kind=kind)), made(kind))
    assert outputs.shape == ((4, 15, 5) if kind == "classification" else (4, 10, 1))
    assert torch.isfinite(outputs).all()


@each_kind
def test_tasks_in_one_call_equal_one_call_a_task(name: str, kind: Kind) -> None:
    """Tasks do not see each other."""
    tasks, method = made(kind), for_test(build(name, kind=kind))
    apart = concat([predicted(method, tasks.some(slice(i, i + 1))) for i in range(len(tasks))])
    torch.testing.assert_close(predicted(method, tasks), apart, **CLOSE)


@each_kind
def test_float32_is_close_to_float64(name: str, kind: Kind) -> None:
    """To `ROUNDED` of the largest score, which tells the best answer of a query of each task from the second; of a method
    with inner steps, two of the four tasks may differ by `TURNED`."""
    tasks, method = made(kind), for_test(build(name, kind=kind))
    held(method, TELLING.get(name, method.conditions))
    exact = predicted(method, tasks)
    single = predicted(method.float(), in_float32(tasks))
    assert single.dtype == torch.float32
    largest = exact.abs().max()
    errors = (single.double() - exact).abs().amax((1, 2)).sort().values
    adapts = CLASSES[name].inner_steps(method.hparams) is not None
    assert errors[1 if adapts else -1] <= ROUNDED * largest
    assert errors[-1] <= (TURNED if adapts else ROUNDED) * largest
    if kind == "classification":
        best, second = exact.topk(2).values.unbind(-1)
        told_apart = (best - second).amax(1).min()
    else:
        told_apart = exact.max() - exact.min()
    assert told_apart > 2 * ROUNDED * largest  # or one score for all would be as close


@pytest.mark.parametrize(("name", "mode"), WITH_MODE)
def test_queries_see_each_other_exactly_where_that_is_declared(name: str, mode: str) -> None:
    """In the transductive normalisation modes and in no other, unless the method as such is transductive."""
    method = for_test(build(name))
    held(method, Conditions(mode))  # type: ignore[arg-type]
    assert others_moved(method, tasks_of(blobs())) == (type(method).transductive or mode in TRANSDUCTIVE_MODES)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in WITH_KIND if "none" in CLASSES[name].modes])
def test_without_normalisation_queries_never_see_each_other(name: str, kind: Kind) -> None:
    """On networks that normalise nothing."""
    if kind == "classification" and CLASSES[name].needs_backbone:
        pytest.skip("networks of images normalise: another test")
    assert others_moved(for_test(build(name, kind=kind)), made(kind)) == CLASSES[name].transductive


@each_method
def test_the_order_of_the_support_does_not_matter_where_that_is_declared(name: str) -> None:
    """Support-order invariance is what the method declares."""
    tasks, method = tasks_of(blobs(), shots=2), for_test(build(name))
    order = torch.randperm(tasks.support_x.shape[1], generator=torch.Generator().manual_seed(1))
    turned = replace(tasks, support_x=tasks.support_x[:, order], support_y=tasks.support_y[:, order])
    same = torch.allclose(predicted(method, tasks), predicted(method, turned), **CLOSE)
    assert same == method.support_order_invariant


UNBALANCED = EpisodeSize(5, 1, 3, max_shots=4, imbalanced=True)


@each_method
def test_the_support_may_be_unbalanced_unless_declared_otherwise(name: str) -> None:
    """Of 1 to 4 shots a class, and of 2 to 7 classes where the ways are not built in, each way gets a finite score, for
    which more than the first image of a class counts."""
    method = for_test(build(name, shots=4))
    if type(method).balanced_support:
        pytest.skip("its episodes are refused")
    size = UNBALANCED if type(method).fixed_ways else replace(UNBALANCED, ways=2, max_ways=7)
    for tasks in varying_tasks(blobs(), size, 2):
        scores = predicted(method, tasks)
        assert scores.shape == (1, 3 * tasks.ways, tasks.ways)
        assert torch.isfinite(scores).all()
        first = torch.tensor([tasks.support_y[0].tolist().index(way) for way in range(tasks.ways)])
        fewer = replace(tasks, support_x=tasks.support_x[:, first], support_y=tasks.support_y[:, first])
        assert not torch.allclose(predicted(method, fewer), scores, **CLOSE)


@each_method
def test_the_order_of_an_unbalanced_support_does_not_matter_where_that_is_declared(name: str) -> None:
    """A method that sorts or reshapes the support by class would mix up classes of different shots."""
    method = for_test(build(name, shots=4))
    if not method.support_order_invariant or type(method).balanced_support:
        pytest.skip("it declares otherwise")
    for tasks in varying_tasks(blobs(), UNBALANCED, 2):
        order = tasks.support_y[0].argsort()  # class by class
        turned = replace(tasks, support_x=tasks.support_x[:, order], support_y=tasks.support_y[:, order])
        torch.testing.assert_close(predicted(method, tasks), predicted(method, turned), **CLOSE)


@each_method
def test_unlabelled_images_are_ignored(name: str) -> None:
    """No registered method is semi-supervised: without them, or with noise in their place, the scores are the same."""
    (tasks,) = varying_tasks(blobs(), EpisodeSize(5, 2, 3, unlabelled=2, distractors=1), 1)
    method = for_test(build(name))
    assert tasks.unlabelled_x is not None
    noise = torch.rand(tasks.unlabelled_x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with_them, without = predicted(method, tasks), predicted(method, replace(tasks, unlabelled_x=None))
    torch.testing.assert_close(with_them, without, rtol=0, atol=0)
    torch.testing.assert_close(with_them, predicted(method, replace(tasks, unlabelled_x=noise)), rtol=0, atol=0)


@each_method
def test_renaming_the_ways_renames_the_scores_where_that_is_declared(name: str) -> None:
    """Way-equivariance is what the method declares, and what it does not declare really breaks."""
    tasks, method = tasks_of(blobs()), for_test(build(name))
    names = torch.tensor([3, 0, 4, 1, 2])
    before, after = predicted(method, tasks), predicted(method, replace(tasks, support_y=names[tasks.support_y]))
    assert torch.allclose(before, after[:, :, names], **CLOSE) == method.way_equivariant


@pytest.mark.parametrize("shots", [1, 5])
@each_method
def test_accuracy_is_chance_where_labels_are_shuffled_between_images(name: str, shots: int) -> None:
    """However easy the images: each support image gets another's label."""
    count = 120 // shots
    tasks = tasks_of(blobs(), count, shots=shots)
    order = torch.rand(tasks.support_y.shape, generator=torch.Generator().manual_seed(3)).argsort(1)
    wrong = replace(tasks, support_y=tasks.support_y.gather(1, order))
    method = for_test(build(name, shots=shots))
    scores = torch.cat([predicted(method, wrong.some(slice(i, i + 30))) for i in range(0, count, 30)])
    # A shuffle may answer a whole class rightly or wrongly: as many draws of probability 1/5 as all tasks have classes.
    assert accuracy(scores, tasks.targets).mean() == pytest.approx(0.2, abs=4 * (0.16 / (5 * count)) ** 0.5)


@pytest.mark.parametrize(("name", "kind"), TRAINED_WITH_KIND)
def test_the_loss_is_one_value_a_task_and_reaches_every_parameter(name: str, kind: Kind) -> None:
    """`loss` is [T] and no trained parameter is left without a gradient."""
    method = build(name, kind=kind).train()
    loss = method.loss(made(kind))
    assert loss.shape == (4,)
    loss.sum().backward()
    assert without_gradient(method) == subtracted_again(name, method)


@pytest.mark.parametrize("name", BY_CLASSES)
def test_the_loss_of_a_batch_is_one_value_an_image_and_reaches_every_parameter(name: str) -> None:
    """`batch_loss` is [B] and no trained parameter is left without a gradient."""
    method, tasks = build(name).train(), tasks_of(blobs())
    loss = method.batch_loss(tasks.query_x.flatten(0, 1), tasks.targets.flatten())
    assert loss.shape == (60,)
    loss.sum().backward()
    assert without_gradient(method) == set()


def without_gradient(method: Method) -> set[str]:
    """The names of its parameters that no gradient reaches, or one that is rounding beside the largest."""
    sizes = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in method.named_parameters()}
    return {key for key, size in sizes.items() if not size > 1e-10 * max(sizes.values())}


def subtracted_again(name: str, method: Method) -> set[str]:
    """The biases of learn2learn's convolutions, which the normalisation after them takes out again, and their rates."""
    learned = [key for key, _ in method.named_parameters()]
    biases = {key for key in learned if key.endswith("conv.bias") and name.startswith("l2l-")}
    adapting = [key for key in learned if ".lrs." not in key]
    return biases | ({f"learner.lrs.{adapting.index(key)}" for key in biases} & set(learned))


@pytest.mark.parametrize("ends", [(1, 2, 3, 4), (3, 4)], ids=["one by one", "3 and 1"])
@pytest.mark.parametrize(("name", "kind"), TRAINED_WITH_KIND)
def test_chunks_of_tasks_give_the_same_gradient_and_running_statistics(name: str, kind: Kind, ends: tuple[int, ...]) -> None:
    """The engine may compute tasks in any chunks."""
    whole, parts = learned(name, made(kind), (4,)), learned(name, made(kind), ends)
    for (key, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9, msg=key)
    for (key, a), b in zip(whole.named_buffers(), parts.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.parametrize(("name", "kind"), TRAINED_WITH_KIND)
def test_the_gradient_of_a_chunk_in_float32_is_close_to_that_of_single_tasks(name: str, kind: Kind) -> None:
    """All parameters' together, to a thousandth of its length unless said otherwise."""
    tasks = in_float32(made(kind))
    whole, parts = (learned(name, tasks, ends) for ends in ((4,), (1, 2, 3, 4)))
    a, b = (torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]) for method in (whole, parts))
    assert a.dtype == torch.float32
    assert (a - b).norm() <= ROUNDING.get(name, 1e-3) * a.norm()


def learned(name: str, tasks: Tasks, ends: tuple[int, ...]) -> Method:
    """A fresh method with the gradient and the statistics of these tasks, computed in chunks that end there."""
    method = build(name, kind=tasks.kind).to(tasks.query_x.dtype).train()
    with torch.random.fork_rng():  # what a method draws from torch's generator (dropout) is not a task's own
        torch.manual_seed(0)
        for start, end in zip((0, *ends), ends, strict=False):
            method.loss(tasks.some(slice(start, end))).sum().backward()
    method.after_update()
    return method


@each_kind
def test_saved_weights_predict_the_same(name: str, kind: Kind) -> None:
    """A state dict through safetensors gives back the same scores."""
    tasks = made(kind)
    method, again = for_test(build(name, kind=kind)), for_test(build(name, seed=1, kind=kind))
    again.load_state_dict(load(save({k: v.contiguous() for k, v in method.state_dict().items()})))
    torch.testing.assert_close(predicted(method, tasks), predicted(again, tasks), rtol=0, atol=0)


@each_kind
def test_the_last_inner_step_is_the_prediction(name: str, kind: Kind) -> None:
    """`predict_steps`, where a method has inner steps, ends with what `predict` says, under as many steps as asked."""
    method, tasks = for_test(build(name, kind=kind)), made(kind)
    held(method, replace(method.conditions, inner_steps=2))
    with torch.no_grad():
        steps = method.predict_steps(tasks.without_query_labels())
    if steps is None:
        assert kind == "classification" or CLASSES[name].inner_steps(method.hparams) is None
        return
    assert len(steps) == 2
    torch.testing.assert_close(steps[-1], predicted(method, tasks), **CLOSE)
