"""CIFAR-100's own python archive: the same pixels as the PNGs, and the refusal of archives that are damaged or others."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from python2_pickles import python2_pickle
from tiny_cifar_100 import Tiny, batches, images, pack, write_pickles, write_pngs

from fewshot_bench.errors import DataError
from fewshot_datasets.cifar_100.cifar_fs import CifarFs
from fewshot_datasets.cifar_100.manifest import load_rgb, manifest_text, parse_manifest

Held = dict[str, dict[str, Any]]
PYTHON = "cifar-100-python"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, which an archive is unpacked below."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pngs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the images as PNGs, for which `Tiny` has the manifest."""
    monkeypatch.setattr(Tiny, "text", write_pngs(tmp_path / "pngs"))
    return tmp_path / "pngs"


@pytest.fixture
def root(pngs: Path, tmp_path: Path) -> Path:
    """A data root with the same images in the folder of three pickles."""
    write_pickles(tmp_path / "data" / PYTHON, batches())
    return tmp_path / "data"


def refusal(root: Path) -> DataError:
    """The error, of one to three lines, with which a data root is refused."""
    with pytest.raises(DataError) as error:
        images(Tiny(root=root))
    assert len(str(error.value).splitlines()) <= 3
    return error.value


def altered(root: Path, change: Callable[[Held], object]) -> Path:
    """The data root, after what its pickles hold was changed."""
    held = batches()
    change(held)
    for name, content in held.items():
        (root / PYTHON / name).write_bytes(python2_pickle(content))
    return root


@pytest.mark.parametrize("inside", [".", PYTHON])
def test_the_folder_gives_the_pixels_of_the_pngs(root: Path, pngs: Path, inside: str) -> None:
    """The root may be the folder of the pickles itself."""
    dataset = Tiny(root=root / inside)
    np.testing.assert_array_equal(images(dataset), images(Tiny(root=pngs)))
    assert (dataset.found(), dataset.variant()) == (root / PYTHON, "CIFAR-100's python archive")


@pytest.mark.parametrize("name", ["cifar-100-python.tar.gz", "mine.tgz", "plain.tar"])
def test_the_archive_gives_the_pixels_of_the_pngs(root: Path, pngs: Path, name: str, cache: Path) -> None:
    """The root may be the archive itself; nothing that was unpacked stays."""
    path = pack(root / PYTHON, root.parent / "packed" / name)
    np.testing.assert_array_equal(images(Tiny(root=path)), images(Tiny(root=pngs)))
    assert not list(cache.glob(".unpacked-*"))


def test_pickles_that_python_3_wrote_are_read_too(root: Path, pngs: Path) -> None:
    """Their text is text, not bytes."""
    for name, content in batches().items():
        (root / PYTHON / name).write_bytes(pickle.dumps(content))
    np.testing.assert_array_equal(images(Tiny(root=root)), images(Tiny(root=pngs)))


def test_an_image_that_is_missing_is_named(root: Path) -> None:
    """A batch that lacks one."""

    def lose(held: Held) -> None:
        held["test"] = {"data": held["test"]["data"][1:], **{k: v[1:] for k, v in held["test"].items() if k != "data"}}

    error = refusal(altered(root, lose))
    assert error.damaged == ("apple/manual-green011.png (missing)",)
    assert f"Read from {root / PYTHON}" in str(error)


def test_an_image_of_another_class_is_noticed(root: Path) -> None:
    """Labels that were mixed up."""

    def swap(held: Held) -> None:
        held["test"]["fine_labels"][:2] = [1, 0]

    assert refusal(altered(root, swap)).damaged == ("class apple (some images altered)", "class road (some images altered)")


def test_the_class_of_an_altered_image_is_named(root: Path) -> None:
    """Another pixel, by one level."""

    def brighten(held: Held) -> None:
        held["train"]["data"][3, 0] ^= 1

    assert refusal(altered(root, brighten)).damaged == ("class wolf (some images altered)",)


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    """Which is which cannot be told: the manifest has a hash of each class, not of each image."""

    def rename(held: Held) -> None:
        held["test"]["filenames"][0] = "red_s_000002.png"

    assert "several images under one name, apple/red_s_000002" in str(refusal(altered(root, rename)))


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held["meta"].pop("fine_label_names"),
        lambda held: held["train"].pop("fine_labels"),
        lambda held: held["train"].update(fine_labels=[4] * 8),
        lambda held: held["train"].update(fine_labels=["apple"] * 8),
        lambda held: held["train"]["filenames"].pop(),
        lambda held: held["train"].update(data=held["train"]["data"][:, :3071]),
        lambda held: held["train"].update(data=[1, 2, 3]),
        lambda held: held.update(train=[1, 2]),
    ],
    ids=["no names", "CIFAR-10", "label", "text labels", "too few names", "shape", "no array", "a list"],
)
def test_pickles_of_something_else_are_refused(root: Path, change: Callable[[Held], object]) -> None:
    """Whatever they hold in place of CIFAR-100's fields."""
    assert f"{root / PYTHON} is not CIFAR-100's python archive" in str(refusal(altered(root, change)))


