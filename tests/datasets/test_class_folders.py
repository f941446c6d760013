"""Which folders are classes, in the layouts that people have, and what is said of those that are none."""

import pytest

from fewshot_bench.errors import DataError
from fewshot_datasets.own.class_folders import find_classes

CATS_AND_DOGS = {"cat": ["cat/1.jpg", "cat/2.png"], "dog": ["dog/1.jpg"]}
LAYOUTS = {
    "class folders": ("", "cat/1.jpg", "cat/2.png", "dog/1.jpg"),
    "wrapped": ("photos/", "photos/cat/1.jpg", "photos/cat/2.png", "photos/dog/1.jpg"),
    "wrapped twice": ("my/photos/", "my/photos/cat/1.jpg", "my/photos/cat/2.png", "my/photos/dog/1.jpg"),
    "from here": ("", "./cat/1.jpg", "./cat/2.png", "./dog/1.jpg"),
    "with other files": ("", "cat/1.jpg", "cat/2.png", "cat/notes.txt", "dog/1.jpg", "LICENSE", "meta/a.csv"),
    "with hidden files": ("", "cat/1.jpg", "cat/2.png", "dog/1.jpg", "cat/.3.jpg", ".git/4.jpg", "__MACOSX/cat/._1.jpg"),
    "with hidden files of other kinds": ("", "cat/1.jpg", "cat/2.png", "dog/1.jpg", ".thumbs/5.gif"),
    "wrapped, beside other files": ("photos/", "photos/cat/1.jpg", "photos/cat/2.png", "photos/dog/1.jpg", "a/notes.txt"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_class_folders_are_found(layout: str) -> None:
    """The first level below what wraps them; ids do not show what that is."""
    wrapped, *names = LAYOUTS[layout]
    found = find_classes(names, "here")
    assert {one.name: list(one.image_ids) for one in found.members} == CATS_AND_DOGS
    assert [found.files[image] for image in ("cat/1.jpg", "dog/1.jpg")] == [
        next(name for name in names if name.endswith(image)) for image in ("cat/1.jpg", "dog/1.jpg")
    ]
    assert (found.wrapped, found.splits) == (wrapped, {})


def test_classes_and_images_are_sorted_by_name() -> None:
    """Whatever the order of the files."""
    found = find_classes(["b/2.jpg", "B/1.jpg", "b/10.jpg", "a/1.jpg"], "here")
    assert [one.name for one in found.members] == ["B", "a", "b"]
    assert found.members[2].image_ids == ("b/10.jpg", "b/2.jpg")
    assert list(found.files) == ["B/1.jpg", "a/1.jpg", "b/10.jpg", "b/2.jpg"]


def test_images_deeper_in_a_class_folder_are_the_classs() -> None:
    """Their ids say where they lie."""
    found = find_classes(["cat/1.jpg", "cat/indoor/2.jpg", "dog/a/b/3.jpg"], "here")
    assert [one.image_ids for one in found.members] == [("cat/1.jpg", "cat/indoor/2.jpg"), ("dog/a/b/3.jpg",)]


def test_a_single_class_is_one() -> None:
    """And no wrapping."""
    found = find_classes(["cat/1.jpg", "cat/2.jpg"], "here")
    assert [one.name for one in found.members] == ["cat"]


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
@pytest.mark.parametrize("wrapped", ["", "photos/"])
def test_folders_of_splits_are_none_of_classes(val: str, wrapped: str) -> None:
    """Each class has its split's folder; ids do not show it."""
    names = ["train/cat/1.jpg", "train/dog/a/1.jpg", f"{val}/emu/1.jpg", "test/fox/1.jpg"]
    found = find_classes([wrapped + name for name in names], "here")
    assert found.splits == {"cat": ["train"], "dog": ["train"], "emu": [val], "fox": ["test"]}
    assert list(found.files) == ["cat/1.jpg", "dog/a/1.jpg", "emu/1.jpg", "fox/1.jpg"]


def test_one_split_alone_is_a_split() -> None:
    """Its classes are not drawn into others."""
    assert find_classes(["test/cat/1.jpg", "test/dog/1.jpg"], "here").splits == {"cat": ["test"], "dog": ["test"]}


def test_a_class_may_be_named_as_a_split() -> None:
    """Where another is not: a folder of trains, beside buses."""
    found = find_classes(["train/1.jpg", "train/side/2.jpg", "bus/1.jpg"], "here")
    assert [one.name for one in found.members] == ["bus", "train"]


def test_a_class_of_several_splits_keeps_all_its_images() -> None:
    """A split file may still say where it belongs."""
    found = find_classes(["train/cat/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg"], "here")
    assert found.splits == {"cat": ["train", "val"], "dog": ["val"]}
    assert found.files == {
        "cat/train/1.jpg": "train/cat/1.jpg",
        "cat/val/1.jpg": "val/cat/1.jpg",
        "dog/1.jpg": "val/dog/1.jpg",
    }


WITHOUT_IMAGES = {
    "among class folders": (["cat/1.jpg", "dog/1.jpg", "emu/1.raw", "fox/a/2.raw", "notes.txt"], ["emu", "fox"]),
    "wrapped": (["my/cat/1.jpg", "my/dog/1.jpg", "my/emu/1.raw", "other/1.txt"], ["emu"]),
    "below splits": (["train/cat/1.jpg", "test/dog/1.jpg", "val/emu/1.raw", "annotations/a/1.xml"], ["val/emu"]),
    "hidden": (["cat/1.jpg", "dog/1.jpg", ".git/a", "__MACOSX/emu/._1.jpg", "emu/.1.jpg"], []),
    "of a class": (["cat/1.jpg", "cat/notes/1.txt", "dog/1.jpg"], []),
}


@pytest.mark.parametrize("name", WITHOUT_IMAGES)
def test_folders_beside_the_classes_that_hold_no_images_are_told(name: str) -> None:
    """They may be classes of a kind of file that is not known."""
    names, wanted = WITHOUT_IMAGES[name]
    assert find_classes(names, "here").without_images == wanted


def test_names_are_composed() -> None:
    """An accent that is encoded apart is the same letter; the file keeps its own name."""
    found = find_classes(["ne\u0301e/o\u0308.jpg", "z/1.jpg"], "here")
    assert found.members[0].name == "n\xe9e"
    assert found.files["n\xe9e/\xf6.jpg"] == "ne\u0301e/o\u0308.jpg"


REFUSED = {
    "nothing": ([], "here is empty."),
    "something else": (["a.txt", "b/c.csv"], "holds no images but 2 files, such as 'a.txt', 'b/c.csv'."),
    "no class folders": (["1.jpg", "2.jpg"], "holds images outside every class folder: '1.jpg', '2.jpg'."),
    "one stray image": (
        ["cat/1.jpg", "dog/2.jpg", "banner.png"],
        "outside every class folder: 'banner.png'. Remove them",
    ),
    "a stray image in what wraps": (
        ["p/cat/1.jpg", "p/dog/2.jpg", "p/banner.png"],
        "outside every class folder: 'p/banner.png'",
    ),
    "splits of images": (["train/1.jpg", "test/2.jpg"], "images outside every class folder: 'test/2.jpg', 'train/1.jpg'"),
    "a stray image in a split": (["train/cat/1.jpg", "test/2.jpg"], "outside every class folder: 'test/2.jpg'"),
    "other images": (
        ["cat/1.jpg", "dog/1.tif", "dog/2.GIF"],
        "in a format that cannot be read: 'dog/1.tif', 'dog/2.GIF'",
    ),
    "other images alone": (["cat/1.heic", "dog/1.heic"], "images in a format that cannot be read"),
    "one name twice": (["n\xe9/1.jpg", "ne\u0301/1.jpg"], "differ only in how accents are encoded: 'n\xe9'"),
    "one image twice": (["a/\xe9.jpg", "a/e\u0301.jpg"], "differ only in how accents are encoded: 'a/\xe9.jpg'"),
    "no UTF-8": (["cat\udcff/1.jpg", "dog/1.jpg"], "names are not UTF-8: 'cat\\udcff'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_layout_is_refused(name: str) -> None:
    """With what was found and what is expected, in one to three lines."""
    names, wanted = REFUSED[name]
    with pytest.raises(DataError) as error:
        find_classes(names, "here")
    assert wanted in str(error.value)
    assert len(str(error.value).splitlines()) <= 3
    str(error.value).encode()
