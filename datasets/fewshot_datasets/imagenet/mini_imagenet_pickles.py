"""mini-ImageNet as pickled arrays, in the two forms that are passed around. They are read and never executed.

- `mini-imagenet-cache-{train,val,test}.pkl` of Ren et al. (2018), which torchmeta and learn2learn use (learn2learn says
  `validation`): `image_data` [n, 84, 84, 3], and `class_dict`, the places of the images of each class (`n01532829`).
  Their published code writes the validation classes as `test` and the test classes as `val`; such a pair is refused.
- `miniImageNet_category_split_{train_phase_train,val,test}.pickle` of Gidaris & Komodakis (2018), which MetaOptNet and
  others use: `data` [n, 84, 84, 3], `labels`, and in some copies the names of the labels, `catname2label` or
  `label2catname`.

Legend: n images of a split, m of a class, H and W their size, S the side of a prepared image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewshot_bench.data.class_names import unnamed
from fewshot_bench.data.dataset import ImageClass, Images, Progress
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import resized
from fewshot_bench.errors import DataError, few
from fewshot_datasets.imagenet.class_folders import CLASS, Sizes, differences, own_name
from fewshot_datasets.imagenet.forms import SIDE, Classes, another
from fewshot_datasets.sources.pickled_arrays import text
from fewshot_datasets.sources.stored_pickles import StoredPickles

TITLE = "mini-ImageNet"
FORMS: Sequence[Mapping[str, Sequence[str]]] = (
    {
        "train": ["mini-imagenet-cache-train.pkl"],
        "val": ["mini-imagenet-cache-val.pkl", "mini-imagenet-cache-validation.pkl"],
        "test": ["mini-imagenet-cache-test.pkl"],
    },
    {
        "train": ["miniImageNet_category_split_train_phase_train.pickle"],
        "val": ["miniImageNet_category_split_val.pickle"],
        "test": ["miniImageNet_category_split_test.pickle"],
    },
)
"""The name of each split's pickle in each form."""
SUFFIXES = (".pkl", ".pickle")


@dataclass(frozen=True)
class Arrays:
    """One pickle: its images, and the places of each class's images in it, in stored order."""

    images: Images  # [n, H, W, 3]
    places: Mapping[str, Sequence[int]]
    """By label: the name of the class in WordNet, or `train-0`."""
    names: Mapping[str, str]
    """The name in WordNet of each label; empty where the pickle does not say."""

    def by_name(self) -> dict[str, Sequence[int]]:
        """The places by the names in WordNet."""
        return {self.names[label]: own for label, own in self.places.items()}


