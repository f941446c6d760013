"""Batches of all classes: every image once an epoch, a function of its number alone."""

import numpy as np
import pytest
import torch
from tiny import blobs

from fewshot_bench.episodes.batches import BatchSource
from fewshot_bench.errors import UsageError


def source(size: int = 16, seed: int = 0) -> BatchSource:
    """Batches of the blobs: 12 classes of 20 images."""
    return BatchSource(blobs(), size, seed, torch.device("cpu"), torch.float32)


def test_an_epoch_holds_each_image_once() -> None:
    """240 images in 15 batches of 16, another order in the next epoch."""
    batches = source()
    epochs = [np.concatenate([batches.ids(epoch * 15 + i) for i in range(15)]) for epoch in range(2)]
    for ids in epochs:
        assert np.array_equal(np.sort(ids), np.arange(240))
    assert not np.array_equal(*epochs)


def test_what_fills_no_batch_is_left_out_of_its_epoch() -> None:
    """240 images in 2 batches of 100: the third batch begins the next epoch."""
    batches = source(100)
    first = np.concatenate([batches.ids(0), batches.ids(1)])
    assert len(np.unique(first)) == 200
    assert len(np.unique(np.concatenate([batches.ids(2), batches.ids(3)]))) == 200


def test_a_batch_is_a_function_of_its_number() -> None:
    """Whatever was asked before; another seed has another order."""
    onward, directly = source(), source()
    for i in range(40):
        onward.ids(i)
    assert np.array_equal(onward.ids(7), directly.ids(7))
    assert not np.array_equal(directly.ids(7), source(seed=1).ids(7))


def test_golden_ids() -> None:
    """The stream stays what it is on every platform (raw words of Philox, stable argsort)."""
    words = np.random.Philox(key=source().key, counter=[0, 0, 0, 0]).random_raw(240)
    expected = sorted(range(240), key=lambda i: int(words[i]))[:16]
    assert source().ids(0).tolist() == expected


def test_images_and_classes_belong_together() -> None:
    """Class c of the blobs owns images 20c to 20c + 19."""
    bank, batches = blobs(), source()
    x, y = batches.batch(3)
    ids = batches.ids(3)
    assert torch.equal(y, torch.from_numpy(ids // 20))
    torch.testing.assert_close(x, torch.from_numpy(bank.images[ids]).float() / 255)


def test_a_batch_larger_than_the_split_is_refused() -> None:
    """With the number that would fit."""
    with pytest.raises(UsageError, match="batch_size 241 is more than the 240 images"):
        source(241)
