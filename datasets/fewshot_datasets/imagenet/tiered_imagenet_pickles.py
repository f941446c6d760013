"""tiered-ImageNet as its authors published it: pickles, which are read and never executed, and two lists of names.

For each split `train_images_png.pkl`, a list of PNG files as arrays of bytes, and `train_labels.pkl`: `label_specific` [n],
the number of each image's class, and `label_specific_str`, the names of these numbers in words ("ruddy turnstone, Arenaria
interpres"). `class_names.txt` has such names line by line, and `synsets.txt` their numbers in WordNet. Two classes of
ImageNet share a name (crane), but none of one split do. learn2learn's copies are called `tiered-imagenet-train_labels.pkl`
and so on.

A split's images are in memory together while they are prepared: about 7 GB for the training classes.

Legend: n images of a split, m of a block, S the side of a prepared image.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.dataset import ImageClass, Images, Progress
from fewshot_bench.data.files.source_files import BROKEN, Files
from fewshot_bench.data.images.decoding import IN_THIS_PROCESS, attempted, damage, in_parallel, undamaged
from fewshot_bench.errors import DataError
from fewshot_datasets.imagenet.class_folders import CLASS, Sizes, differences, own_name
from fewshot_datasets.imagenet.forms import BLOCK, SIDE, WHOLE, Classes, another
from fewshot_datasets.sources.pickled_arrays import text
from fewshot_datasets.sources.stored_pickles import StoredPickles

TITLE = "tiered-ImageNet"
PREFIX = "tiered-imagenet-"
WORDS = ("class_names.txt", "synsets.txt")
Png = bytes | npt.NDArray[Any]
"""A file as the pickles hold it."""


@dataclass(frozen=True)
class Pickles(StoredPickles):
    """The files of the published archive, by the names that its authors gave them."""

    listed: Classes
    published: Mapping[str, int]
    """The number of images of each split."""

    def variant(self) -> str:
        """Says that it is the published archive; raises `DataError` where its classes differ."""
        self.classes()
        return "the published archive's pickles; the names of its classes are those of the published lists"

    def classes(self) -> Classes:
        """An image's id is its class and its place in the pickle; raises `DataError` for another data set."""
        return {
            split: [ImageClass(one.name, tuple(f"{one.name}/{i}" for i in self._places[split][one.name])) for one in members]
            for split, members in self.listed.items()
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks of up to BLOCK images [m, 3, S, S]; pixels of 84 x 84 stay as they are.

        Raises `DataError` that names every image which is damaged, and as `classes` does.
        """
        total = sum(self.published.values())
        blocks = (found for split in self.listed for found in self._blocks(split))
        yield from undamaged(blocks, total, progress, lambda damaged: damage(damaged, total, f"Read from {self.place}."))

    def _blocks(self, split: str) -> Iterator[tuple[Images, list[str]]]:
        """A split's images, and what is wrong with those of each block."""
        order = [i for one in self.listed[split] for i in self._places[split][one.name]]
        name = f"{split}_images_png.pkl"
        pngs = self._pngs(name, len(order))
        ordered = [(i, _png(pngs[i])) for i in order]
        parts = [ordered[first : first + BLOCK] for first in range(0, len(ordered), BLOCK)]
        yield from in_parallel(partial(_decode, name), parts, alone=len(ordered) <= IN_THIS_PROCESS)

    @cached_property
    def _places(self) -> dict[str, dict[str, list[int]]]:
        """The places of each class's images, by split; raises `DataError` where they are not the published classes."""
        places = {split: self._of_split(split) for split in self.listed}
        counts = {split: {name: len(own) for name, own in members.items()} for split, members in places.items()}
        totals = {split: sum(members.values()) for split, members in counts.items()}
        if faults := differences(self.listed, counts, counted=False) or different_totals(totals, self.published):
            raise another(self.place, TITLE, faults)
        return places

    def _of_split(self, split: str) -> dict[str, list[int]]:
        name = f"{split}_labels.pkl"
        held = self.read(name)
        try:
            fields = {text(key): value for key, value in held.items()}
            numbers = [int(number) for number in fields["label_specific"]]
            words = [text(word).strip() for word in fields["label_specific_str"]]
            wnids = {number: self._wnid(words[number], split) for number in sorted(set(numbers)) if number >= 0}
            places: dict[str, list[int]] = {wnid: [] for wnid in wnids.values()}
            for i, number in enumerate(numbers):
                places[wnids[number]].append(i)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.called(name)} does not name classes: expected label_specific and label_specific_str.\n"
                f"{type(error).__name__}: {error}"
            ) from error
        return places

    def _wnid(self, word: str, split: str) -> str:
        """A class's number in WordNet; its name in words where the lists have none of that name, or several."""
        if CLASS.fullmatch(word):
            return word
        meant = self._wnids.get(word, [])
        own = [one.name for one in self.listed[split] if one.name in meant]
        known = own or [one.name for members in self.listed.values() for one in members if one.name in meant]
        return known[0] if len(known) == 1 else word

    @cached_property
    def _wnids(self) -> dict[str, list[str]]:
        """The numbers in WordNet by the names in words."""
        words, wnids = (self._lines(name) for name in WORDS)
        if len(words) != len(wnids):
            raise DataError(f"{self.place}: class_names.txt has {len(words)} lines and synsets.txt {len(wnids)}.")
        found = defaultdict(list)
        for word, wnid in zip(words, wnids, strict=True):
            found[word].append(wnid)
        return found

    def _lines(self, name: str) -> list[str]:
        if name not in self.names:
            raise DataError(f"{self.place} lacks {name} of the published archive, which gives the classes of the labels.")
        try:
            return [line.strip() for line in self.files.read(self.names[name]).decode("utf-8").splitlines() if line.strip()]
        except BROKEN as error:
            raise DataError(f"{self.called(name)} cannot be read ({error}). Copy or download it again.") from error

    def _pngs(self, name: str, wanted: int) -> Sequence[Any]:
        """The PNG files of a split."""
        held = self.read(name)
        if not isinstance(held, list) or len(held) != wanted:
            there = f"{len(held):,}" if isinstance(held, list) else f"a {type(held).__name__}"
            raise DataError(f"{self.called(name)} is not a list of {wanted:,} PNG files, but {there}.")
        return held