def test_another_archive_is_refused(root: Path) -> None:
    """An archive without the three pickles, as CIFAR-10's."""
    path = pack((root / PYTHON).rename(root / "cifar-10-batches-py"), root / "cifar-100-python.tar.gz")
    assert f"{path} is not CIFAR-100's python archive: it holds no cifar-100-python/" in str(refusal(root))


@pytest.mark.parametrize("keep", [0, 1000, -1000])
def test_a_truncated_archive_is_named(root: Path, keep: int, cache: Path) -> None:
    """An archive that ends early; nothing that was unpacked stays."""
    path = pack(root / PYTHON, root.parent / "packed" / "cifar-100-python.tar.gz")
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is damaged or truncated" in str(refusal(path))
    assert not list(cache.glob(".unpacked-*"))


@pytest.mark.parametrize("name", ["train", "meta"])
def test_a_truncated_pickle_is_named(root: Path, name: str) -> None:
    """A file of the folder that ends early."""
    path = root / PYTHON / name
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{name} of {root / PYTHON} is truncated" in str(refusal(root))


def test_a_pickle_is_never_executed(root: Path, tmp_path: Path) -> None:
    """One that would call a function is refused by that function's name."""

    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    (root / PYTHON / "test").write_bytes(pickle.dumps(Command()))
    assert "mkdir" in str(refusal(root))
    assert not (tmp_path / "executed").exists()


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data: tests of it are skipped where the variable is unset, and fail without its files."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


class Four(CifarFs):
    """CIFAR-FS cut to four of its classes."""

    def class_names(self, split: str) -> list[str]:
        """Two, one and one, among them one with names of another kind."""
        return {"train": ["cattle", "skunk"], "val": ["dinosaur"], "test": ["baby"]}[split]


def real_batches(archive: Path) -> Held:
    """Four whole classes of the real images in the layout of the python archive: the last hundred of each are tests."""
    listed = [parse_manifest(manifest_text())[name] for name in ("baby", "cattle", "dinosaur", "skunk")]
    held: Held = {name: {"data": [], "fine_labels": [], "filenames": []} for name in ("train", "test")}
    with ZipFile(archive) as pngs:
        for label, one in enumerate(listed):
            for i, stem in enumerate(one.stems):
                batch = held["train" if i < 500 else "test"]
                batch["data"].append(load_rgb(pngs.read(one.path(stem))).reshape(-1))
                batch["fine_labels"].append(label)
                batch["filenames"].append(f"{stem}.png")
    shuffled = {name: np.random.default_rng(0).permutation(len(batch["data"])) for name, batch in held.items()}
    mixed = {name: {key: [held[name][key][i] for i in order] for key in held[name]} for name, order in shuffled.items()}
    arrays = {name: {**batch, "data": np.stack(batch["data"])} for name, batch in mixed.items()}
    return {**arrays, "meta": {"fine_label_names": [one.name for one in listed]}}


def test_real_images_in_the_python_archive_match_the_manifest_and_the_pngs(data: Path, tmp_path: Path) -> None:
    """2,400 photographs in either form, pixel for pixel."""
    write_pickles(tmp_path / PYTHON, real_batches(data / "cifar-fs" / "cifar100.zip"))
    archive = pack(tmp_path / PYTHON, tmp_path / "packed" / "cifar-100-python.tar.gz")
    made = images(Four(root=archive))
    assert len(made) == 2400
    np.testing.assert_array_equal(made, images(Four(root=data)))


# The first images of CIFAR-100's `train`, as tutorials print them: class, file, first three and last three values.
PUBLISHED = [
    ("cattle", "bos_taurus_s_000507", [255, 255, 255], [10, 59, 79]),
    ("dinosaur", "stegosaurus_s_000125", [255, 253, 253], [253, 253, 255]),
]


@pytest.mark.parametrize(("name", "stem", "first", "last"), PUBLISHED)
def test_the_pngs_are_named_for_the_images_of_the_python_archive(
    data: Path, name: str, stem: str, first: list[int], last: list[int]
) -> None:
    """So that a name leads to the same image in both: the values that were published are those of the PNG of that name."""
    with ZipFile(data / "cifar-fs" / "cifar100.zip") as pngs:
        values = load_rgb(pngs.read(f"cifar100/data/{name}/{stem}.png")).reshape(-1).tolist()
    assert (values[:3], values[-3:]) == (first, last)
