"""`check_dataset`: planted faults are found by the check that is named for them, and installed data sets pass."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from fewshot_bench import DataError, Dataset, FunctionFamily, ImageClass
from fewshot_bench.audit.dataset import audit_dataset
from fewshot_bench.data.dataset import Images, Progress
from fewshot_bench.data.functions import Values
from fewshot_bench.plugins import registry
from fewshot_bench.testing import CheckFailed, check_dataset

IDS = tuple(map(str, range(4)))


class Honest(Dataset):
    """Six classes of four images of noise."""

    shape = (1, 4, 4)

    def identity(self) -> str:
        """Of its pixels."""
        return "honest-v1"

    def classes(self) -> Mapping[str, Sequence[ImageClass]]:
        """Two in each split."""
        return {split: [ImageClass(f"{split}{i}", IDS) for i in range(2)] for split in self.splits}

    def images(self, progress: Progress) -> Iterator[Images]:
        """A class at a time."""
        for number in range(6):
            yield self.drawn(number)

    def drawn(self, number: int) -> Images:
        """The images of a class."""
        return np.random.Generator(np.random.Philox(number)).integers(0, 256, (4, *self.shape)).astype(np.uint8)


class InTwoSplits(Honest):
    """A class of training is tested."""

    def classes(self) -> Mapping[str, Sequence[ImageClass]]:
        """Of one name."""
        return {**super().classes(), "test": [ImageClass("train0", IDS), ImageClass("test1", IDS)]}


class OneImage(Honest):
    """A class has nothing to ask for."""

    def classes(self) -> Mapping[str, Sequence[ImageClass]]:
        """With one image."""
        return {**super().classes(), "test": [ImageClass("test0", ("0",)), ImageClass("test1", IDS)]}


class Duplicates(Honest):
    """The images of a training class under another name."""

    def drawn(self, number: int) -> Images:
        """The last class is the first."""
        return super().drawn(number % 5)


class Drifts(Honest):
    """Other pixels each time."""

    def drawn(self, number: int) -> Images:
        """Of the system's own numbers."""
        return np.frombuffer(os.urandom(64), np.uint8).reshape(4, *self.shape)


class NamesItself(Honest):
    """An identity of this process."""

    def identity(self) -> str:
        """Another for each object."""
        return f"honest-{id(self)}"


class NamesAPlace(Honest):
    """An identity of this machine."""

    def identity(self) -> str:
        """With a path."""
        return f"honest-{Path.home()}"


class Straddles(Honest):
    """Turns of a character, of which one stands in another split."""

    related = 3


class TooFew(Honest):
    """An image less than its classes say."""

    def drawn(self, number: int) -> Images:
        """Of the last class."""
        return super().drawn(number)[: 3 if number == 5 else 4]


class AnyOption(Honest):
    """It takes whatever it is given."""

    def __init__(self, options: Mapping[str, object] | None = None, root: Path | None = None) -> None:
        super().__init__(None, root)


class Files(Honest):
    """A picture for each image, whose bytes its identity has."""

    own_root = True

    def files(self) -> list[Path]:
        """In order."""
        assert self.root is not None
        return sorted(self.root.glob("*.png"))

    def identity(self) -> str:
        """Of names and sizes."""
        return f"files-{[(path.name, path.stat().st_size, path.read_bytes()[-20:-12].hex()) for path in self.files()]}"

    def drawn(self, number: int) -> Images:
        """As they lie there."""
        return np.stack([np.asarray(Image.open(path)) for path in self.files()[4 * number : 4 * number + 4]])[:, None]


class SameIdentity(Files):
    """Whatever the files hold."""

    def identity(self) -> str:
        """Of their names."""
        return f"files-{[path.name for path in self.files()]}"


PLANTED: dict[type, str] = {
    InTwoSplits: "splits",
    OneImage: "splits",
    Duplicates: "duplicates across splits",
    Drifts: "same twice",
    NamesItself: "identity",
    NamesAPlace: "identity",
    Straddles: "related classes",
    TooFew: "images",
    AnyOption: "options",
}


@pytest.mark.parametrize(("dataset", "name"), PLANTED.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_fault_is_found_by_its_check(dataset: type, name: str) -> None:
    """And named in the error of a plugin's own test."""
    audit = audit_dataset(registry.find("datasets", dataset))
    assert audit[name].standing == "failed", str(audit)
    with pytest.raises(CheckFailed, match=name):
        check_dataset(dataset)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 24 pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        for place, image in enumerate(Honest().drawn(number)):
            Image.fromarray(image[0]).save(folder / f"{number}-{place}.png")
    return folder


def test_an_identity_changes_with_the_pixels(pictures: Path) -> None:
    """Tried on a copy; the files stay as they are."""
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    assert check_dataset(Files, root=pictures)["identity of other pixels"].standing == "passed"
    found = audit_dataset(registry.find("datasets", SameIdentity), root=pictures)
    assert [one.name for one in found.having("failed")] == ["identity of other pixels"]
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_an_honest_data_set_passes() -> None:
    """What has no files has none that could be changed."""
    assert [one.name for one in check_dataset(Honest).having("skipped")] == ["identity of other pixels"]


def test_files_that_are_not_there_are_no_fault() -> None:
    """But a user's mistake, as everywhere."""
    with pytest.raises(DataError, match="--data-root"):
        check_dataset("folder")


class Lines(FunctionFamily):
    """Straight lines."""

    parameters: ClassVar = {"slope": (-1.0, 1.0)}
    domain = (-2.0, 2.0)

    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """At x [B, n]."""
        return np.asarray(parameters["slope"] * x)


class Centred(Lines):
    """A value that changes with the points beside it."""

    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """Less their mean."""
        return np.asarray(parameters["slope"] * (x - x.mean(1, keepdims=True)))


def test_functions_are_checked_too() -> None:
    """A value is that of its function and point."""
    check_dataset(Lines)
    assert audit_dataset(registry.find("datasets", Centred))["values"].standing == "failed"


@pytest.mark.parametrize("name", ["glyphs", "digits", "sinusoid", "sinusoid-varying-frequency"])
def test_installed_data_sets_that_need_no_files_pass(name: str) -> None:
    """And glyphs on demand."""
    check_dataset(name)
    if name == "glyphs":
        check_dataset(name, options={"classes": 100_000})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["omniglot", "cifar-fs"])
def test_published_data_sets_pass(name: str) -> None:
    """Where their files are (`FSBENCH_DATA`)."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    check_dataset(name)
