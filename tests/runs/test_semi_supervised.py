"""Unlabelled images arrive as images without labels, wherever tasks go, and a method that uses them gains by them.

Legend: T tasks, N ways, D distractors, U unlabelled images in all.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from soft_k_means import SoftKMeans
from tiny import CLASSES, SHAPE

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.episodes.varying import VaryingSampler, sampler_of
from fewshot_bench.learning.base import Conditions, MethodInfo, NoHparams
from fewshot_bench.runs.testing import embedded, episode_scores

SIZE = EpisodeSize(5, 1, 3, unlabelled=12, distractors=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank() -> MemmapBank:
    """Classes of copies of a random pattern under as much noise as leaves one shot unsure."""
    random = np.random.default_rng(0)
    patterns = random.integers(98, 158, (CLASSES, 1, *SHAPE))
    pixels = np.clip(patterns + random.normal(0, 60, (CLASSES, 20, *SHAPE)), 0, 255).astype(np.uint8).reshape(-1, *SHAPE)
    return MemmapBank(pixels, tuple(map(str, range(CLASSES))), np.arange(CLASSES + 1) * 20, "noisy")


@pytest.fixture
def source(bank: MemmapBank) -> TaskSource:
    """Semi-supervised 5-way 1-shot tasks of it."""
    return TaskSource(bank, VaryingSampler(bank, SIZE, 0), CPU, torch.float64)


@pytest.fixture
def method() -> SoftKMeans:
    """Soft k-means on pixels."""
    return SoftKMeans(NoHparams(), MethodInfo("classification", 5, 5, SHAPE, CLASSES), None)


def unlabelled_of(tasks: Tasks) -> torch.Tensor:
    """The unlabelled images, of which there are some."""
    assert tasks.unlabelled_x is not None
    return tasks.unlabelled_x


def test_unlabelled_images_are_the_banks_at_the_episodes_ids(bank: MemmapBank, source: TaskSource) -> None:
    """U = unlabelled * (ways + distractors) images a task [T, U, C, H, W], over 255."""
    tasks, block = source.tasks(7, 4), source.sampler.block(7, 4)
    assert block.unlabelled is not None
    assert unlabelled_of(tasks).shape == (4, 12 * (5 + 2), *SHAPE)
    assert torch.equal(unlabelled_of(tasks), torch.tensor(bank.images[block.unlabelled], dtype=torch.float64) / 255)


def test_no_label_of_theirs_is_in_a_task(source: TaskSource) -> None:
    """A task has labels for its support and queries, and a number of ways that no distractor is among."""
    tasks = source.tasks(0, 4)
    whole_numbers = {
        one.name: value
        for one in fields(Tasks)
        if isinstance(value := getattr(tasks, one.name), torch.Tensor) and not value.is_floating_point()
    }
    assert {name: value.shape for name, value in whole_numbers.items()} == {
        "support_y": (4, 5),
        "query_y": (4, 15),
        "key": (4,),
    }
    assert tasks.ways == 5


def test_the_order_of_unlabelled_images_tells_nothing(source: TaskSource) -> None:
    """At the first place each way and each distractor stands equally often."""
    block = source.sampler.block(0, 7000)
    assert block.unlabelled_y is not None
    assert stats.chisquare(np.bincount(block.unlabelled_y[:, 0], minlength=7)).pvalue > 1e-3


def test_parts_of_tasks_and_tasks_without_query_labels_keep_them(source: TaskSource) -> None:
    """As views: nothing is copied."""
    tasks = source.tasks(0, 4)
    some = unlabelled_of(tasks.some(slice(1, 3)))
    assert torch.equal(some, unlabelled_of(tasks)[1:3])
    assert some.data_ptr() == unlabelled_of(tasks)[1].data_ptr()
    assert tasks.without_query_labels().unlabelled_x is tasks.unlabelled_x


def test_without_unlabelled_images_there_are_none(bank: MemmapBank) -> None:
    """Not an empty tensor."""
    assert TaskSource(bank, sampler_of(bank, EpisodeSize(5, 1, 3), 0), CPU, torch.float32).tasks(0, 2).unlabelled_x is None


def test_augmentation_treats_them_as_images(bank: MemmapBank) -> None:
    """Rotation turns all images of a class alike, the unlabelled and the distractors' among them."""
    sampler = VaryingSampler(bank, SIZE, 0)
    plain, turned = (TaskSource(bank, sampler, CPU, torch.float64, names).tasks(0, 3) for names in ((), ("rotate",)))
    block = sampler.block(0, 3)
    before = torch.cat([plain.support_x, plain.query_x, unlabelled_of(plain)], 1)
    after = torch.cat([turned.support_x, turned.query_x, unlabelled_of(turned)], 1)
    found = set()
    for task, labels in enumerate(block.labels):
        for label in range(7):
            rows = np.flatnonzero(labels == label)
            turns = [k for k in range(4) if torch.equal(before[task, rows].rot90(k, (2, 3)), after[task, rows])]
            assert len(turns) == 1
            found.add(turns[0])
    assert found == {0, 1, 2, 3}


def test_unlabelled_images_are_embedded_once_with_the_others(source: TaskSource, method: SoftKMeans) -> None:
    """The source of embeddings holds theirs too."""
    features, plain = embedded(method, source, Conditions(), 8), source.tasks(2, 3)
    assert features is not None
    torch.testing.assert_close(unlabelled_of(features.tasks(2, 3)), unlabelled_of(plain).flatten(2))


def test_a_method_that_uses_them_gains_by_them(source: TaskSource, method: SoftKMeans) -> None:
    """One step of soft k-means on the same 200 episodes, with and without them: better by far more than chance."""
    tasks = source.tasks(0, 200)
    with torch.no_grad():
        answers = [method.predict(one).argmax(-1) for one in (tasks, replace(tasks, unlabelled_x=None))]
    with_them, without = ((answer == tasks.targets).double().mean(1).numpy() for answer in answers)
    assert 0.3 < without.mean() < 0.9
    assert with_them.mean() > without.mean() + 0.1
    assert stats.ttest_rel(with_them, without, alternative="greater").pvalue < 1e-6


def test_a_test_shows_them_to_the_method(source: TaskSource, method: SoftKMeans) -> None:
    """The scores of a test are those that the method has with them."""
    blocks = list(episode_scores(method, source, Conditions(), 40, 7))
    tasks = source.tasks(0, 40)
    right = (method.predict(tasks.without_query_labels()).argmax(-1) == tasks.targets).double().mean(1)
    assert np.concatenate(blocks).tolist() == right.tolist()
