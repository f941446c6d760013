"""The same images in training and test: said, and refused where a class has many of them."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from command_line import LINEAR, call, finished
from picture_files import encoded, write

from fewshot_bench.data.overlaps import Side, _shared
from fewshot_bench.data.prepare import prepare
from fewshot_bench.data.verification import image_hashes
from fewshot_bench.kernels import Unavailable, library
from fewshot_datasets.glyphs.glyphs import Glyphs

FEW = ("--protocol", "custom", "--episodes", "4", "--queries", "3", "--ways", "2", "--set", "data.side=8")
TRAINED = ("run", "--method", LINEAR, *FEW, "--set", "updates=2", "--set", "train.queries=3", "--set", "meta_batch_size=2")
VALIDATED = ("--set", "validation.every=2", "--set", "validation.episodes=2", "--set", "validation.queries=3")
NAMES = {"train": ("ant", "bee", "cat"), "val": ("dog", "elk"), "test": ("fox", "gnu", "hen")}
EACH = 12


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Kernels that a run need not build anew in the test's own cache."""
    with suppress(Unavailable):
        library()


@pytest.fixture(autouse=True)
def cache(kernels: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def noise(seed: int) -> bytes:
    """A picture of random pixels."""
    return encoded(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8))


def pictures(first: int = 0, **names: tuple[str, ...]) -> dict[str, bytes]:
    """Twelve different pictures of each class, below folders of splits."""
    folders = [f"{split}/{name}" for split, members in (names or NAMES).items() for name in members]
    return {f"{one}/{i:02}.png": noise(first + EACH * c + i) for c, one in enumerate(folders) for i in range(EACH)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of eight classes in three splits, of different pictures."""
    return write(tmp_path / "photos", pictures())


def run(root: Path, *more: object, code: int = 0) -> str:
    """What a training and a test on a folder say."""
    said = call(*TRAINED, *VALIDATED, "--dataset", "folder", "--data-root", root, "--out", root.parent / "runs", *more)
    assert said.code == code, said.err
    return said.err if code == 0 else said.complaint


def copied(root: Path, source: str, target: str, count: int = EACH) -> Path:
    """A folder, some pictures of whose one class are in the folder of another, too."""
    (root / target).mkdir(exist_ok=True)  # which may be the same
    for i in range(count):
        shutil.copy(root / source / f"{i:02}.png", root / target / f"copy-{i:02}.png")
    return root


def test_different_images_are_trained_on_and_tested_in_silence(photos: Path) -> None:
    """Nothing is said of images that are shared."""
    said = run(photos)
    assert "trained or selected on" not in said and "same images" not in said


@pytest.mark.parametrize("source", ["train/cat", "val/dog"])
def test_images_of_training_or_validation_under_another_name_are_not_tested(photos: Path, source: str) -> None:
    """Exit 3 with the class, how many of its images, and whose they are."""
    said = run(copied(photos, source, "test/kitten"), code=3)
    split, _, name = source.partition("/")
    assert "1 of the 4 classes of test in folder hold images that are also trained or selected on" in said
    assert f"kitten (12 of 12, as in {name} of {split})" in said
    assert len(said.splitlines()) <= 3
    assert not list(photos.parent.rglob("record.json"))


def test_images_of_training_are_not_validated_on(photos: Path) -> None:
    """In a folder of one's own, whose splits are one's own."""
    said = run(copied(photos, "train/cat", "val/kitten"), code=3)
    assert "1 of the 3 classes of val in folder" in said and "kitten (12 of 12, as in cat of train)" in said


def test_a_few_shared_images_are_said(photos: Path) -> None:
    """One of thirteen is a chance duplicate; and again where the images were prepared before."""
    root = copied(photos, "train/cat", "test/hen", 1)
    for _ in range(2):
        said = run(root, "--on-existing", "overwrite")
        assert "1 images of test in folder are also trained or selected on: hen (1 of 13, as in cat of train)" in said


def test_a_tenth_of_a_class_is_considerable(photos: Path) -> None:
    """Two of fourteen are refused."""
    assert "gnu (2 of 14, as in bee of train)" in run(copied(photos, "train/bee", "test/gnu", 2), code=3)


@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_of_one_split_with_the_same_images_are_said(photos: Path, split: str) -> None:
    """No method can tell them apart, and the run goes on."""
    source = NAMES[split][0]
    said = run(copied(photos, f"{split}/{source}", f"{split}/zebu"))
    assert f"Classes of {split} in folder share images, so that nothing can tell them apart: {source} and zebu." in said


def test_an_image_that_a_class_has_twice_is_said(photos: Path) -> None:
    """It may be in the support of a task and among its queries."""
    said = run(copied(photos, "test/fox", "test/fox", 1))
    assert "Classes of test in folder hold an image twice, which can be support and query at once: fox." in said
    assert "nothing can tell them apart" not in said


def test_a_picture_saved_anew_is_the_same_image(photos: Path) -> None:
    """Its pixels count, not its file."""
    images = [np.random.default_rng(EACH * 2 + i).integers(0, 256, (8, 8, 3), np.uint8) for i in range(EACH)]
    again = {f"test/kitten/{i}.webp": encoded(image, "WEBP", lossless=True) for i, image in enumerate(images)}
    assert "kitten (12 of 12, as in cat of train)" in run(write(photos, again), code=3)


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_linked_files_are_the_same_images(photos: Path, link: str) -> None:
    """Wherever they lead to."""
    (photos / "test" / "kitten").mkdir()
    for i in range(EACH):
        getattr(photos / "test" / "kitten" / f"{i}.png", link)(photos / "train" / "cat" / f"{i:02}.png")
    assert "kitten (12 of 12, as in cat of train)" in run(photos, code=3)


def test_a_method_that_learns_nothing_may_be_tested_on_any_images(photos: Path) -> None:
    """It has seen none before."""
    copied(photos, "train/cat", "test/kitten")
    finished(
        *("run", "--method", "nearest-centroid", *FEW, "--dataset", "folder", "--data-root", photos),
        *("--out", photos.parent / "runs"),
    )


def test_images_of_another_folder_are_compared(photos: Path, tmp_path: Path) -> None:
    """Under other names there; those that differ are tested."""
    others = write(tmp_path / "others", pictures(10_000, test=("ibex", "jay")))
    run(photos, "--test-data-root", others)
    shutil.copytree(photos / "train" / "cat", others / "test" / "kitten")
    assert "kitten (12 of 12, as in cat of train)" in run(photos, "--test-data-root", others, code=3)


def test_images_of_arrays_are_compared_with_those_of_a_folder(photos: Path, tmp_path: Path) -> None:
    """Two data sets of one's own."""
    images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3), np.uint8)
    for i in range(EACH):
        images[i] = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)  # those of train/ant
    labels = np.repeat(["emmet", "yak", "zho", "zebu"], EACH)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    other = ("--test-dataset", "arrays", "--test-data-root", tmp_path / "mine.npz")
    assert "emmet (12 of 12, as in ant of train)" in run(photos, *other, code=3)


