"""Training images alone are augmented, as the spec and the data set say; nothing else of a run changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_images import SyntheticImages
from tiny import blobs, build
from torch import Tensor

from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.prepare import prepare
from fewshot_bench.episodes.augmentation import augmented
from fewshot_bench.episodes.batches import BatchSource
from fewshot_bench.episodes.randomness import ForkedGenerator
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.episodes.varying import VaryingSampler
from fewshot_bench.errors import UsageError
from fewshot_bench.request import Request
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.session import Session
from fewshot_bench.runs.training import Interrupted, Trainer
from fewshot_bench.specs import TrainSpec

CPU = torch.device("cpu")
LINEAR = f"{Path(__file__).parents[1] / 'support' / 'linear_method.py'}:Linear"
ALL = ("crop", "resized-crop", "flip", "jitter", "rotate")


class TurnedImages(SyntheticImages):
    """Images whose options ask for rotation."""

    augment = ("rotate",)


def episodes(*augment: str) -> TaskSource:
    """5-way 2-shot episodes of the blobs with 3 queries."""
    return TaskSource(blobs(), EpisodeSampler(blobs(), 5, 2, 3, 0), CPU, torch.float64, augment)


def batches(*augment: str) -> BatchSource:
    """Batches of 16 blobs."""
    return BatchSource(blobs(), 16, 0, CPU, torch.float64, augment)


def opened(monkeypatch: pytest.MonkeyPatch, cache: Path, dataset: str, method: str, *settings: str) -> Session:
    """A run on synthetic images of 16 x 16 pixels, ready to train."""
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    given = ("data.side=16", "validation.queries=3", *settings)
    resolved = resolve(Request(method, dataset, settings=given, queries=3, protocol="custom", episodes=4, device="cpu"))
    assert isinstance(resolved.dataset, Dataset)
    return Session.open(resolved, prepare("synthetic", resolved.dataset), None)


def same(one: Tasks, other: Tasks) -> bool:
    """Whether tasks show the same images."""
    return torch.equal(one.support_x, other.support_x) and torch.equal(one.query_x, other.query_x)


def turn_of(before: Tensor, after: Tensor) -> int:
    """By how many quarters numpy has to turn images [..., C, H, H] for the others."""
    (turn,) = [k for k in range(4) if np.array_equal(np.rot90(before.numpy(), k, (-2, -1)), after.numpy())]
    return turn


def test_support_and_queries_of_an_episode_are_augmented_as_one_row_of_images() -> None:
    """By the task's key and each image's class; labels, order and keys stay."""
    plain, found = episodes().tasks(3, 4), episodes(*ALL).tasks(3, 4)
    images = torch.cat([plain.support_x, plain.query_x], 1)
    expected = augmented(images, torch.cat([plain.support_y, plain.targets], 1), plain.key, ALL)
    assert torch.equal(torch.cat([found.support_x, found.query_x], 1), expected)
    for name in ("support_y", "targets", "key", "ways"):
        assert torch.equal(torch.as_tensor(getattr(found, name)), torch.as_tensor(getattr(plain, name)))


def test_a_class_of_an_episode_is_turned_as_one() -> None:
    """Its support and its queries alike, by numpy's quarters; every turn occurs."""
    plain, found = episodes().tasks(0, 8), episodes("rotate").tasks(0, 8)
    turns = set()
    for task in range(8):
        labels = torch.cat([plain.support_y[task], plain.targets[task]])
        before, after = (torch.cat([one.support_x[task], one.query_x[task]]) for one in (plain, found))
        turns |= {turn_of(before[labels == label], after[labels == label]) for label in range(5)}
    assert turns == {0, 1, 2, 3}


def test_unlabelled_images_are_turned_with_their_class() -> None:
    """Those of a way as its labelled ones, those of a distractor as each other."""
    sampler = VaryingSampler(blobs(), EpisodeSize(3, 1, 1, unlabelled=4, distractors=2), 0)
    plain, found = (TaskSource(blobs(), sampler, CPU, torch.float64, names).tasks(0, 8) for names in ((), ("rotate",)))
    labels = sampler.block(0, 8).labels
    turns = set()
    for task in range(8):
        before, after = (
            torch.cat([one.support_x[task], one.query_x[task], one.unlabelled_x[task]])
            for one in (plain, found)
            if one.unlabelled_x is not None
        )
        assert [int((labels[task] == label).sum()) for label in range(5)] == [6, 6, 6, 4, 4]
        turns |= {turn_of(before[labels[task] == label], after[labels[task] == label]) for label in range(5)}
    assert turns == {0, 1, 2, 3}


def test_a_batch_is_augmented_by_its_number() -> None:
    """Whatever was asked before; its images and classes are those of the plain batch, each image turned for itself."""
    onward, directly = batches(*ALL), batches(*ALL)
    for index in range(4):
        onward.batch(index)
    assert torch.equal(onward.batch(4)[0], directly.batch(4)[0])
    (before, classes), (after, same_classes) = batches().batch(4), batches("rotate").batch(4)
    assert torch.equal(classes, same_classes)
    assert {turn_of(x, y) for x, y in zip(before, after, strict=True)} == {0, 1, 2, 3}


