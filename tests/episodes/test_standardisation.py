"""A channel's mean and deviation are numpy's over the training split, and reach every image of a run."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from synthetic_images import SyntheticImages
from tiny import blobs

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.prepare import prepare
from fewshot_bench.episodes import standardisation
from fewshot_bench.episodes.batches import BatchSource
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.standardisation import Standard
from fewshot_bench.errors import UsageError
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.session import Session

Pixels = npt.NDArray[np.uint8]
CPU = torch.device("cpu")
SYNTHETIC = f"{SyntheticImages.__module__}:SyntheticImages"


def bank_of(images: Pixels) -> MemmapBank:
    """A bank of one class."""
    return MemmapBank(images, ("class",), np.array([0, len(images)]), "id")


@pytest.fixture
def images() -> Pixels:
    """Images uint8 [10, 3, 6, 5] whose channels differ; the last never varies."""
    rng = np.random.default_rng(0)
    each = [rng.integers(low, high, (10, 6, 5), dtype=np.uint8) for low, high in ((0, 256), (30, 90), (7, 8))]
    return np.stack(each, 1)


def test_moments_are_those_of_all_pixels(images: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy's in float64, however many images are counted at once; a flat channel is divided by 1."""
    pixels = images / 255
    found = Standard.of(bank_of(images))
    np.testing.assert_allclose(found.mean, pixels.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(found.deviation[:2], pixels.std((0, 2, 3))[:2], rtol=1e-13)
    assert found.deviation[2] == 1
    monkeypatch.setattr(standardisation, "COUNTED_AT_ONCE", 3)
    assert Standard.of(bank_of(images)) == found


def test_standardised_pixels_have_mean_0_and_deviation_1(images: Pixels) -> None:
    """In every channel that varies."""
    floats = torch.from_numpy(images / 255)
    standardised = Standard.of(bank_of(images))(floats.clone())
    torch.testing.assert_close(standardised.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        standardised.std((0, 2, 3), correction=0)[:2], torch.ones(2, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_episodes_and_batches_standardise_after_they_augment() -> None:
    """The black border of a padded crop is black, not the mean: (0 - mean) / deviation."""
    standard = Standard((0.25,), (0.5,))
    sampler = EpisodeSampler(blobs(), 5, 2, 3, 0)
    plain = TaskSource(blobs(), sampler, CPU, torch.float64, ("crop",)).tasks(3, 2)
    found = TaskSource(blobs(), sampler, CPU, torch.float64, ("crop",), standard).tasks(3, 2)
    assert torch.equal(found.support_x, (plain.support_x - 0.25) / 0.5)
    assert torch.equal(found.query_x, (plain.query_x - 0.25) / 0.5)
    batch = BatchSource(blobs(), 16, 0, CPU, torch.float64, ("crop",), standard).batch(1)[0]
    assert torch.equal(batch, (BatchSource(blobs(), 16, 0, CPU, torch.float64, ("crop",)).batch(1)[0] - 0.25) / 0.5)


def opened(monkeypatch: pytest.MonkeyPatch, cache: Path, *settings: str) -> Session:
    """A standardised run on synthetic images of 16 x 16 pixels."""
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    given = ("data.side=16", "validation.queries=3", "standardise=true", *settings)
    request = Request("prototypical-networks", SYNTHETIC, settings=given, queries=3, protocol="custom", episodes=4)
    resolved = resolve(request)
    assert isinstance(resolved.dataset, Dataset)
    return Session.open(resolved, prepare("synthetic", resolved.dataset), None)


@pytest.mark.parametrize("split", ["train", "train+val"])
def test_a_run_standardises_everything_by_its_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    """Training, validation, test, and images that are embedded once."""
    session = opened(monkeypatch, tmp_path, f"train.split={split}", "selection=last")
    bank = session.prepared.bank(split)
    assert session.standard is not None and session.standard == Standard.of(bank)
    assert session.standard != Standard.of(session.prepared.bank("test"))
    test = session.test_source(session.resolved.test)
    assert isinstance(test, TaskSource)
    trainer = session.trainer(tmp_path / "run")
    for source in (trainer.source, *([trainer.validation] if split == "train" else []), test):
        assert isinstance(source, TaskSource) and source.standard == session.standard
    ids = np.arange(4)
    plain = test.bank.gather(ids).numpy() / 255
    mean, deviation = (np.reshape(one, (3, 1, 1)) for one in (session.standard.mean, session.standard.deviation))
    np.testing.assert_allclose(test.images(ids), (plain - mean) / deviation, atol=1e-5)


def test_functions_have_no_pixels() -> None:
    """Said before any work, with the option to leave out."""
    with pytest.raises(UsageError, match=r"leave train\.standardise out"):
        resolve(Request("maml", "sinusoid", settings=("standardise=true",), recipe="default@sinusoid"))
