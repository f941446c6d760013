"""The class folders of ImageNet and of data sets made from it: `train/n01532829/n01532829_62.JPEG`.

A class is a noun of WordNet, called by its number there (`n01532829`). Its folder may lie in a folder of its split, deep in
an archive, or, as ILSVRC2012 unpacks, in `ILSVRC/Data/CLS-LOC/train`.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fewshot_bench.data.dataset import ImageClass
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import is_image
from fewshot_bench.errors import DataError, few

CLASS = re.compile(r"n\d{8}")
SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""Other names of the splits."""
ABOVE = ("", *(f"{name}/" for name in SPLITS), "ILSVRC/Data/CLS-LOC/train/", "Data/CLS-LOC/train/")
"""Where class folders are looked for below a folder; in an archive they are found anywhere."""

Sizes = dict[str, int]
"""Size of each file [bytes], by its name."""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder or an archive: its files, and the image files of its class folders, by split and class."""

    sizes: Sizes
    folders: Mapping[str, Mapping[str, Sequence[str]]]
    """The image files, by the name of the split's folder ("" without one) and of the class. Only classes that were asked
    for."""


def list_files(files: Files, wanted: Collection[str], *, all_of_it: bool) -> Listing:
    """All that an archive holds (`all_of_it`), or what a folder holds itself and in the class folders of `wanted`: the
    folder may be a data root that holds much else.

    Raises `DataError` naming an archive or a folder that cannot be read.
    """
    sizes = files.sizes() if all_of_it else _listed(files.path, wanted)
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(filter(is_image, sizes)):
        if place := _class_folder(name.rpartition("/")[0]):
            folders[place[0]][place[1]].append(name)
    if not all_of_it:
        for split, wnid in _class_folders(files.path):
            folders[SPLITS.get(own_name(split.rstrip("/")), "")][wnid] += []
    return Listing(sizes, folders)


@lru_cache(maxsize=1)  # the files of a folder come one after the other
def _class_folder(folder: str) -> tuple[str, str] | None:
    """The split and the class of a folder: `train/n01532829` is ("train", "n01532829")."""
    above = folder.split("/")
    for i in reversed(range(len(above))):
        if CLASS.fullmatch(above[i]):
            return SPLITS.get(above[i - 1], "") if i else "", above[i]
    return None


def _listed(folder: Path, wanted: Collection[str]) -> Sizes:
    """The files of a folder itself, and those of its class folders of `wanted`; no other folder is entered."""
    try:
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    for above, wnid in _class_folders(folder):
        if wnid in wanted:
            inside = Files(folder / above / wnid).sizes()
            sizes |= {f"{above}{wnid}/{name}": size for name, size in inside.items()}
    return sizes


def _class_folders(folder: Path) -> Iterator[tuple[str, str]]:
    """The class folders of a folder: the folder above each, and its name."""
    for above in ABOVE:
        if (folder / above).is_dir():
            names = sorted(path.name for path in (folder / above).iterdir() if CLASS.fullmatch(path.name))
            yield from ((above, name) for name in names)


def numbered(wnid: str, names: Iterable[str]) -> list[str]:
    """ILSVRC2012's own images of a class (`n01532829_62.JPEG`) among some files, sorted by their numbers."""
    pattern = re.compile(rf"{wnid}_(\d+)\.JPEG", re.IGNORECASE)
    found = ((pattern.fullmatch(own_name(name)), name) for name in names)
    return [name for _, name in sorted((int(match[1]), name) for match, name in found if match)]


def own_name(name: str) -> str:
    """A file's name without its folders."""
    return name.rpartition("/")[2]


def from_class(wnid: str, name: str) -> str:
    """A file's name from its class's folder on: `n01532829/62.png`."""
    return f"{wnid}/{name.rpartition(f'{wnid}/')[2]}"


def differences(
    listed: Mapping[str, Sequence[ImageClass]], found: Mapping[str, Mapping[str, int]], *, counted: bool = True
) -> list[str]:
    """How the classes of a source differ from those of a list, in words.

    `found` has the number of images by split ("" where the source has none) and class; it is not compared unless `counted`.
    """
    home = {one.name: split for split, members in listed.items() for one in members}
    number = {one.name: len(one.image_ids) for members in listed.values() for one in members}
    there = [(split, name, n) for split, members in found.items() for name, n in sorted(members.items())]
    names = Counter(name for _, name, _ in there)
    missing = [name for name in home if name not in names]
    other = sorted(names.keys() - home.keys())
    twice = [name for name, times in names.items() if times > 1 and name in home]
    moved = [f"{name} in {split}, not {home[name]}" for split, name, _ in there if split and split != home.get(name, split)]
    wrong = [f"{name}: {n:,} of {number[name]:,}" for _, name, n in there if counted and n != number.get(name, n)]
    return [
        *([f"{len(missing)} of {len(home)} classes are missing ({few(missing)})"] if missing else []),
        *([f"{len(other)} other classes are there ({few(other)})"] if other else []),
        *([f"{len(moved)} classes are in another split ({few(moved)})"] if moved else []),
        *([f"{len(twice)} classes are there twice ({few(twice)})"] if twice else []),
        *([f"{len(wrong)} classes have another number of images ({few(wrong)})"] if wrong else []),
    ]
