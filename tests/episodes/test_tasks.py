"""Tasks are the bank's images at the sampler's episodes, made by one gather, and hide the query labels at test."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from fewshot_bench.data.bank import MemmapBank, TensorBank
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource, to_float
from fewshot_bench.episodes.tasks import Tasks

WAYS, SHOTS, QUERIES = 3, 2, 4
SIZES = [6, 9, 7, 8]
CPU = torch.device("cpu")


class CountingBank(MemmapBank):
    """A bank that remembers what was asked of it."""

    asked: list[npt.NDArray[np.int64]]

    def gather(self, ids: npt.NDArray[np.int64]) -> Tensor:
        """The images, noted."""
        self.asked.append(ids)
        return super().gather(ids)


@pytest.fixture
def bank() -> CountingBank:
    """30 random images [2, 5, 5] in four classes."""
    images = np.random.default_rng(0).integers(0, 256, (sum(SIZES), 2, 5, 5), dtype=np.uint8)
    bank = CountingBank(images, ("a", "b", "c", "d"), np.cumsum([0, *SIZES]), "synthetic")
    bank.asked = []
    return bank


@pytest.fixture
def sampler(bank: CountingBank) -> EpisodeSampler:
    """Its 3-way 2-shot episodes."""
    return EpisodeSampler(bank, WAYS, SHOTS, QUERIES, seed=5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_are_the_banks_at_the_episodes_ids(bank: CountingBank, sampler: EpisodeSampler, dtype: torch.dtype) -> None:
    """Support and query of each task hold the bank's images at the ids of its episode, over 255."""
    tasks, episodes = TaskSource(bank, sampler, CPU, dtype).tasks(7, 4), sampler.block(7, 4)
    for x, ids in ((tasks.support_x, episodes.support), (tasks.query_x, episodes.query)):
        assert x.dtype == dtype
        assert torch.equal(x, torch.tensor(bank.images[ids], dtype=dtype) / 255)


def test_labels_and_keys_are_the_episodes(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """Labels, ways and the 64 bits of each task's key come through unchanged."""
    tasks, episodes = TaskSource(bank, sampler, CPU, torch.float32).tasks(7, 4), sampler.block(7, 4)
    assert tasks.support_y.tolist() == episodes.support_y.tolist()
    assert tasks.targets.tolist() == episodes.query_y.tolist()
    assert [key % 2**64 for key in tasks.key.tolist()] == episodes.key.tolist()
    assert tasks.ways == WAYS


def test_shapes_are_those_of_the_legend(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """Images are [T, S, C, H, W] and [T, Q, C, H, W], labels [T, S] and [T, Q]."""
    tasks = TaskSource(bank, sampler, CPU, torch.float32).tasks(0, 4)
    assert len(tasks) == 4
    assert tasks.support_x.shape == (4, WAYS * SHOTS, 2, 5, 5)
    assert tasks.support_y.shape == (4, WAYS * SHOTS)
    assert tasks.query_x.shape == (4, WAYS * QUERIES, 2, 5, 5)
    assert tasks.targets.shape == (4, WAYS * QUERIES)


def test_a_batch_of_tasks_is_one_gather(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """The bank is asked once for all the images of all the tasks."""
    TaskSource(bank, sampler, CPU, torch.float32).tasks(0, 6)
    assert [len(ids) for ids in bank.asked] == [6 * WAYS * (SHOTS + QUERIES)]


def test_a_tensor_in_place_of_the_memory_map_gives_the_same_tasks(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """Where the split's images lie makes no difference to a task."""
    mapped = TaskSource(bank, sampler, CPU, torch.float32).tasks(0, 3)
    tensor = TaskSource(TensorBank(torch.tensor(bank.images), bank), sampler, CPU, torch.float32).tasks(0, 3)
    assert torch.equal(mapped.support_x, tensor.support_x)
    assert torch.equal(mapped.query_x, tensor.query_x)


def test_tasks_for_a_test_show_no_query_label(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """Without query labels nothing else changes, and asking for the targets is an error."""
    tasks = TaskSource(bank, sampler, CPU, torch.float32).tasks(0, 2)
    hidden = tasks.without_query_labels()
    assert hidden.query_y is None
    assert all(getattr(hidden, name) is getattr(tasks, name) for name in vars(Tasks(**vars(tasks))) if name != "query_y")
    with pytest.raises(AssertionError, match="never shown at test"):
        _ = hidden.targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_become_shares_of_255(dtype: torch.dtype) -> None:
    """Each of the 256 values v becomes v / 255, correctly rounded."""
    values = np.arange(256, dtype=np.uint8)
    expected = values.astype(torch.empty(0, dtype=dtype).numpy().dtype) / np.asarray(255, values.dtype)
    assert np.array_equal(to_float(torch.from_numpy(values), dtype).numpy(), expected)


def test_features_pass_unchanged() -> None:
    """What is no byte is no image, and is not scaled."""
    features = torch.tensor([[-300.0, 0.5]])
    assert torch.equal(to_float(features, torch.float32), features)


def test_scaling_leaves_the_banks_bytes_alone(bank: CountingBank, sampler: EpisodeSampler) -> None:
    """Making tasks changes no image of the bank."""
    before = bank.images.copy()
    TaskSource(bank, sampler, CPU, torch.float32).tasks(0, 6)
    assert np.array_equal(bank.images, before)