def find_pickles(files: Files, place: Path, sizes: Sizes, listed: Classes, published: Mapping[str, int]) -> Pickles | None:
    """The published archive's files, wherever they lie in a folder or an archive; raises `DataError` where some are
    missing."""
    there = {own_name(n).removeprefix(PREFIX): n for n in sorted(sizes, reverse=True) if n.endswith((".pkl", ".txt"))}
    wanted = [f"{split}_{kind}.pkl" for split in listed for kind in ("images_png", "labels")]
    missing = [name for name in wanted if name not in there]
    if len(missing) == len(wanted):
        return None
    if missing:
        raise DataError(f"{place} has only a part of tiered-ImageNet: {', '.join(missing)} missing.")
    names = {name: there[name] for name in sorted((*wanted, *WORDS)) if name in there}
    return Pickles(files, place, names, listed, published)


def different_totals(totals: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    """How the numbers of images differ from the published ones, in words."""
    return [f"{n:,} {split} images, not {published[split]:,}" for split, n in totals.items() if n != published[split]]


def _decode(name: str, pngs: Sequence[tuple[int, Png]]) -> tuple[Images, list[str]]:
    """Images of a pickle, by their places in it [m, 3, S, S], and what is wrong with them; a damaged one is left zero."""
    block = np.zeros((len(pngs), 3, SIDE, SIDE), np.uint8)
    damaged: list[str] = []
    for i, (place, png) in enumerate(pngs):
        with attempted(f"{name}[{place}]", damaged):
            block[i] = WHOLE(png.tobytes() if isinstance(png, np.ndarray) else png)
    return block, damaged


def _png(held: object) -> Png:
    """A file that a pickle holds; empty if it holds something else, which must not go to other processes."""
    return held if isinstance(held, bytes | np.ndarray) else b""
