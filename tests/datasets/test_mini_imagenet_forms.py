"""mini-ImageNet in the other forms in which people have it: found, checked, prepared alike, refused where it is another."""

import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_imagenet import (
    LISTED,
    NAMES,
    Pixels,
    Tiny,
    cache_pickles,
    category_pickles,
    class_names,
    dump,
    images,
    photograph,
    write_class_folders,
    write_ilsvrc,
    write_named,
)

from fewshot_bench.errors import DataError
from fewshot_bench.imports import Import, remember
from fewshot_datasets.imagenet_source import WHOLE, ImageFiles

CACHE, CATEGORY = "mini-imagenet-cache-{}.pkl", "miniImageNet_category_split_{}.pickle"
SPLITS, PHASES = ("train", "val", "test"), ("train_phase_train", "val", "test")


def by_class(folder: Path) -> None:
    """A folder for each split and class."""
    write_class_folders(folder)


def by_class_alone(folder: Path) -> None:
    """A folder for each class."""
    write_class_folders(folder, by_split=False)


def named_by_class(folder: Path) -> None:
    """A folder for each split and class, the images named as in the lists."""
    for split, members in LISTED.items():
        for one in members:
            (folder / split / one.name).mkdir(parents=True)
            for image in one.image_ids:
                (folder / split / one.name / f"{image}.jpg").write_bytes(photograph(f"{image}.jpg"))


def ilsvrc(folder: Path) -> None:
    """ILSVRC2012 as it unpacks."""
    write_ilsvrc(folder / "ILSVRC" / "Data" / "CLS-LOC" / "train")


