"""Alphabets of glyphs, invented: a repertoire of a few strokes, and characters that join two to four of them.

An alphabet is a pure function of the seed and its number, and no floating-point number decides a pixel, so every platform
makes the same images.

n characters, S strokes a character; each stroke is a cubic Bézier curve of 4 control points (x, y).
"""

import numpy as np
import numpy.typing as npt

from fewshot_datasets.glyphs.dice import Dice
from fewshot_datasets.glyphs.strokes import PIXEL, SIDE, Bools, Ints, draw, points

SEED = 0
SPLITS = {"train": range(30), "val": range(30, 38), "test": range(38, 50)}  # of each fifty alphabets
CHARACTERS = 27  # of an alphabet
CANDIDATES = 45  # characters invented for an alphabet, of which the most distinct are kept
STROKES = 4  # of a character, at most
REPERTOIRE = 8  # strokes that the characters of an alphabet are made of, each along a line of its own
SIZE = 16 * PIXEL  # the larger side of a character before a hand draws it

QUARTER = np.array([256, 237, 181, 98, 0], np.int64)  # 256 cos(k 22.5°)
COSINE = np.concatenate([QUARTER, -QUARTER[3::-1], -QUARTER[1:], QUARTER[3:0:-1]])  # [16]
COMPASS = np.stack([COSINE, np.roll(COSINE, 4)], axis=-1)  # [16, 2], 256 (cos, sin) of sixteenths of a turn

# A kind of stroke: how far its tangent turns away from the chord at the start and at the end, in sixteenths of a turn;
# the length of the chord, in pixels; and the length of its handles in eighths of the chord.
LINE, ARC, BOW = (0, 0, 12, 3), (3, -3, 12, 4), (4, -4, 10, 6)
WAVE, HOOK, RING = (3, 3, 13, 5), (0, -7, 8, 9), (5, -5, 4, 24)
KINDS = np.array([LINE, LINE, LINE, ARC, ARC, BOW, BOW, WAVE, HOOK, RING], np.int64)  # a list to draw from
STROKE_COUNTS = np.array([2, 2, 2, 3, 3, 3, 3, 4], np.int64)  # likewise


def invent(dice: Dice) -> tuple[Ints, Bools]:
    """A new alphabet: its characters' curves [CHARACTERS, S, 4, 2], and which of them are present [CHARACTERS, S]."""
    repertoire = _repertoire(dice)
    steps = 1 + dice.below(REPERTOIRE - 1, CANDIDATES, STROKES)  # never 0: no stroke twice in a row
    curves = repertoire[steps.cumsum(axis=1) % REPERTOIRE]  # [n, S, 4, 2]
    count = STROKE_COUNTS[dice.below(len(STROKE_COUNTS), CANDIDATES)]  # [n]
    present = np.arange(STROKES) < count[:, None]  # [n, S]
    curves = _fit(_join(curves, dice), present)
    kept = _most_distinct(draw(curves, present, np.full(CANDIDATES, 2 * PIXEL)))
    return curves[kept], present[kept]


def _repertoire(dice: Dice) -> Ints:
    """The strokes [REPERTOIRE, 4, 2] of an alphabet, each from the origin."""
    leave, arrive, length, handle = KINDS[dice.below(len(KINDS), REPERTOIRE)].T  # [REPERTOIRE] each
    mirror = 1 - 2 * dice.below(2, REPERTOIRE)
    heading = np.arange(REPERTOIRE) + 8 * dice.below(2, REPERTOIRE)  # no two along the same line
    chord = length * (PIXEL * 3 // 4 + dice.below(PIXEL // 2, REPERTOIRE))
    reach = (chord * handle // 8)[:, None]  # [REPERTOIRE, 1]
    end = COMPASS[heading] * chord[:, None] // 256  # [REPERTOIRE, 2]
    out = COMPASS[(heading + mirror * leave) % 16] * reach // 256
    back = COMPASS[(heading + mirror * arrive) % 16] * reach // 256
    return np.stack([np.zeros_like(end), out, end - back, end], axis=1)  # [REPERTOIRE, 4, 2]


def _join(curves: Ints, dice: Dice) -> Ints:
    """Move each stroke after the first: its start, middle or end onto an earlier one, or apart for one in four."""
    curves = curves.copy()  # [n, S, 4, 2]
    each = np.arange(len(curves))
    for stroke in range(1, STROKES):
        earlier = curves[each, dice.below(stroke, len(curves))]  # [n, 4, 2]
        anchor = points(earlier, 5)[each, dice.below(5, len(curves))]  # [n, 2]
        own = points(curves[:, stroke], 3)[each, dice.below(3, len(curves))]  # [n, 2]
        apart = (dice.below(4, len(curves)) == 0)[:, None] * dice.around(10 * PIXEL, len(curves), 2)
        curves[:, stroke] += (anchor - own + apart)[:, None]
    return curves


def _fit(curves: Ints, present: Bools) -> Ints:
    """Centre each character on the origin and give its larger side the length SIZE."""
    path = points(np.where(present[..., None, None], curves, curves[:, :1]), 17)  # [n, S, 17, 2]
    low, high = path.min(axis=(1, 2)), path.max(axis=(1, 2))  # [n, 2]
    side = (high - low).max(axis=1)[:, None, None, None]
    fitted: Ints = (curves - ((low + high) // 2)[:, None, None]) * SIZE // side
    return fitted


def _most_distinct(images: npt.NDArray[np.uint8]) -> Ints:
    """The numbers of CHARACTERS of the images [n, SIDE, SIDE], each as far as can be from those taken before it."""
    coarse = images.reshape(len(images), SIDE // 2, 2, SIDE // 2, 2).sum(axis=(2, 4), dtype=np.int64)
    flat = coarse.reshape(len(images), -1)  # [n, SIDE * SIDE / 4]
    products = flat @ flat.T  # [n, n], of whole numbers and so exact
    squares = products.diagonal()
    distances = squares[:, None] + squares - 2 * products  # [n, n]
    taken = [0]
    nearest = distances[0]
    while len(taken) < CHARACTERS:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[taken[-1]])
    return np.array(taken, np.int64)
