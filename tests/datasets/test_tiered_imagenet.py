"""tiered-ImageNet: its split, the forms in which people have it, and the refusal of others."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_files import png
from PIL import Image
from small_imagenet import class_names, dumps, images
from small_tiered_imagenet import (
    COUNTS,
    EXPECTED,
    FORMS,
    WORDS,
    Held,
    Tiny,
    Write,
    archive,
    by_split,
    class_folders,
    ilsvrc,
    of_python2,
    picture,
    published,
    write_archive,
)

from fewshot_bench.data.imports import Import, remember
from fewshot_bench.errors import DataError
from fewshot_datasets.imagenet import tiered_imagenet_pickles
from fewshot_datasets.imagenet.tiered_imagenet import TieredImagenet


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def refusal(dataset: TieredImagenet) -> str:
    """What a data set says, in one to three lines, of a source that it refuses; its identity is no error."""
    assert dataset.identity()
    with pytest.raises(DataError) as error:
        dataset.classes()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


@pytest.mark.parametrize(("split", "classes"), [("train", 351), ("val", 97), ("test", 160)])
def test_the_split_is_the_published_one(split: str, classes: int) -> None:
    """Ren et al.'s lists, class for class, in their order."""
    ours = [one.name for one in TieredImagenet().listed()[split]]
    assert len(set(ours)) == classes
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    path = Path(os.environ["FSBENCH_DATA"]) / "splits" / "tiered-imagenet" / f"{split}.csv"
    with path.open(newline="") as file:
        assert ours == [row[0] for row in csv.reader(file)]


def test_no_class_stands_in_two_splits() -> None:
    """608 in all."""
    assert len({one.name for members in TieredImagenet().listed().values() for one in members}) == 608


@pytest.mark.parametrize("write", FORMS)
@pytest.mark.parametrize("place", [".", "tiered-imagenet"])
def test_every_form_gives_the_same_pixels_in_the_same_order(tmp_path: Path, write: Write, place: str) -> None:
    """That of the lists, and of a class's images in its source; images of 84 x 84 stay as they are."""
    write(tmp_path / "data" / place)
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "data")), EXPECTED)


@pytest.mark.parametrize("write", FORMS)
def test_every_form_has_the_classes_of_the_lists(tmp_path: Path, write: Write) -> None:
    """Each with all of its images, whose ids are its own."""
    write(tmp_path / "data")
    classes = Tiny(root=tmp_path / "data").classes()
    assert {one.name: len(one.image_ids) for members in classes.values() for one in members} == COUNTS
    assert class_names(Tiny(root=tmp_path / "data"))["train"] == ["n00000002", "n00000005", "n00000001"]
    ids = [image for members in classes.values() for one in members for image in one.image_ids]
    assert len(set(ids)) == len(EXPECTED)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("write", [published, class_folders])
def test_every_form_may_lie_in_an_archive(tmp_path: Path, write: Write, suffix: str) -> None:
    """Which may be the root itself, or lie there under the data set's name."""
    write(tmp_path / "made" / "tiered-imagenet")
    kind = {"tar": "tar", "tar.gz": "gztar", "zip": "zip"}[suffix]
    path = Path(shutil.make_archive(str(tmp_path / "data" / "tiered-imagenet"), kind, tmp_path / "made"))
    for root in (path, path.parent):
        np.testing.assert_array_equal(images(Tiny(root=root)), EXPECTED)


def test_the_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """Names beyond ASCII as well."""
    of_python2(tmp_path / "data")
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "data")), EXPECTED)


@pytest.mark.parametrize(
    ("write", "said"), [(published, "the published archive's pickles"), (ilsvrc, "a folder for each of 5 classes")]
)
def test_it_says_which_form_it_found(tmp_path: Path, write: Write, said: str) -> None:
    """In words."""
    write(tmp_path / "data")
    assert Tiny(root=tmp_path / "data").variant().startswith(said)


def test_photographs_are_resized_as_wholes(tmp_path: Path) -> None:
    """Left half dark, right half light, whatever the aspect ratio."""
    class_folders(tmp_path / "data")
    wide = np.full((50, 300, 3), 210, np.uint8)
    wide[:, :150] = 40
    Image.fromarray(wide).save(tmp_path / "data" / "n00000002" / "n00000002_2.JPEG", "JPEG", quality=95)
    image = images(Tiny(root=tmp_path / "data"))[0]
    np.testing.assert_allclose(image[..., :38].mean(), 40, atol=2)
    np.testing.assert_allclose(image[..., 46:].mean(), 210, atol=2)


@pytest.mark.parametrize("write", FORMS)
def test_the_identity_changes_with_any_file(tmp_path: Path, write: Write) -> None:
    """And with no reading of it."""
    write(tmp_path / "data")
    before = Tiny(root=tmp_path / "data").identity()
    assert Tiny(root=tmp_path / "data").identity() == before
    for path in sorted((tmp_path / "data").rglob("*.*")):
        if "n00000006" not in path.name and not path.name.endswith(".txt"):
            whole = path.read_bytes()
            path.write_bytes(whole + b"\0")
            assert Tiny(root=tmp_path / "data").identity() != before, path
            path.write_bytes(whole)
    assert Tiny(root=tmp_path / "data").identity() == before


def test_an_import_is_read_where_no_place_has_a_source(tmp_path: Path) -> None:
    """Its identity does not touch the source."""
    published(tmp_path / "data")
    source = Tiny(root=tmp_path / "data")
    remember("tiered-imagenet", Import(tmp_path / "data", source.variant(), source.identity()))
    np.testing.assert_array_equal(images(Tiny()), EXPECTED)
    assert Tiny().classes() == source.classes()
    shutil.rmtree(tmp_path / "data")
    assert Tiny().identity() == source.identity()
    assert "which is gone" in refusal(Tiny())


