"""What every registered method must hold, ours or a third party's: being registered is enough to be tested."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from tiny import blobs, build, concat, for_test, tasks_of

from fewshot_bench import plugins
from fewshot_bench.recipes import recipe_sections
from fewshot_bench.tasks import Tasks
from fewshot_bench.testing import accuracies

METHODS = sorted(plugins.registered("methods"))
OURS = [name for name in METHODS if plugins.find("methods", name).distribution.startswith("fewshot-bench ")]
TRAINED = [name for name in METHODS if plugins.find("methods", name).load().trained]


def one(tasks: Tasks, index: int) -> Tasks:
    """One task of a batch."""
    part = slice(index, index + 1)
    query_y = None if tasks.query_y is None else tasks.query_y[part]
    return replace(
        tasks,
        support_x=tasks.support_x[part],
        support_y=tasks.support_y[part],
        query_x=tasks.query_x[part],
        query_y=query_y,
        key=tasks.key[part],
    )


@pytest.mark.parametrize("name", METHODS)
def test_scores_have_one_value_a_query_and_way(name: str) -> None:
    """`predict` returns finite scores [T, Q, N]."""
    tasks = tasks_of(blobs()).without_query_labels()
    with torch.no_grad():
        scores = for_test(build(name)).predict(tasks)
    assert scores.shape == (4, 15, 5)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", METHODS)
def test_tasks_in_one_call_equal_one_call_a_task(name: str) -> None:
    """Tasks do not see each other."""
    tasks = tasks_of(blobs()).without_query_labels()
    method = for_test(build(name))
    with torch.no_grad():
        apart = concat([method.predict(one(tasks, i)) for i in range(len(tasks))])
        torch.testing.assert_close(method.predict(tasks), apart, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_a_query_changes_no_other_querys_scores_under_an_inductive_test(name: str) -> None:
    """What is declared inductive is: replacing one query by noise leaves the others' scores."""
    tasks = tasks_of(blobs()).without_query_labels()
    method = for_test(build(name))
    assert not method.transductive
    noise = tasks.query_x.clone()
    noise[:, 0] = torch.rand(noise[:, 0].shape, dtype=noise.dtype, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = method.predict(tasks), method.predict(replace(tasks, query_x=noise))
    torch.testing.assert_close(before[:, 1:], after[:, 1:], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(before[:, 0], after[:, 0])


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_the_support_does_not_matter_where_that_is_declared(name: str) -> None:
    """Support-order invariance is what the method declares."""
    tasks = tasks_of(blobs(), shots=2).without_query_labels()
    method = for_test(build(name))
    order = torch.randperm(tasks.support_x.shape[1], generator=torch.Generator().manual_seed(1))
    turned = replace(tasks, support_x=tasks.support_x[:, order], support_y=tasks.support_y[:, order])
    with torch.no_grad():
        same = torch.allclose(method.predict(tasks), method.predict(turned), rtol=1e-9, atol=1e-9)
    assert same == method.support_order_invariant


@pytest.mark.parametrize("name", METHODS)
def test_renaming_the_ways_renames_the_scores_where_that_is_declared(name: str) -> None:
    """Way-equivariance is what the method declares, and what it does not declare really breaks."""
    tasks = tasks_of(blobs()).without_query_labels()
    method = for_test(build(name))
    names = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        before, after = method.predict(tasks), method.predict(replace(tasks, support_y=names[tasks.support_y]))
    assert torch.allclose(before, after[:, :, names], rtol=1e-9, atol=1e-9) == method.way_equivariant


@pytest.mark.parametrize("name", METHODS)
def test_accuracy_is_chance_where_labels_say_nothing(name: str) -> None:
    """On a bank whose images are all noise no method does better than guessing."""
    bank = blobs(classes=60, images=8)
    bank.images = torch.randint(0, 256, bank.images.shape, generator=torch.Generator().manual_seed(2)).byte().numpy()
    tasks = tasks_of(bank, count=60)
    with torch.no_grad():
        scores = for_test(build(name)).predict(tasks.without_query_labels())
    assert accuracies(scores, tasks.targets).mean() == pytest.approx(0.2, abs=4 * (0.16 / 900) ** 0.5)


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_is_one_value_a_task_and_reaches_every_parameter(name: str) -> None:
    """`loss` is [T] and no trained parameter is left without a gradient."""
    method = build(name).train()
    loss = method.loss(tasks_of(blobs()))
    assert loss.shape == (4,)
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


@pytest.mark.parametrize("name", TRAINED)
def test_chunks_of_tasks_give_the_same_gradient_and_running_statistics(name: str) -> None:
    """The engine may compute tasks in any chunks."""
    tasks, whole, parts = tasks_of(blobs()), build(name).train(), build(name).train()
    whole.loss(tasks).sum().backward()
    for i in range(len(tasks)):
        parts.loss(one(tasks, i)).sum().backward()
    whole.after_update()
    parts.after_update()
    for (key, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-10, msg=key)
    for (key, a), b in zip(whole.named_buffers(), parts.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", METHODS)
def test_saved_weights_predict_the_same(name: str) -> None:
    """A state dict through safetensors gives back the same scores."""
    tasks = tasks_of(blobs()).without_query_labels()
    method, again = for_test(build(name)), for_test(build(name, seed=1))
    again.load_state_dict(load(save({k: v.contiguous() for k, v in method.state_dict().items()})))
    with torch.no_grad():
        torch.testing.assert_close(method.predict(tasks), again.predict(tasks), rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(set(TRAINED) & set(OURS)))
@pytest.mark.parametrize("dataset", ["glyphs", "omniglot"])
def test_a_trained_method_of_ours_has_a_recipe_for_each_data_set(name: str, dataset: str) -> None:
    """The default recipe matches 5-way 1-shot on both data sets and names where its values come from."""
    plugin = plugins.find("methods", name)
    assert recipe_sections(plugin, None, dataset, 5, 1)["train"]["updates"] > 0
    assert all(entry["source"] for entries in plugin.card()["recipes"].values() for entry in entries)
