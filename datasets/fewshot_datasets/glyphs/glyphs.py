"""Glyphs: handwritten characters of invented alphabets, drawn by this program in the style of Omniglot.

An alphabet has a repertoire of a few strokes. A character joins two to four of them; each of twenty hands draws it
with a slant, a size, a place, a pen and a tremor of its own. An alphabet is a pure function of the seed and its number,
and no floating-point number decides a pixel, so every platform makes the same images.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import UsageError
from fewshot_datasets.glyphs.alphabets import CHARACTERS, SEED, SPLITS, invent
from fewshot_datasets.glyphs.dice import Dice
from fewshot_datasets.glyphs.hands import HANDS, Hands
from fewshot_datasets.glyphs.on_demand import GlyphBank, image_class
from fewshot_datasets.glyphs.strokes import SIDE, Bools, Ints, draw

VERSION = f"glyphs-v1-seed{SEED}"  # the program and its seed, which decide every pixel
LIMITS = {"classes": (25, 10_000_000), "drawings": (1, 10_000)}  # on demand


class Glyphs(Dataset):
    """1,350 characters of 50 invented alphabets, 20 drawings each, 28 x 28 grey; the splits share no alphabet. Options:

    - `classes`: 0, as built; or how many there are in all, up to 10,000,000: drawn on demand, nothing is stored.
    - `drawings`: how many a class on demand has. The first 20 are those of the built classes.

    Of N classes on demand, N * 4 // 25 are for validation and N * 6 // 25 for the test, which for 1,350 are as many as
    built. More classes come from more alphabets. Each further fifty are dealt out to the splits as the first fifty are, so
    no alphabet trains under one number of classes and tests under another.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"classes": 0, "drawings": HANDS}

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        self.on_demand = self.options["classes"] != 0
        if not self.on_demand and self.options["drawings"] != HANDS:
            raise UsageError(
                f"data.drawings applies only to glyphs on demand: add --set data.classes=1350, or leave it at {HANDS}."
            )
        for name, (low, high) in LIMITS.items() if self.on_demand else ():
            if not low <= self.options[name] <= high:
                also = "0 (as built) or " if name == "classes" else ""
                raise UsageError(f"data.{name} must be {also}{low:,} to {high:,}, not {self.options[name]}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """One grey channel of 28 x 28."""
        return 1, SIDE, SIDE

    def identity(self) -> str:
        """The version of the program and its seed, and what is on demand."""
        return f"{VERSION}-{self.options['classes']}x{self.options['drawings']}" if self.on_demand else VERSION

    def classes(self) -> Mapping[str, Sequence[ImageClass]]:
        """The characters of each split, alphabet by alphabet; on demand they are made when they are accessed."""
        if self.on_demand:
            return {split: self.bank(split).classes() for split in self.splits}
        return {
            split: [image_class(alphabet, character, HANDS) for alphabet in alphabets for character in range(CHARACTERS)]
            for split, alphabets in SPLITS.items()
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """The drawings as built, one block [CHARACTERS * HANDS, 1, SIDE, SIDE] an alphabet."""
        alphabets = [alphabet for split in self.splits for alphabet in SPLITS[split]]
        block = CHARACTERS * HANDS
        for done, alphabet in enumerate(alphabets, start=1):
            dice = Dice(SEED, alphabet)
            yield write(*invent(dice), dice)[:, None]
            progress(done * block, len(alphabets) * block)

    def bank(self, split: str) -> GlyphBank:
        """The drawings of a split on demand."""
        return GlyphBank(VERSION, split, self.options["classes"], self.options["drawings"])


def write(curves: Ints, present: Bools, dice: Dice) -> npt.NDArray[np.uint8]:
    """The drawings [n * HANDS, SIDE, SIDE] of n characters by HANDS hands each, character by character."""
    hands = Hands.drawn(dice, len(curves) * HANDS)
    return draw(hands.move(curves.repeat(HANDS, axis=0)), present.repeat(HANDS, axis=0), hands.radius)
