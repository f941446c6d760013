"""The hands that draw glyphs: each with a slant, a size, a place, a pen and a tremor of its own.

n drawings, S strokes a character; each stroke is a cubic Bézier curve of 4 control points (x, y).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fewshot_datasets.glyphs.alphabets import STROKES
from fewshot_datasets.glyphs.dice import Dice
from fewshot_datasets.glyphs.strokes import PIXEL, Ints

HANDS = 20  # drawings of a character, of one part of its alphabet's dice

# The bounds of the bell-shaped draws by which hands differ. They are set so that in 5-way 1-shot episodes the nearest class
# mean on pixels is right about half of the time, and a trained prototypical network almost always.
TREMOR = 3 * PIXEL  # of each control point
SHIFT = PIXEL * 15 // 4
PEN, PEN_SPREAD = PIXEL * 5 // 4, PIXEL // 4  # outer radius
TURN, SLANT, STRETCH = 100, 100, 68  # in 1/256


@dataclass(frozen=True)
class Hands:
    """How each of n drawings differs from its character."""

    tremor: Ints  # [n, S, 4, 2]
    shift: Ints  # [n, 1, 1, 2]
    radius: Ints  # [n], of the pen
    turn: Ints  # [n]
    slant: Ints  # [n]
    stretch: Ints  # [n, 2]

    @classmethod
    def drawn(cls, dice: Dice, n: int) -> Self:
        """Draws the hands of n drawings."""
        return cls(
            tremor=dice.around(TREMOR, n, STROKES, 4, 2),
            shift=dice.around(SHIFT, n, 1, 1, 2),
            radius=PEN + dice.around(PEN_SPREAD, n),
            turn=dice.around(TURN, n),
            slant=dice.around(SLANT, n),
            stretch=256 + dice.around(STRETCH, n, 2),
        )

    def __getitem__(self, rows: Ints) -> "Hands":
        return Hands(*(each[rows] for each in vars(self).values()))

    def move(self, curves: Ints) -> Ints:
        """The curves [n, S, 4, 2] of the drawings: each with its tremor, turned, slanted, stretched and shifted."""
        cosine = 256 - self.turn * self.turn // 512  # the parabola is enough for a small angle
        x_axis = np.stack([cosine, self.turn], axis=-1) * self.stretch[:, :1]  # [n, 2], in 1/65536
        y_axis = np.stack([self.slant - self.turn, cosine], axis=-1) * self.stretch[:, 1:]  # [n, 2]
        curves = curves + self.tremor
        x, y = curves[..., :1], curves[..., 1:]  # [n, S, 4, 1]
        leant: Ints = (x * x_axis[:, None, None] + y * y_axis[:, None, None]) >> 16  # [n, S, 4, 2]
        return leant + self.shift
