"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015.
As in most papers since Vinyals et al. (2016), each character gives four classes: turned by 0, 90, 180 and 270 degrees.

Legend: D drawings of a character (20), S the side of a prepared image (28).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress, absent
from fewshot_bench.data.images.decoding import IN_THIS_PROCESS, damage, in_parallel, undamaged
from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets.omniglot import splits
from fewshot_datasets.omniglot.drawings import read, unpack
from fewshot_datasets.omniglot.halves import ARCHIVES, SIDE, Halves, both_halves, find_halves, folders_of
from fewshot_datasets.omniglot.manifest import manifest_text, parse_manifest
from fewshot_datasets.omniglot.splits import split_rotation
from fewshot_datasets.sources.options import check_side
from fewshot_datasets.sources.places import check_root

CHOICES = {"split": splits.SPLITS, "rotations": ("classes", "none", "augment")}


class Omniglot(Dataset):
    """Omniglot, ink high (paper 0, ink 255), 20 images a class. Options:

    - `split`: `vinyals`, `lake` or `alphabets` (`splits` says which is which).
    - `rotations`: `classes`, four classes from each character, in every split; `none`, upright characters only; `augment`,
      upright characters, while training turns each class of an episode by its own multiple of 90 degrees.
    - `side`: 28, or up to the 105 pixels of the drawings.

    The drawings become grey, are shrunk with Pillow's Lanczos filter and inverted, as in learn2learn. (Finn et al. and Snell
    et al. resize the 1-bit images; for these Pillow takes the nearest pixel, whatever filter is named.) `rotDDD` is the
    prepared image turned counter-clockwise by DDD degrees, as Snell et al.'s `Image.rotate` turns it.

    Reads the two archives, or the folders they extract to, in `root` or `root`/omniglot, else those that were imported or
    downloaded. If there are none and `root` is None, they are downloaded.
    Raises `UsageError` for another option, `DataError` where `root` does not exist.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"split": "vinyals", "rotations": "classes", "side": 28}
    folder = "omniglot"

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        for option, valid in CHOICES.items():
            if self.options[option] not in valid:
                raise UsageError(f"data.{option} must be one of {', '.join(valid)}, not {self.options[option]!r}.")
        check_side(self.options["side"], 1, SIDE)
        check_root(root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel of side x side."""
        return (1, self.options["side"], self.options["side"])

    @property
    def augment(self) -> tuple[str, ...]:
        """`rotate` where the option `rotations` says `augment`."""
        return ("rotate",) if self.options["rotations"] == "augment" else ()

    @property
    def related(self) -> int:
        """The four turns of a character, where each is a class."""
        return len(splits.TURNS) if self.options["rotations"] == "classes" else 1

    def manifest(self) -> str:
        """The text of the manifest that the drawings are checked against."""
        return manifest_text()

    def class_names(self, split: str) -> list[str]:
        """The classes of a split, in order: `Alphabet/characterNN/rotDDD`."""
        if self.options["split"] == "vinyals":
            names = splits.vinyals(split)
        else:
            characters = [character.name for character in parse_manifest(self.manifest())]
            names = splits.by_alphabet(self.options["split"], split, characters)
        return [name for name in names if self.options["rotations"] == "classes" or split_rotation(name)[1] == 0]

    def identity(self) -> str:
        """Changes with the manifest, the classes or the side; reads no image."""
        lists = [" ".join(self.class_names(split)) for split in self.splits]
        text = "\n".join([self.manifest(), *lists, str(self.options["side"])])
        return f"omniglot-v1-{sha256(text.encode()).hexdigest()[:12]}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """Every class; an image's id is class and drawing: `Greek/character01/rot090/0394_07`."""
        stems = {character.name: character.stems for character in parse_manifest(self.manifest())}
        return {
            split: [
                ImageClass(name, tuple(f"{name}/{stem}" for stem in stems[split_rotation(name)[0]]))
                for name in self.class_names(split)
            ]
            for split in self.splits
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [20, 1, S, S] a class; `progress` counts drawings.

        Raises `DataError` where Omniglot is not found or cannot be downloaded, an archive is damaged, or a drawing is
        missing, unreadable or altered.
        """
        halves = self.halves()
        manifest = {character.name: character for character in parse_manifest(self.manifest())}
        classes = [split_rotation(name) for split in self.splits for name in self.class_names(split)]
        turns = [(name, [turn for _, turn in group]) for name, group in groupby(classes, lambda one: one[0])]
        characters = [manifest[name] for name, _ in turns]
        total = sum(len(character.hashes) for character in characters)
        where = f"Read from {halves}; copy or download them again."
        read_all = in_parallel(partial(read, halves, self.options["side"]), characters, alone=total <= IN_THIS_PROCESS)
        drawn = undamaged(read_all, total, progress, lambda damaged: damage(damaged, total, where))
        for (_, degrees), drawings in zip(turns, drawn, strict=True):
            for turn in degrees:
                yield np.rot90(drawings, turn // 90, axes=(1, 2))[:, None]  # [D, 1, S, S]

    def halves(self) -> Halves:
        """Where the drawings are read; raises `DataError` where they are nowhere, or cannot be downloaded."""
        if self.root is None and self.imported is None:
            return Halves(dict(zip(ARCHIVES, self.download(), strict=True)))
        try:
            return both_halves(self._found(), [folder for given in self._given() for folder in given])
        except DataError as error:
            raise absent(self.root, str(error)) from None

    def found(self) -> Path | None:
        """The folder where both halves lie; None where they do not."""
        found = self._found()
        return next(iter(found.values())).parent if len(found) == len(ARCHIVES) else None

    def _given(self) -> list[list[Path]]:
        """Where to look for both halves: in the data root, and where the import lies."""
        imported = self.imported.path if self.imported else None
        return [folders_of(given) for given in (self.root, imported) if given]

    def _found(self) -> dict[str, Path]:
        """The halves that are there: given, or else downloaded."""
        fetched = [archive.place() for archive in ARCHIVES.values()]
        return next(filter(None, map(find_halves, [*self._given(), fetched])), {})

    def download(self) -> list[Path]:
        """Both archives from the authors' repository, kept in the user's cache; raises `DataError` where that fails."""
        return [archive.fetch() for archive in ARCHIVES.values()]

    def source_files(self, split: str, classes: int, folder: Path) -> dict[str, list[Path]]:
        """The original drawings of the first `classes` upright characters of a split, unpacked below `folder`."""
        upright = [name for name in self.class_names(split) if split_rotation(name)[1] == 0][:classes]
        drawn = {f"{c.name}/rot000": [f"{c.folder}/{stem}.png" for stem in c.stems] for c in parse_manifest(self.manifest())}
        unpack(self.halves(), [png for name in upright for png in drawn[name]], folder)
        return {name: [folder / png for png in drawn[name]] for name in upright}