def ilsvrc_train_and_val(folder: Path) -> None:
    """ILSVRC2012 as others arrange it: its validation images lie in class folders too."""
    write_ilsvrc(folder / "train")
    for one in LISTED["test"]:
        (folder / "val" / one.name).mkdir(parents=True)
        (folder / "val" / one.name / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")


def cache(folder: Path) -> None:
    """Ren et al.'s pickles."""
    dump(folder, CACHE, cache_pickles(), SPLITS)


def cache_of_learn2learn(folder: Path) -> None:
    """The same, as learn2learn calls them."""
    dump(folder, CACHE, cache_pickles(), ("train", "validation", "test"), protocol=4)


def cache_of_python2(folder: Path) -> None:
    """The same, as Python 2 wrote them."""
    dump(folder, CACHE, cache_pickles(), SPLITS, python2=True)


def category(folder: Path) -> None:
    """Gidaris & Komodakis's pickles, with the labels of the names."""
    dump(folder, CATEGORY, category_pickles(), PHASES)


def category_of_python2(folder: Path) -> None:
    """The same, as Python 2 wrote them, with the names of the labels."""
    dump(folder, CATEGORY, category_pickles("label2catname"), PHASES, python2=True)


def category_without_names(folder: Path) -> None:
    """The same without any names."""
    dump(folder, CATEGORY, category_pickles(None), PHASES)


Write = Callable[[Path], None]
NAMED: dict[Write, str] = {
    by_class: "a folder for each of 4 classes",
    by_class_alone: "a folder for each of 4 classes",
    named_by_class: "12 images named as in Ravi & Larochelle's lists",
    ilsvrc: "ILSVRC2012's own class folders",
    ilsvrc_train_and_val: "ILSVRC2012's own class folders",
    cache: "pickled arrays (mini-imagenet-cache-train.pkl, mini-imagenet-cache-val.pkl, mini-imagenet-cache-test.pkl); by",
    cache_of_learn2learn: "pickled arrays (mini-imagenet-cache-train.pkl, mini-imagenet-cache-validation.pkl",
    cache_of_python2: "pickled arrays (mini-imagenet-cache-train.pkl",
    category: "pickled arrays (miniImageNet_category_split_train_phase_train.pickle",
    category_of_python2: "pickled arrays (miniImageNet_category_split_train_phase_train.pickle",
}
"""Each form that has the names of the classes, and how it is called."""
FORMS: list[Write] = [*NAMED, category_without_names]
EXPECTED: Pixels = np.stack([WHOLE(photograph(name)) for name in NAMES])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def refusal(dataset: Tiny) -> str:
    """What a data set says, in one to three lines, of a source that it refuses; its identity is no error."""
    assert dataset.identity()
    with pytest.raises(DataError) as error:
        dataset.classes()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


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
    assert "without the names of classes: only the numbers of classes and images could be checked" in dataset.variant()
    assert class_names(dataset) == {"train": ["train-0", "train-1"], "val": ["val-2"], "test": ["test-3"]}


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


# Another split, other classes, too few images.


def without_a_class(folder: Path) -> None:
    """The class folders without one."""
    by_class(folder)
    shutil.rmtree(folder / "val" / "n00000003")


def with_another_class(folder: Path) -> None:
    """A class that is in no list in the place of one that is."""
    by_class(folder)
    (folder / "val" / "n00000003").rename(folder / "val" / "n00000009")


def with_another_split(folder: Path) -> None:
    """A test class among the training classes."""
    by_class(folder)
    (folder / "test" / "n00000004").rename(folder / "train" / "n00000004")


def with_too_few_images(folder: Path) -> None:
    """A class without one of its images."""
    by_class(folder)
    (folder / "test" / "n00000004" / "a.jpg").unlink()


def ilsvrc_with_too_few_images(folder: Path) -> None:
    """The last image that the lists name is not there."""
    write_ilsvrc(folder, count=1299)


def ilsvrc_without_a_class(folder: Path) -> None:
    """A class was not unpacked."""
    write_ilsvrc(folder)
    shutil.rmtree(folder / "n00000003")


def ilsvrc_with_a_short_class(folder: Path) -> None:
    """A class of which no more than a few images were unpacked."""
    write_ilsvrc(folder)
    for path in sorted((folder / "n00000001").iterdir())[2:]:
        path.unlink()


def with_a_class_twice(folder: Path) -> None:
    """Without a split's folder, and with it."""
    by_class(folder)
    shutil.copytree(folder / "test" / "n00000004", folder / "n00000004")


def named_of_another_list(folder: Path) -> None:
    """Images named in the same way, of other classes."""
    write_named(folder)
    for path in folder.glob("n00000003*"):
        path.rename(folder / path.name.replace("n00000003", "n00000009"))


def cache_with(change: Callable[[dict[str, Any]], object]) -> Write:
    """Pickles after a change."""

    def write(folder: Path) -> None:
        held = cache_pickles()
        change(held)
        dump(folder, CACHE, held, SPLITS)

    return write


def category_with(change: Callable[[dict[str, Any]], object], names: str | None) -> Write:
    """Pickles after a change."""

    def write(folder: Path) -> None:
        held = category_pickles(names)
        change(held)
        dump(folder, CATEGORY, held, PHASES)

    return write


def rename(held: dict[str, Any], split: str, old: str, new: str) -> None:
    """Call a class otherwise."""
    held[split]["class_dict"][new] = held[split]["class_dict"].pop(old)


def swap(held: dict[str, Any]) -> None:
    """The validation classes among the test classes, and the reverse, as one code base writes them."""
    held["val"], held["test"] = held["test"], held["val"]


REFUSED: list[tuple[Write, list[str]]] = [
    (without_a_class, ["1 of 4 classes are missing (n00000003)"]),
    (with_another_class, ["1 of 4 classes are missing (n00000003)", "1 other classes are there (n00000009)"]),
    (with_another_split, ["1 classes stand in another split (n00000004 in train, not test)"]),
    (with_too_few_images, ["1 classes have another number of images (n00000004: 2 of 3)"]),
    (ilsvrc_with_too_few_images, ["1 classes have fewer images than in ILSVRC2012 (n00000004: 1,299, 1,300 or more)"]),
    (ilsvrc_with_a_short_class, ["1 classes have fewer images than in ILSVRC2012 (n00000001: 2, 5 or more)"]),
    (with_a_class_twice, ["1 classes stand there twice (n00000004)"]),
    (ilsvrc_without_a_class, ["1 of 4 classes are missing (n00000003)"]),
    (named_of_another_list, ["1 of 4 classes are missing (n00000003)", "1 other classes are there (n00000009)"]),
    (cache_with(lambda held: rename(held, "val", "n00000003", "n00000009")), ["n00000003", "1 other classes", "n00000009"]),
    (cache_with(swap), ["2 classes stand in another split (n00000004 in val, not test, n00000003 in test, not val)"]),
    (cache_with(lambda held: held["val"]["class_dict"]["n00000003"].pop()), ["n00000003: 2 of 3"]),
    (category_with(lambda held: held["val"]["labels"].__setitem__(0, 7), None), ["2 val classes, not 1", "val-7: 1 of 3"]),
]


@pytest.mark.parametrize(("write", "reasons"), REFUSED)
def test_another_or_an_incomplete_data_set_is_refused_with_the_difference(
    tmp_path: Path, write: Write, reasons: list[str]
) -> None:
    """Which classes, how many, and where."""
    write(tmp_path / "data")
    said = refusal(Tiny(root=tmp_path / "data"))
    assert str(tmp_path / "data") in said
    assert all(reason in said for reason in reasons), said


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"image_data": np.zeros((6, 84, 84, 3))}, "images float64 (6, 84, 84, 3)"),
        ({"image_data": np.zeros((6, 84, 84), np.uint8)}, "images uint8 (6, 84, 84)"),
        ({"image_data": np.zeros((5, 84, 84, 3), np.uint8)}, "an image of several classes, or one that is not there"),
        ({"image_data": "none"}, "AttributeError"),
        ({"class_dict": [1, 2]}, "AttributeError"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    """With what was expected and what is there."""
    held = cache_pickles()
    held["train"] |= changed
    dump(tmp_path / "data", CACHE, held, SPLITS)
    said = refusal(Tiny(root=tmp_path / "data"))
    assert "mini-imagenet-cache-train.pkl holds no mini-ImageNet: expected image_data [n, 84, 84, 3]" in said
    assert expected in said


@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}, {"data": np.zeros((2, 84, 84, 3), np.uint8), "labels": [1]}])
def test_a_pickle_without_the_fields_is_refused(tmp_path: Path, content: object) -> None:
    """A list, other keys, another number of labels."""
    category(tmp_path / "data")
    (tmp_path / "data" / CATEGORY.format("val")).write_bytes(pickle.dumps(content))
    assert "miniImageNet_category_split_val.pickle holds no mini-ImageNet" in refusal(Tiny(root=tmp_path / "data"))


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_pickle_is_named(tmp_path: Path, keep: int) -> None:
    """And its identity is no error."""
    cache(tmp_path / "data")
    path = tmp_path / "data" / CACHE.format("test")
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is truncated, or no pickle of arrays" in refusal(Tiny(root=tmp_path / "data"))


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path: Path) -> None:
    """It is named, and so is what it asked for."""
    cache(tmp_path / "data")
    path = tmp_path / "data" / CACHE.format("val")
    path.write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "ran").encode())
    said = refusal(Tiny(root=tmp_path / "data"))
    assert f"{path} is not read: it asks for 'os.system'" in said
    assert not (tmp_path / "ran").exists()


