"""Omniglot's drawings: read, checked against the manifest and prepared.

Legend: D drawings of a character (20), S the side of a prepared image (28).
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.images.decoding import attempted
from fewshot_bench.errors import DataError
from fewshot_datasets.omniglot.halves import Halves, load_grey
from fewshot_datasets.omniglot.manifest import Character, pixel_hash


def read(halves: Halves, side: int, character: Character) -> tuple[Images, list[str]]:
    """A character's drawings, checked against their hashes and prepared [D, S, S], and what is wrong with each damaged
    one."""
    drawings = np.zeros((len(character.hashes), side, side), np.uint8)
    damaged: list[str] = []
    for d, (stem, expected) in enumerate(zip(character.stems, character.hashes, strict=True)):
        png = f"{character.folder}/{stem}.png"
        with attempted(png, damaged):
            grey = load_grey(halves.read(png))
            drawings[d] = prepare(grey, side)
            damaged += [f"{png} (altered)"] if pixel_hash(grey) != expected else []
    return drawings, damaged


def prepare(grey: Image.Image, side: int) -> Images:
    """A drawing of any size, on light paper (high values), as pixels [S, S] in which ink is high."""
    return np.asarray(ImageOps.invert(grey.resize((side, side), Image.Resampling.LANCZOS)), np.uint8)


def unpack(halves: Halves, pngs: list[str], folder: Path) -> None:
    """Write the named drawings below `folder`; raises `DataError` where one is missing."""
    for png in pngs:
        (folder / png).parent.mkdir(parents=True, exist_ok=True)
        try:
            (folder / png).write_bytes(halves.read(png))
        except FileNotFoundError:
            raise DataError(f"A drawing of Omniglot is missing: {png}.") from None
