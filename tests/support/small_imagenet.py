"""mini-ImageNet with four classes of three photographs each, in every form in which people have the real one."""

import pickle
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image
from python2_pickles import python2_pickle

from fewshot_bench.data.dataset import Dataset
from fewshot_datasets.imagenet.forms import WHOLE
from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet

Pixels = npt.NDArray[np.uint8]
LISTS = {"train": "n00000001 1-2 5\nn00000002 3-5", "val": "n00000003 1 3-4", "test": "n00000004 1298-1300"}
GREY, CMYK = "n0000000100000002.jpg", "n0000000200000004.jpg"


class Tiny(MiniImagenet):
    """Its lists name two, one and one classes, of which ILSVRC2012 is said to have 11 images, of the last 1,300."""

    fewer: ClassVar = {"n00000001": 11, "n00000002": 11, "n00000003": 11}

    def split_list(self, split: str) -> str:
        """The four classes."""
        return LISTS[split]


LISTED = Tiny().listed()
NAMES = [f"{image}.jpg" for members in LISTED.values() for one in members for image in one.image_ids]


def photograph(name: str) -> bytes:
    """A JPEG of a size of its own: left half of a dark colour of its own, right half light; one grey, one CMYK."""
    number = NAMES.index(name)
    pixels = np.full((60 + 7 * number, 120 - 5 * number, 3), 220, np.uint8)
    pixels[:, : pixels.shape[1] // 2] = (10 * number, 60, 100)
    file = BytesIO()
    Image.fromarray(pixels).convert({GREY: "L", CMYK: "CMYK"}.get(name, "RGB")).save(file, "JPEG", quality=95)
    return file.getvalue()


def images(dataset: Dataset) -> Pixels:
    """All images of a data set, [n, 3, 84, 84]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


def class_names(dataset: Dataset) -> dict[str, list[str]]:
    """The classes of each split, in order."""
    return {split: [one.name for one in members] for split, members in dataset.classes().items()}


def write_named(folder: Path) -> None:
    """The photographs, named as in the lists."""
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(photograph(name))


def zip_named(path: Path, inside: str) -> None:
    """An archive with the photographs in a folder of it, the last first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as file:
        for name in reversed(NAMES):
            file.writestr(f"{inside}{name}", photograph(name))


def write_class_folders(folder: Path, *, by_split: bool = True) -> None:
    """A folder for each class; the images are called `a.jpg` to `c.jpg`, or, in one class, as ImageNet calls them."""
    for split, members in LISTED.items():
        for one in members:
            place = folder / split / one.name if by_split else folder / one.name
            place.mkdir(parents=True)
            for letter, image in zip("abc", one.image_ids, strict=True):
                name = f"{one.name}_{ord(letter)}.JPEG" if one.name == "n00000002" else f"{letter}.jpg"
                (place / name).write_bytes(photograph(f"{image}.jpg"))


def write_ilsvrc(folder: Path, count: int = 1300) -> None:
    """ILSVRC2012's own folders, one of them of a class that is in no list; all files but the listed ones are empty."""
    for wnid in [*(one.name for members in LISTED.values() for one in members), "n99999999"]:
        (folder / wnid).mkdir(parents=True)
        for number in range(1, count + 1 if wnid == "n00000004" else 12):
            name = f"{wnid}{number:08}.jpg"
            content = photograph(name) if name in NAMES else b""
            (folder / wnid / f"{wnid}_{7 * number + 3}.JPEG").write_bytes(content)


def cache_pickles() -> dict[str, dict[str, Any]]:
    """What Ren et al.'s pickles hold, by split; the images of a class do not lie together."""
    made = {}
    for split, members in LISTED.items():
        order = [(one.name, image) for image in range(3) for one in members]
        ids = {one.name: one.image_ids for one in members}
        pixels = [WHOLE(photograph(f"{ids[name][image]}.jpg")).transpose(1, 2, 0) for name, image in order]
        places = {name: [i for i, (own, _) in enumerate(order) if own == name] for name in reversed(ids)}
        made[split] = {"image_data": np.stack(pixels), "class_dict": places}
    return made


def category_pickles(names: str | None = "catname2label") -> dict[str, dict[str, Any]]:
    """What Gidaris & Komodakis's pickles hold, by split, with the names of the labels under this key."""
    made: dict[str, dict[str, Any]] = {}
    labels = {one.name: label for label, one in enumerate(one for members in LISTED.values() for one in members)}
    for split, held in cache_pickles().items():
        own = [labels[name] for _, name in sorted((i, name) for name, places in held["class_dict"].items() for i in places)]
        made[split] = {"data": held["image_data"], "labels": own}
        if names == "catname2label":
            made[split][names] = labels
        elif names:
            made[split][names] = {label: name for name, label in labels.items()}
    return made


def dump(folder: Path, pattern: str, held: dict[str, dict[str, Any]], splits: Iterable[str], **options: Any) -> None:
    """Write a pickle of each split; `splits` are their names in the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(splits, held.values(), strict=True):
        (folder / pattern.format(name)).write_bytes(dumps(content, **options))


def dumps(content: object, protocol: int = 2, python2: bool = False) -> bytes:
    """A pickle, if wanted as Python 2 wrote it."""
    return python2_pickle(content) if python2 else pickle.dumps(content, protocol)