def test_a_missing_pickle_is_named(tmp_path: Path) -> None:
    """With one that is there."""
    cache(tmp_path / "data")
    (tmp_path / "data" / CACHE.format("val")).unlink()
    assert "only a part of mini-ImageNet: mini-imagenet-cache-val.pkl missing" in refusal(Tiny(root=tmp_path / "data"))


# What was imported.


def imported(path: Path) -> Tiny:
    """The data set without a root, after an import of `path`."""
    dataset = Tiny(root=path)
    remember("mini-imagenet", Import(path, dataset.variant(), dataset.identity()))
    return Tiny()


@pytest.mark.parametrize("write", [by_class, cache])
def test_an_import_is_read_where_no_place_has_a_source(tmp_path: Path, write: Write) -> None:
    """Its pixels, classes, identity and form are those of the source."""
    write(tmp_path / "data")
    source, dataset = Tiny(root=tmp_path / "data"), imported(tmp_path / "data")
    np.testing.assert_array_equal(images(dataset), EXPECTED)
    assert dataset.classes() == source.classes()
    assert (dataset.identity(), dataset.variant()) == (source.identity(), source.variant())
    (tmp_path / "empty").mkdir()
    assert Tiny(root=tmp_path / "empty").identity() == source.identity()


def test_a_source_in_its_place_comes_before_an_import(tmp_path: Path) -> None:
    """What `--data-root` names is what is read."""
    cache(tmp_path / "data")
    imported(tmp_path / "data")
    by_class(tmp_path / "other")
    assert Tiny(root=tmp_path / "other").variant().startswith("a folder for each")


def test_the_identity_of_an_import_does_not_touch_its_source(tmp_path: Path) -> None:
    """What was prepared of it serves when it is gone; preparing it anew says so."""
    cache(tmp_path / "data")
    dataset = imported(tmp_path / "data")
    identity = Tiny(root=tmp_path / "data").identity()
    shutil.rmtree(tmp_path / "data")
    assert dataset.identity() == identity
    assert f"imported from {tmp_path / 'data'}, which is gone" in refusal(dataset)
    assert "fsbench data import mini-imagenet PATH" in refusal(Tiny())


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"\0"), Path.unlink])
def test_a_source_that_changed_since_it_was_imported_is_refused(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Its pixels would be other ones under the same identity."""
    by_class(tmp_path / "data")
    dataset = imported(tmp_path / "data")
    change(tmp_path / "data" / "train" / "n00000001" / "a.jpg")
    assert f"{tmp_path / 'data'} has changed since mini-ImageNet was imported from it" in refusal(dataset)


def test_damage_in_a_compressed_archive_is_named_by_the_archive(tmp_path: Path) -> None:
    """And not by the folder that it was unpacked to."""
    named_by_class(tmp_path / "made" / "mini")
    (tmp_path / "made" / "mini" / "train" / "n00000001" / NAMES[0]).write_bytes(b"")
    path = Path(shutil.make_archive(str(tmp_path / "data"), "gztar", tmp_path / "made"))
    with pytest.raises(DataError, match=rf"{NAMES[0]} \(unreadable\)\.\nRead from {path}\.") as error:
        images(Tiny(root=path))
    assert error.value.damaged == (f"mini/train/n00000001/{NAMES[0]} (unreadable)",)