def test_the_same_image_is_augmented_otherwise_in_another_batch() -> None:
    """Two batches of all images in another order: neither an image nor a place in the batch has its turn again."""
    plain, turned = (BatchSource(blobs(), 240, 0, CPU, torch.float64, names) for names in ((), ("rotate",)))
    by_place = [(plain.batch(index)[0] == turned.batch(index)[0]).flatten(1).all(1) for index in (0, 1)]
    by_image = [still[np.argsort(plain.ids(index))] for index, still in enumerate(by_place)]
    assert 0 < by_place[0].sum() < 240
    assert not torch.equal(*by_place)
    assert not torch.equal(*by_image)


@pytest.mark.parametrize("method", [LINEAR, "baseline"])
def test_training_is_augmented_and_validation_and_test_are_not(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a method of episodes and of one of batches, as `--set augment=[...]` says."""
    reference = f"{Path(__file__).parents[1] / 'support' / 'synthetic_images.py'}:SyntheticImages"
    plain = opened(monkeypatch, tmp_path, reference, method)
    changed = opened(monkeypatch, tmp_path, reference, method, "augment=[flip,jitter]")
    before, after = plain.trainer(tmp_path), changed.trainer(tmp_path)
    assert isinstance(before.source, TaskSource | BatchSource) and isinstance(after.source, TaskSource | BatchSource)
    assert (before.source.augment, after.source.augment) == ((), ("flip", "jitter"))
    assert before.validation is not None and after.validation is not None
    assert same(before.validation.tasks(0, 2), after.validation.tasks(0, 2))
    sources = [session.test_source(session.resolved.test) for session in (plain, changed)]
    assert same(*(source.tasks(0, 2) for source in sources))
    bank = plain.bank("test")
    ids = EpisodeSampler(bank, 5, 1, 3, changed.resolved.test.seed).block(0, 2).support
    pixels = bank.gather(ids.reshape(-1)).float() / 255
    torch.testing.assert_close(sources[1].tasks(0, 2).support_x.flatten(0, 1), pixels)


def test_what_the_data_set_asks_for_is_done_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before the training's own; every number of shots alike."""
    session = opened(monkeypatch, tmp_path, f"{__file__}:TurnedImages", LINEAR, "train.augment=flip", "train.max_shots=2")
    source: Any = session.trainer(tmp_path).source
    assert [one.augment for one in source.sources] == [("rotate", "flip")] * 2
    assert session.resolved.train.augment == ("flip",)


def test_an_augmented_training_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """Stopped after update 3, resumed and compared bit for bit; in chunks of one task or of two the images are the same."""

    class Stop(Listener):
        def stopped(self) -> bool:
            return first.at.update == 3

    def trainer(folder: Path, chunk: int = 2) -> Trainer:
        folder.mkdir(exist_ok=True)
        spec = TrainSpec.checked(
            {"method": "prototypical-networks", "hparams": {}, "backbone": None, "dataset": "blobs", "data": {}, "seed": 0}
            | {"ways": 5, "shots": 2, "queries": 3, "normalisation": "joint", "meta_batch_size": 2, "updates": 6}
            | {"split": "train+val", "validation": None, "selection": "last", "dtype": "float64", "augment": ALL}
        )
        method = build(spec.method)
        return Trainer(spec, method, Plan("cpu", 1, chunk, 4), ForkedGenerator(0, CPU), episodes(*ALL), None, folder)

    first = trainer(tmp_path / "cut")
    with pytest.raises(Interrupted):
        first.train(Stop())
    second, whole, chunked = trainer(tmp_path / "cut"), trainer(tmp_path / "whole"), trainer(tmp_path / "chunked", 1)
    second.resume()
    for run in (second, whole, chunked):
        run.train(Listener())
    for key, value in whole.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[key]), key
        torch.testing.assert_close(value, chunked.method.state_dict()[key], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("augment=crop", ("crop",)),
        ("train.augment=[crop, flip]", ("crop", "flip")),
        ("augment=null", ()),
        ("augment=[]", ()),
    ],
)
def test_augmentations_are_a_word_or_a_list(setting: str, expected: tuple[str, ...]) -> None:
    """In the order that is given."""
    assert resolve(Request(LINEAR, settings=(setting,), device="cpu")).train.augment == expected


@pytest.mark.parametrize(
    ("dataset", "setting", "said"),
    [
        ("glyphs", "augment=crp", "'crop', 'resized-crop', 'flip', 'jitter' or 'rotate', got 'crp'"),
        ("glyphs", "augment=[crop,crop]", "each augmentation may be named only once"),
        ("glyphs", "augment=3", "augment: .* got 3"),
        ("sinusoid", "augment=crop", "crop applies only to images"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(dataset: str, setting: str, said: str) -> None:
    """With the valid names."""
    method = "maml" if dataset == "sinusoid" else LINEAR
    with pytest.raises(UsageError, match=said):
        resolve(Request(method, dataset, settings=(setting,), device="cpu"))
