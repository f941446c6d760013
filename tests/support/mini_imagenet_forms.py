"""Every form in which people have mini-ImageNet but plain files, written with few images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_imagenet import (
    LISTED,
    NAMES,
    Pixels,
    Tiny,
    cache_pickles,
    category_pickles,
    dump,
    photograph,
    write_class_folders,
    write_ilsvrc,
)

from fewshot_bench.errors import DataError
from fewshot_datasets.imagenet.forms import WHOLE

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
    cache: "pickled arrays (mini-imagenet-cache-train.pkl, mini-imagenet-cache-val.pkl, mini-imagenet-cache-test.pkl); the ",
    cache_of_learn2learn: "pickled arrays (mini-imagenet-cache-train.pkl, mini-imagenet-cache-validation.pkl",
    cache_of_python2: "pickled arrays (mini-imagenet-cache-train.pkl",
    category: "pickled arrays (miniImageNet_category_split_train_phase_train.pickle",
    category_of_python2: "pickled arrays (miniImageNet_category_split_train_phase_train.pickle",
}
"""Each form that has the names of the classes, and how it is called."""
FORMS: list[Write] = [*NAMED, category_without_names]
EXPECTED: Pixels = np.stack([WHOLE(photograph(name)) for name in NAMES])


def refusal(dataset: Tiny) -> str:
    """What a data set says, in one to three lines, of a source that it refuses; its identity is no error."""
    assert dataset.identity()
    with pytest.raises(DataError) as error:
        dataset.classes()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)
