"""mini-ImageNet in the other forms in which people have it: found, named, and prepared alike."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from mini_imagenet_forms import (
    CACHE,
    EXPECTED,
    FORMS,
    NAMED,
    SPLITS,
    Write,
    by_class,
    cache,
    category,
    category_of_python2,
    category_without_names,
    ilsvrc,
    named_by_class,
)
from small_imagenet import Tiny, cache_pickles, class_names, dump, images, write_named

from fewshot_bench.data.class_names import may_hide_shared
from fewshot_datasets.imagenet.forms import ImageFiles


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("write", FORMS)
@pytest.mark.parametrize("place", [".", "mini-imagenet"])
def test_every_form_gives_the_same_pixels_in_the_same_order(tmp_path: Path, write: Write, place: str) -> None:
    """In the root or its own folder below it."""
    write(tmp_path / "data" / place)
    np.testing.assert_array_equal(images(Tiny(root=tmp_path / "data")), EXPECTED)


@pytest.mark.parametrize("write", NAMED)
def test_every_form_with_names_has_the_classes_of_the_lists(tmp_path: Path, write: Write) -> None:
    """In their order and split."""
    write(tmp_path / "data")
    assert class_names(Tiny(root=tmp_path / "data")) == class_names(Tiny())


@pytest.mark.parametrize("write", FORMS)
def test_every_form_has_image_ids_of_its_own(tmp_path: Path, write: Write) -> None:
    """As many as images, no two alike, and the same when they are asked for again."""
    write(tmp_path / "data")
    ids = [
        image for members in Tiny(root=tmp_path / "data").classes().values() for one in members for image in one.image_ids
    ]
    assert len(set(ids)) == len(ids) == len(EXPECTED)
    again = Tiny(root=tmp_path / "data").classes()
    assert ids == [image for members in again.values() for one in members for image in one.image_ids]


@pytest.mark.parametrize("write", NAMED)
def test_it_says_which_form_it_found(tmp_path: Path, write: Write) -> None:
    """In words."""
    write(tmp_path / "data")
    assert Tiny(root=tmp_path / "data").variant().startswith(NAMED[write])


def test_it_says_that_classes_without_names_were_only_counted(tmp_path: Path) -> None:
    """They are called by their split and label."""
    category_without_names(tmp_path / "data")
    dataset = Tiny(root=tmp_path / "data")
    assert "it has no names of classes, so only the numbers of classes and images could be checked" in dataset.variant()
    assert class_names(dataset) == {"train": ["train-0", "train-1"], "val": ["val-2"], "test": ["test-3"]}


def test_classes_without_names_may_be_those_of_any_other_form(tmp_path: Path) -> None:
    """A test of that form, after training on this one, could be of classes that were trained on."""
    category_without_names(tmp_path / "data")
    trained = class_names(Tiny(root=tmp_path / "data"))["train"]
    assert may_hide_shared(trained, class_names(Tiny())["test"])


@pytest.mark.parametrize("write", [named_by_class, ilsvrc])
def test_images_of_the_lists_keep_their_ids(tmp_path: Path, write: Write) -> None:
    """So that episodes are the same as with images named as in the lists."""
    write(tmp_path / "data")
    assert Tiny(root=tmp_path / "data").classes() == Tiny().classes()


def test_a_class_with_a_folder_has_its_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Their ids are those names, from the folder of the class on."""
    by_class(tmp_path / "data")
    first, second = Tiny(root=tmp_path / "data").classes()["train"]
    assert first.image_ids == ("n00000001/a.jpg", "n00000001/b.jpg", "n00000001/c.jpg")
    assert second.image_ids == ("n00000002/n00000002_97.JPEG", "n00000002/n00000002_98.JPEG", "n00000002/n00000002_99.JPEG")


