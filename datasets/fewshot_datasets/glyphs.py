"""Glyphs: handwritten characters of invented alphabets, drawn by this program in the manner of Omniglot.

An alphabet has a repertoire of a few strokes. A character joins two to four of them; each of twenty hands draws it
with a slant, a size, a place, a pen and a tremor of its own. An alphabet is a pure function of the seed and its number,
and no floating-point number decides a pixel, so every platform makes the same images.

n characters or drawings, S strokes a character; each stroke is a cubic Bézier curve of 4 control points (x, y).
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.dataset import Dataset, ImageClass, Images, Progress
from fewshot_datasets._strokes import PIXEL, SIDE, Bools, Ints, draw, points

SEED = 0
CHARACTERS = 27  # of an alphabet
CANDIDATES = 45  # characters invented for an alphabet, of which the most distinct are kept
HANDS = 20  # drawings of a character
STROKES = 4  # of a character, at most
REPERTOIRE = 8  # strokes that the characters of an alphabet are made of, each along a line of its own
SIZE = 16 * PIXEL  # the larger side of a character before a hand draws it

# What tells one hand from another: the bounds of bell-shaped draws. They are set so that in 5-way 1-shot episodes the
# nearest class mean on pixels is right about half of the time, a trained prototypical network almost always.
TREMOR = 3 * PIXEL  # of each control point
SHIFT = PIXEL * 15 // 4
PEN, PEN_SPREAD = PIXEL * 5 // 4, PIXEL // 4  # outer radius
TURN, SLANT, STRETCH = 100, 100, 68  # in 1/256

QUARTER = np.array([256, 237, 181, 98, 0], np.int64)  # 256 cos(k 22.5°)
COSINE = np.concatenate([QUARTER, -QUARTER[3::-1], -QUARTER[1:], QUARTER[3:0:-1]])  # [16]
COMPASS = np.stack([COSINE, np.roll(COSINE, 4)], axis=-1)  # [16, 2], 256 (cos, sin) of sixteenths of a turn

# A kind of stroke: how far its tangent turns away from the chord at the start and at the end, in sixteenths of a turn;
# the length of the chord, in pixels; and the length of its handles in eighths of the chord.
LINE, ARC, BOW = (0, 0, 12, 3), (3, -3, 12, 4), (4, -4, 10, 6)
WAVE, HOOK, RING = (3, 3, 13, 5), (0, -7, 8, 9), (5, -5, 4, 24)
KINDS = np.array([LINE, LINE, LINE, ARC, ARC, BOW, BOW, WAVE, HOOK, RING], np.int64)  # a list to draw from
STROKE_COUNTS = np.array([2, 2, 2, 3, 3, 3, 3, 4], np.int64)  # likewise


class Dice:
    """Whole numbers from the raw words of numpy's Philox, whose stream numpy promises to keep."""

    def __init__(self, seed: int, stream: int) -> None:
        self._philox = np.random.Philox(key=np.array([seed, stream], np.uint64))

    def below(self, limit: int, *shape: int) -> Ints:
        """Even in 0 … limit - 1."""
        words = self._philox.random_raw(int(np.prod(shape))).reshape(shape)
        return ((words >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)

    def around(self, spread: int, *shape: int) -> Ints:
        """Bell-shaped in -spread … spread, with a standard deviation of a third of the spread."""
        total: Ints = self.below(2 * spread + 1, 3, *shape).sum(axis=0)
        return total // 3 - spread


class Glyphs(Dataset):
    """1,350 characters of 50 invented alphabets, 20 drawings each, 28 x 28 grey; the splits share no alphabet."""

    alphabets: ClassVar[dict[str, range]] = {"train": range(30), "val": range(30, 38), "test": range(38, 50)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """One grey channel of 28 x 28."""
        return 1, SIDE, SIDE

    def identity(self) -> str:
        """The version of the program and its seed, which decide every pixel."""
        return f"glyphs-v1-seed{SEED}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """The characters of each split, alphabet by alphabet."""
        return {
            split: [_image_class(alphabet, character) for alphabet in alphabets for character in range(CHARACTERS)]
            for split, alphabets in self.alphabets.items()
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """The drawings, one block [CHARACTERS * HANDS, 1, SIDE, SIDE] an alphabet."""
        alphabets = [alphabet for split in self.splits for alphabet in self.alphabets[split]]
        block = CHARACTERS * HANDS
        for done, alphabet in enumerate(alphabets, start=1):
            dice = Dice(SEED, alphabet)
            yield write(*invent(dice), dice)[:, None]
            progress(done * block, len(alphabets) * block)


def _image_class(alphabet: int, character: int) -> ImageClass:
    name = f"Alphabet{alphabet:02d}/character{character:02d}"
    return ImageClass(name, tuple(f"{name}/{hand:02d}" for hand in range(HANDS)))


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
    distances = ((flat[:, None] - flat[None]) ** 2).sum(axis=-1)  # [n, n]
    taken = [0]
    nearest = distances[0]
    while len(taken) < CHARACTERS:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[taken[-1]])
    return np.array(taken, np.int64)


def write(curves: Ints, present: Bools, dice: Dice) -> npt.NDArray[np.uint8]:
    """The drawings [n * HANDS, SIDE, SIDE] of n characters by HANDS hands each, character by character."""
    curves, present = curves.repeat(HANDS, axis=0), present.repeat(HANDS, axis=0)  # [n * HANDS, S, ...]
    drawings = len(curves)
    tremor = dice.around(TREMOR, drawings, STROKES, 4, 2)
    shift = dice.around(SHIFT, drawings, 1, 1, 2)
    radius = PEN + dice.around(PEN_SPREAD, drawings)
    return draw(_lean(curves + tremor, dice) + shift, present, radius)


def _lean(curves: Ints, dice: Dice) -> Ints:
    """Turn, slant and stretch each drawing [n, S, 4, 2] a little."""
    n = len(curves)
    turn, slant, stretch = dice.around(TURN, n), dice.around(SLANT, n), 256 + dice.around(STRETCH, n, 2)
    cosine = 256 - turn * turn // 512  # the parabola is enough for a small angle
    x_axis = np.stack([cosine, turn], axis=-1) * stretch[:, :1]  # [n, 2], in 1/65536
    y_axis = np.stack([slant - turn, cosine], axis=-1) * stretch[:, 1:]  # [n, 2]
    x, y = curves[..., :1], curves[..., 1:]  # [n, S, 4, 1]
    leant: Ints = (x * x_axis[:, None, None] + y * y_axis[:, None, None]) >> 16  # [n, S, 4, 2]
    return leant