def test_images_of_a_published_data_set_are_known_under_other_names(tmp_path: Path) -> None:
    """Saved as files of one's own, and tested on after training on the data set."""
    bank = prepare("glyphs", Glyphs()).bank("train")
    for c in range(5):
        images = bank.gather(np.arange(bank.starts[c], bank.starts[c] + EACH))
        write(tmp_path / "mine", {f"mine{c}/{i}.png": encoded(image[0].numpy()) for i, image in enumerate(images)})
    said = call(
        *("run", "--method", LINEAR, "--protocol", "custom", "--episodes", "4", "--queries", "3", "--set", "updates=2"),
        *("--dataset", "glyphs", "--test-dataset", "folder", "--data-root", tmp_path / "mine", "--out", tmp_path / "runs"),
    )
    assert said.code == 3
    assert "5 of the 5 classes of test in folder hold images that are also trained or selected on" in said.complaint
    assert f"mine0 (12 of 12, as in {bank.class_names[0]} of train)" in said.complaint


def side(split: str, *classes: list[int]) -> Side:
    """A split of images of one pixel each."""
    pixels = np.array([value for one in classes for value in one], np.uint8).reshape(-1, 1, 1, 1)
    names = [f"{split}{c}" for c in range(len(classes))]
    return Side("data", split, names, np.array(list(map(len, classes))), image_hashes(pixels)[:, 0])


def test_shared_images_are_those_that_plain_python_finds() -> None:
    """Class by class, with the first class that has one of them."""
    asked, seen = [[1, 2, 3], [4, 5], [3, 3, 9, 8]], [[[7, 3], [2]], [[9, 9, 6], [5]]]
    found = _shared(side("test", *asked), [side("train", *seen[0]), side("val", *seen[1])])
    known = {value for split in seen for one in split for value in one}
    wanted = {f"test{c}": sum(value in known for value in one) for c, one in enumerate(asked)}
    assert {one.name: one.images for one in found} == wanted
    assert [(one.twin, one.of) for one in found] == [("train1 of train", 3), ("val1 of val", 2), ("train0 of train", 4)]