def test_without_a_source_it_says_what_to_get() -> None:
    """The files, the command, the option."""
    said = refusal(TieredImagenet())
    for wanted in ("train_images_png.pkl", "ILSVRC2012", "fsbench data import tiered-imagenet PATH", "--data-root"):
        assert wanted in said


def damage(held: Held, split: str, place: int, content: object) -> None:
    """Put something else in the place of an image."""
    held[split]["images"][place] = content


@pytest.mark.parametrize("content", [np.zeros(9, np.uint8), b"", picture("n00000001", 0)[:500], 10**12, [1, 2], None])
def test_every_damaged_image_of_a_pickle_is_named(tmp_path: Path, content: object) -> None:
    """By its place in the pickle, once all were tried."""
    held = archive()
    damage(held, "train", 5, content)
    damage(held, "test", 1, content)
    write_archive(tmp_path / "data", held)
    with pytest.raises(DataError, match=r"2 of 17 images are missing or damaged: train_images_png.pkl\[5\]") as error:
        images(Tiny(root=tmp_path / "data"))
    assert error.value.damaged == ("train_images_png.pkl[5] (unreadable)", "test_images_png.pkl[1] (unreadable)")


def test_an_image_of_a_pickle_that_would_fill_the_memory_is_named_with_the_bound(tmp_path: Path) -> None:
    """As one that is a file."""
    held = archive()
    damage(held, "val", 1, png(30_000, 30_000))
    write_archive(tmp_path / "data", held)
    with pytest.raises(DataError) as error:
        images(Tiny(root=tmp_path / "data"))
    assert error.value.damaged == ("val_images_png.pkl[1] (more than 100,000,000 pixels)",)


def test_many_images_are_decoded_by_other_processes_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order."""
    monkeypatch.setattr(tiered_imagenet_pickles, "IN_THIS_PROCESS", 0)
    monkeypatch.setattr(tiered_imagenet_pickles, "BLOCK", 5)
    published(tmp_path / "data")
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "data")), EXPECTED)


def changed(change: Callable[[Held], object]) -> Write:
    """The published archive after a change."""

    def write(folder: Path) -> None:
        held = archive()
        change(held)
        write_archive(folder, held)

    return write


def without(name: str, form: Write = published) -> Write:
    """A form without one of its files or folders."""

    def write(folder: Path) -> None:
        form(folder)
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return write


def moved(folder: Path) -> None:
    """The validation class in the folder of the test classes."""
    by_split(folder)
    (folder / "val" / "n00000003").rename(folder / "test" / "n00000003")


REFUSED = {
    "no lists of names": (without("synsets.txt"), "lacks synsets.txt of the published archive"),
    "no labels": (without("val_labels.pkl"), "only a part of tiered-ImageNet: val_labels.pkl missing"),
    "no images": (without("test_images_png.pkl"), "only a part of tiered-ImageNet: test_images_png.pkl missing"),
    "other names": (
        changed(lambda held: held["val"].update(label_specific_str=["dog"])),
        "1 of 5 classes are missing (n00000003); 1 other classes are there (dog)",
    ),
    "another split": (
        changed(lambda held: held["val"].update(label_specific_str=[WORDS["n00000004"]])),
        "1 of 5 classes are missing (n00000003); 1 classes are in another split (n00000004 in val, not test)",
    ),
    "fewer labels": (
        changed(lambda held: held["train"].update(label_specific=held["train"]["label_specific"][:-1])),
        "11 train images, not 12",
    ),
    "labels of no class": (
        changed(lambda held: held["train"].update(label_specific=np.full(12, 7))),
        "train_labels.pkl does not name classes",
    ),
    "no labels in it": (changed(lambda held: held["train"].pop("label_specific")), "KeyError: 'label_specific'"),
    "a class folder less": (without("n00000005", class_folders), "1 of 5 classes are missing (n00000005)"),
    "an image less": (without("n00000003/n00000003_6.JPEG", class_folders), "2 val images, not 3"),
    "a class in another split": (moved, "1 classes are in another split (n00000003 in test, not val)"),
}


@pytest.mark.parametrize(("write", "reason"), REFUSED.values(), ids=REFUSED)
def test_another_or_an_incomplete_data_set_is_refused_with_the_difference(tmp_path: Path, write: Write, reason: str) -> None:
    """Which classes, how many, and where."""
    write(tmp_path / "data")
    assert reason in refusal(Tiny(root=tmp_path / "data"))


@pytest.mark.parametrize(("content", "there"), [([b""] * 11, "but 11"), ({"images": 1}, "but a dict")])
def test_images_that_are_no_list_of_as_many_as_labels_are_refused(tmp_path: Path, content: object, there: str) -> None:
    """With what is there."""
    published(tmp_path / "data")
    (tmp_path / "data" / "train_images_png.pkl").write_bytes(dumps(content))
    with pytest.raises(DataError, match=f"train_images_png.pkl is not a list of 12 PNG files, {there}"):
        images(Tiny(root=tmp_path / "data"))


@pytest.mark.parametrize("name", ["train_labels.pkl", "val_images_png.pkl"])
def test_a_pickle_that_would_run_a_program_is_refused(tmp_path: Path, name: str) -> None:
    """And named."""
    published(tmp_path / "data")
    path = tmp_path / "data" / name
    path.write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "ran").encode())
    with pytest.raises(DataError, match=f"{path} is not read: it asks for 'os.system'"):
        images(Tiny(root=tmp_path / "data"))
    assert not (tmp_path / "ran").exists()
