"""Which folders are those of classes, where some are named as splits, or hold folders of their own."""

import pytest

from fewshot_bench.errors import DataError
from fewshot_datasets.own.class_folders import find_classes
from fewshot_datasets.own.folder_levels import recognised


def names(*folders: str) -> list[str]:
    """Two images in each folder."""
    return [f"{folder}/{image}.jpg" for folder in folders for image in range(2)]


NAMED = {
    "the usual names": ("train/cat", "val/dog", "test/emu"),
    "of the few-shot literature": ("base/cat", "val/dog", "novel/emu"),
    "in capitals": ("TRAIN/cat", "Dev/dog", "Test/emu"),
    "in full": ("Training/cat", "validation/dog", "testing/emu"),
    "of meta-learning": ("meta-train/cat", "meta_val/dog", "metatest/emu"),
    "as a set": ("Train Set/cat", "val_set/dog", "test-set /emu"),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("beside", [(), ("README.md", ".DS_Store", "labels/cat.txt", "unlabeled/notes.csv", ".cache/1.jpg")])
def test_folders_of_splits_have_the_names_that_people_use(name: str, beside: tuple[str, ...]) -> None:
    """Whatever else lies there that is no image."""
    found = find_classes([*names(*NAMED[name]), *beside], "here")
    assert {one: len(folders) for one, folders in found.splits.items()} == {"cat": 1, "dog": 1, "emu": 1}


def test_what_was_recognised_is_said() -> None:
    """Of names that do not say it themselves."""
    assert recognised(["base", "val", "Novel"]) == " (Novel is test, base is train)"
    assert recognised(["train", "val", "test"]) == ""


KEPT = {
    "a vehicle": (names("train", "bus", "tram"), ["bus", "train", "tram"]),
    "base and others": (names("base", "lid"), ["base", "lid"]),
    "one folder in each": (names("cat/images", "dog/images"), ["cat", "dog"]),
    "deeper in some": (names("cat", "dog/a", "dog/b"), ["cat", "dog"]),
}


@pytest.mark.parametrize("name", KEPT)
def test_class_folders_stay_what_they_are(name: str) -> None:
    """Where no split can be meant, and no set of classes."""
    files, wanted = KEPT[name]
    found = find_classes(files, "here")
    assert ([one.name for one in found.members], found.splits) == (wanted, {})


SPLITS = ("train/cat", "train/dog", "test/emu", "test/fox")
REFUSED = {
    "images beside splits": (
        (*SPLITS, "unlabeled"),
        "and other folders with images: 'unlabeled'",
    ),
    "folders beside splits": ((*SPLITS, "labels/a", "labels/b"), "and other folders with images: 'labels'"),
    "a split of another name": ((*SPLITS, "holdout/gnu", "holdout/hen"), "and other folders with images: 'holdout'"),
    "a single split beside another folder": (
        ("train/cat", "train/dog", "images/emu"),
        "'train', and other folders with images: 'images'",
    ),
    "images of splits beside classes": (("train", "test", "cat"), "'test', 'train', and other folders with images: 'cat'"),
    "two of one split": (
        ("train/cat", "val/dog", "dev/emu", "test/fox"),
        "several folders of one split: 'dev' and 'val' (val)",
    ),
    "two cases of one split": (("train/cat", "Train/dog"), "several folders of one split: 'Train' and 'train' (train)"),
    "data sets of splits": (
        ("birds/train/wren", "birds/test/kite", "fish/train/cod"),
        "folders that look like whole data sets, with folders of splits: 'birds'",
    ),
    "data sets": (
        ("birds/wren", "birds/kite", "fish/cod", "fish/eel"),
        "no image lies in 'birds', 'fish' itself, but in 'birds/kite', 'birds/wren'",
    ),
    "a data set beside a class": (("birds/wren", "birds/kite", "cat/images"), "may hold several data sets, or classes"),
    "data sets beside a class": (
        ("birds/wren", "birds/kite", "cat", "fish/cod", "fish/eel"),
        "no image lies in 'birds', 'fish' itself, but in 'birds/kite', 'birds/wren'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("wrapped", ["", "my/photos/"])
def test_where_two_levels_may_be_meant_neither_is_guessed(name: str, wrapped: str) -> None:
    """With what was found and what to do: rename, take away, give one alone, or list the classes."""
    folders, wanted = REFUSED[name]
    with pytest.raises(DataError) as error:
        find_classes(names(*(wrapped + folder for folder in folders)), "here")
    assert wanted in str(error.value)
    assert ("split.csv" in str(error.value)) == (name != "images beside splits")  # they would be no class's
    assert len(str(error.value).splitlines()) <= 3


DECIDED = [
    (name, level)
    for name, (folders, _) in REFUSED.items()
    for level in (1, 2)
    if all(folder.count("/") >= level - 1 for folder in folders)
]


@pytest.mark.parametrize(("name", "level"), DECIDED)
def test_a_split_file_that_names_all_folders_of_a_level_decides(name: str, level: int) -> None:
    """Whichever it names; the second only where all images lie in folders of it."""
    folders, _ = REFUSED[name]
    listed = {folder.split("/")[level - 1] for folder in folders}
    found = find_classes(names(*folders), "here", listed)
    assert {one.name for one in found.members} == listed
    assert sum(len(one.image_ids) for one in found.members) == 2 * len(folders)


def test_a_split_file_that_names_some_of_the_classes_decides_nothing() -> None:
    """It is said what it lacks: all of one level."""
    folders, _ = REFUSED["a split of another name"]
    with pytest.raises(DataError, match=r"name all folders that are classes in split.csv"):
        find_classes(names(*folders), "here", ["cat", "dog"])