@dataclass(frozen=True)
class Pickles(StoredPickles):
    """The pickles of the three splits. Only one at a time is in memory: the largest has 0.8 GB."""

    listed: Classes

    def variant(self) -> str:
        """Which form it is, and whether the classes could be compared; raises `DataError` where they differ."""
        self.classes()
        checked = (
            "the names of its classes are those of Ravi & Larochelle's lists"
            if self._named
            else "it has no names of classes, so only the numbers of classes and images could be checked, and tests "
            "between this and other data from ImageNet are refused"
        )
        return f"pickled arrays ({', '.join(own_name(name) for name in self.names.values())}); {checked}"

    def classes(self) -> Classes:
        """Classes with names in the order of the lists, others in that of their labels (`train-0`).

        An image's id is its class and its place in the pickle. Raises `DataError` for another data set.
        """
        return self._classes

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block a class. Pixels of 84 x 84 stay as they are; others are resized as photographs are."""
        total = sum(len(one.image_ids) for members in self.classes().values() for one in members)
        done = 0
        for split, members in self.classes().items():
            arrays = self._load(split)
            places = arrays.by_name() if self._named else arrays.places
            for one in members:
                yield _prepared(arrays.images[places[one.name]])
                done += len(one.image_ids)
                progress(done, total)
            del arrays

    @property
    def _named(self) -> bool:
        return all(one.names for one in self._without_images.values())

    @cached_property
    def _without_images(self) -> dict[str, Arrays]:
        """What the pickles say of their images."""
        return {split: replace(self._load(split), images=np.empty((0, 0, 0, 3), np.uint8)) for split in self.names}

    @cached_property
    def _classes(self) -> Classes:
        held = {split: one.by_name() if self._named else one.places for split, one in self._without_images.items()}
        counts = {split: {name: len(own) for name, own in places.items()} for split, places in held.items()}
        if faults := (differences if self._named else _different_numbers)(self.listed, counts):
            raise another(self.place, TITLE, faults)
        order = {split: [one.name for one in self.listed[split]] if self._named else list(held[split]) for split in held}
        return {
            split: [ImageClass(name, tuple(f"{name}/{i}" for i in held[split][name])) for name in names]
            for split, names in order.items()
        }

    def _load(self, split: str) -> Arrays:
        held = self.read(split)
        try:
            return _arrays({text(key): value for key, value in held.items()}, split)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.called(split)} does not hold mini-ImageNet: expected image_data [n, 84, 84, 3] uint8 and "
                f"class_dict, or data and labels.\n{type(error).__name__}: {error}"
            ) from error


def find_pickles(files: Files, place: Path, sizes: Sizes, listed: Classes) -> Pickles | None:
    """The pickles of one form, wherever they lie in a folder or an archive; raises `DataError` where some are missing."""
    there = {own_name(name): name for name in sorted(sizes, reverse=True) if name.endswith(SUFFIXES)}
    for form in FORMS:
        found = {split: there[name] for split, names in form.items() for name in names if name in there}
        if missing := [names[0] for split, names in form.items() if found and split not in found]:
            raise DataError(
                f"{place} has only a part of mini-ImageNet: {' and '.join(missing)} missing beside {found.popitem()[1]}."
            )
        if found:
            return Pickles(files, place, found, listed)
    return None


def _arrays(held: Mapping[str, Any], split: str) -> Arrays:
    """The content of a pickle of either form; wrong types raise their own errors."""
    if "class_dict" in held:
        images = held["image_data"]
        places = {text(name): [int(i) for i in own] for name, own in held["class_dict"].items()}
        names = {name: name for name in places}
    else:
        images, labels = held["data"], [int(label) for label in held["labels"]]
        if len(labels) != len(images):
            raise ValueError(f"{len(labels)} labels of {len(images)} images")
        places = {unnamed(split, label): [] for label in sorted(set(labels))}
        for i, label in enumerate(labels):
            places[unnamed(split, label)].append(i)
        names = {unnamed(split, label): name for label, name in _names(held, set(labels)).items()}
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images {images.dtype} {images.shape}")
    used = [i for own in places.values() for i in own]
    if len(set(used)) != len(used) or not all(0 <= i < len(images) for i in used):
        raise ValueError("an image of several classes, or one that is not there")
    return Arrays(images, places, names)


def _names(held: Mapping[str, Any], labels: set[int]) -> dict[int, str]:
    """The names in WordNet of some labels; empty where the pickle does not say all, or has other names."""
    by_name, by_label = held.get("catname2label"), held.get("label2catname")
    pairs = [(label, name) for name, label in by_name.items()] if isinstance(by_name, dict) else []
    if not pairs and isinstance(by_label, dict):
        pairs = list(by_label.items())
    names = {int(label): text(name) for label, name in pairs if int(label) in labels}
    return names if names.keys() == labels and all(CLASS.fullmatch(name) for name in names.values()) else {}


def _different_numbers(listed: Classes, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """How the numbers of classes and images differ from those of the lists."""
    faults = []
    for split, members in listed.items():
        each = len(members[0].image_ids)  # all classes have as many
        wrong = [f"{name}: {n:,} of {each:,}" for name, n in counts[split].items() if n != each]
        if len(counts[split]) != len(members):
            faults.append(f"{len(counts[split])} {split} classes, not {len(members)}")
        if wrong:
            faults.append(f"{len(wrong)} classes have another number of images ({few(wrong)})")
    return faults


def _prepared(images: Images) -> Images:
    """Images [m, H, W, 3] as [m, 3, S, S]."""
    if images.shape[1:3] == (SIDE, SIDE):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.stack([resized(Image.fromarray(image), SIDE, "squash") for image in images])