def test_numbers_of_the_lists_count_images_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """From 1, and not in the order of text: `_10` follows `_3`."""
    ilsvrc(tmp_path / "data")
    source = Tiny(root=tmp_path / "data").source
    assert isinstance(source, ImageFiles)
    names = [Path(name).name for name in source.names]
    assert names[:3] == ["n00000001_10.JPEG", "n00000001_17.JPEG", "n00000001_38.JPEG"]  # 7 * 1 + 3, 7 * 2 + 3, 7 * 5 + 3


@pytest.mark.parametrize("write", [named_by_class, by_class, cache, category_of_python2])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
def test_every_form_may_lie_in_an_archive(tmp_path: Path, write: Write, suffix: str) -> None:
    """Which may be the root itself; what a compressed one is unpacked to is gone when it is used no more."""
    write(tmp_path / "made" / "miniImagenet")
    kind = {"tar": "tar", "tar.gz": "gztar", "zip": "zip"}[suffix]
    path = Path(shutil.make_archive(str(tmp_path / "data"), kind, tmp_path / "made"))
    dataset = Tiny(root=path)
    np.testing.assert_array_equal(images(dataset), EXPECTED)
    assert class_names(dataset) == class_names(Tiny())
    del dataset
    assert not list((tmp_path / "cache").glob(".unpacked-*"))


@pytest.mark.parametrize("write", [cache, category])
def test_one_of_the_pickles_stands_for_all(tmp_path: Path, write: Write) -> None:
    """The others lie beside it, and photographs that lie there too are not meant."""
    write_named(tmp_path / "data")
    write(tmp_path / "data")
    one = next(path for path in (tmp_path / "data").iterdir() if "test" in path.name)
    np.testing.assert_array_equal(images(Tiny(root=one)), EXPECTED)
    assert Tiny(root=one).variant().startswith("pickled arrays")


@pytest.mark.parametrize("write", FORMS)
def test_the_identity_changes_with_the_images(tmp_path: Path, write: Write) -> None:
    """One byte more in a file is enough."""
    write(tmp_path / "data")
    before = Tiny(root=tmp_path / "data").identity()
    assert Tiny(root=tmp_path / "data").identity() == before
    used = [path for path in sorted((tmp_path / "data").rglob("*.*")) if path.stat().st_size and path.parent.name != "val"]
    with used[0].open("ab") as file:
        file.write(b"\0")
    assert Tiny(root=tmp_path / "data").identity() != before


def test_the_identity_of_pickles_is_that_of_their_content(tmp_path: Path) -> None:
    """Two files of one size are told apart, and in an archive or elsewhere it is the same."""
    cache(tmp_path / "data")
    same = Tiny(root=tmp_path / "data").identity()
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(tmp_path / "data", "inside")
    assert Tiny(root=tmp_path / "all.tar").identity() == same
    path = tmp_path / "data" / "mini-imagenet-cache-train.pkl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert Tiny(root=tmp_path / "data").identity() != same


def test_images_named_as_in_the_lists_come_first(tmp_path: Path) -> None:
    """Then pickles, then folders of classes."""
    by_class(tmp_path / "data")
    cache(tmp_path / "data")
    assert Tiny(root=tmp_path / "data").variant().startswith("pickled arrays")
    named_by_class(tmp_path / "more")
    shutil.copytree(tmp_path / "more", tmp_path / "data", dirs_exist_ok=True)
    assert Tiny(root=tmp_path / "data").variant().startswith("12 images named as in")


@pytest.mark.parametrize("side", [64, 96])
def test_arrays_of_another_size_are_resized_as_photographs_are(tmp_path: Path, side: int) -> None:
    """A dark left half stays one."""
    held = cache_pickles()
    for one in held.values():
        one["image_data"] = np.full((len(one["image_data"]), side, side, 3), 200, np.uint8)
        one["image_data"][:, :, : side // 2] = 50
    dump(tmp_path / "data", CACHE, held, SPLITS)
    made = images(Tiny(root=tmp_path / "data"))
    assert made.shape == EXPECTED.shape
    np.testing.assert_allclose(made[..., :36].mean(), 50, atol=1)
    np.testing.assert_allclose(made[..., 48:].mean(), 200, atol=1)
