"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015.
The classes are Vinyals et al.'s (2016), in Snell et al.'s (2017) lists: each character turned by 0, 90, 180 and 270
degrees, each rotation a class of its own, in every split.

Legend: C characters, D drawings of each (20), S the side of a prepared image (28).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from fewshot_bench.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import DataError
from fewshot_datasets.omniglot_manifest import Character, manifest_text, parse_manifest, pixel_hash
from fewshot_datasets.omniglot_source import UNREADABLE, check_root, find_parts, load_grey, open_part

SIDE = 28


class Omniglot(Dataset):
    """Omniglot at 28 x 28, ink high (paper 0, ink 255); Vinyals et al.'s 4112 + 688 + 1692 classes of 20 images.

    The 105 x 105 drawings become grey, are shrunk with Pillow's Lanczos filter and inverted, as in learn2learn. (Finn
    et al. and Snell et al. resize the 1-bit images: there Pillow takes the nearest pixel, whatever filter is named.)
    `rotDDD` is the prepared image turned counter-clockwise by DDD degrees, as Snell et al.'s `Image.rotate` turns it.

    Reads the two archives, or the folders they extract to, in `root` or `root`/omniglot; where `root` is None they are
    downloaded. Raises `DataError` where `root` is no folder.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_root(root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel of 28 x 28."""
        return (1, SIDE, SIDE)

    def manifest(self) -> str:
        """The text of the manifest that the drawings are checked against."""
        return manifest_text()

    def class_names(self, split: str) -> list[str]:
        """The classes of a split in the order of its published list: `Alphabet/characterNN/rotDDD`."""
        lists = files("fewshot_datasets") / "splits" / "omniglot-vinyals"
        return (lists / f"{split}.txt").read_text("utf-8").split()

    def identity(self) -> str:
        """Changes with the manifest, the split lists or the side; reads no image."""
        text = "\n".join([self.manifest(), *(" ".join(self.class_names(split)) for split in self.splits), str(SIDE)])
        return f"omniglot-v1-{sha256(text.encode()).hexdigest()[:12]}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """Every rotation of every character; an image's id is class and drawing: `Greek/character01/rot090/0394_07`."""
        stems = {character.name: character.stems for character in parse_manifest(self.manifest())}
        return {
            split: [
                ImageClass(name, tuple(f"{name}/{stem}" for stem in stems[split_rotation(name)[0]]))
                for name in self.class_names(split)
            ]
            for split in self.splits
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [20, 1, 28, 28] a class, after all drawings are decoded and checked; `progress` counts drawings.

        Raises `DataError` where Omniglot is not found or cannot be downloaded, an archive is damaged, or a drawing is
        missing, unreadable or altered.
        """
        characters = parse_manifest(self.manifest())
        drawings = read_drawings(self.root, characters, progress)  # [C, D, S, S]
        rows = {character.name: row for row, character in enumerate(characters)}
        for split in self.splits:
            for name in self.class_names(split):
                character, degrees = split_rotation(name)
                yield np.rot90(drawings[rows[character]], degrees // 90, axes=(1, 2))[:, None]  # [D, 1, S, S]

    def source_files(self, split: str, classes: int, folder: Path) -> dict[str, list[Path]]:
        """The original drawings of the first `classes` upright characters of a split, unpacked below `folder`."""
        upright = [name for name in self.class_names(split) if split_rotation(name)[1] == 0][:classes]
        drawn = {f"{c.name}/rot000": [f"{c.folder}/{stem}.png" for stem in c.stems] for c in parse_manifest(self.manifest())}
        unpack(self.root, [png for name in upright for png in drawn[name]], folder)
        return {name: [folder / png for png in drawn[name]] for name in upright}


def split_rotation(name: str) -> tuple[str, int]:
    """`Greek/character01/rot090` is ("Greek/character01", 90)."""
    character, _, degrees = name.rpartition("/rot")
    return character, int(degrees)


def read_drawings(root: Path | None, characters: list[Character], progress: Progress) -> Images:
    """All drawings, decoded, checked against their hashes and prepared: uint8 [C, D, S, S]. Raises `DataError`."""
    ink = np.zeros((len(characters), len(characters[0].stems), SIDE, SIDE), np.uint8)  # [C, D, S, S]
    damage: list[str] = []
    parts = find_parts(root)
    with ExitStack() as stack:
        read = {part: stack.enter_context(open_part(path)).read for part, path in parts.items()}
        for c, character in enumerate(characters):
            for d, (stem, expected) in enumerate(zip(character.stems, character.hashes, strict=True)):
                png = f"{character.folder}/{stem}.png"
                try:
                    ink[c, d] = prepare(checked(read[png.partition("/")[0]], png, expected))
                except DataError as error:
                    damage.append(str(error))
            progress((c + 1) * ink.shape[1], ink.shape[0] * ink.shape[1])
    if damage:
        raise DataError(describe(damage, ink.shape[0] * ink.shape[1], list(parts.values())))
    return ink


def unpack(root: Path | None, pngs: list[str], folder: Path) -> None:
    """Write the named drawings below `folder`; raises `DataError` where one is missing."""
    with ExitStack() as stack:
        read = {part: stack.enter_context(open_part(path)).read for part, path in find_parts(root).items()}
        for png in pngs:
            (folder / png).parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / png).write_bytes(read[png.partition("/")[0]](png))
            except (KeyError, FileNotFoundError):
                raise DataError(f"A drawing of Omniglot is missing: {png}.") from None


def checked(read: Callable[[str], bytes], png: str, expected: str) -> Image.Image:
    """One drawing in grey; raises `DataError` with its name and what is wrong with it."""
    try:
        grey = load_grey(read(png))
    except (KeyError, FileNotFoundError):
        raise DataError(f"{png} (missing)") from None
    except UNREADABLE as error:
        raise DataError(f"{png} (unreadable)") from error
    if pixel_hash(grey) != expected:
        raise DataError(f"{png} (altered)")
    return grey


def prepare(grey: Image.Image) -> Images:
    """A drawing of any size, paper high, as ink-high pixels [S, S]."""
    return np.asarray(ImageOps.invert(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)), np.uint8)


def describe(damage: list[str], total: int, paths: list[Path]) -> str:
    """The first few damaged drawings, how many there are, and where they were read."""
    more = f" and {len(damage) - 3} more" if len(damage) > 3 else ""
    return (
        f"{len(damage)} of {total} drawings of Omniglot are missing or damaged: {', '.join(damage[:3])}{more}.\n"
        f"Read from {' and '.join(map(str, paths))}; copy or download them again."
    )
