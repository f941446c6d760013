"""Any number of glyphs, drawn when they are asked for: nothing is stored, and a drawing costs the same among millions.

Further alphabets are dealt out as the first are: of each fifty, thirty train, eight validate and twelve test. A pixel is
a pure function of the seed and the numbers of alphabet, character and hand, whatever was asked for before.

Legend: n images, C classes of a split, S strokes a character.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.dataset import ImageClass
from fewshot_bench.hashing import short_hash
from fewshot_datasets.glyphs.alphabets import CHARACTERS, SEED, SPLITS, STROKES, invent
from fewshot_datasets.glyphs.dice import Dice
from fewshot_datasets.glyphs.hands import HANDS, Hands
from fewshot_datasets.glyphs.strokes import Bools, Ints, draw

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 4096
"""Alphabets that are remembered, each of 4 KB: 100,000 classes have fewer."""

T = TypeVar("T")


class Lazy(Sequence[T], Generic[T]):
    """A sequence whose members are made when they are accessed."""

    def __init__(self, size: int, make: Callable[[int], T]) -> None:
        self._numbers, self._make = range(size), make

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(number) for number in self._numbers[index]]
        return self._make(self._numbers[index])


class GlyphBank:
    """The glyphs of a split: an `ImageBank`."""

    def __init__(self, version: str, split: str, classes: int, drawings: int) -> None:
        self.split, self.drawings = split, drawings
        size = classes_of(split, classes)
        self.class_names: Sequence[str] = Lazy(size, lambda number: self._class(number).name)
        self.starts = np.arange(size + 1, dtype=np.int64) * drawings  # [C + 1]
        self.structure_id = short_hash(version, classes, drawings, split)

    def classes(self) -> Sequence[ImageClass]:
        """The classes, with their image ids."""
        return Lazy(len(self.class_names), self._class)

    def _class(self, number: int) -> ImageClass:
        rank, character = divmod(number, CHARACTERS)
        return image_class(int(alphabets_of(self.split, np.array(rank))), character, self.drawings)

    def gather(self, ids: Ints) -> "Tensor":
        """The images `ids` [n] as a new uint8 tensor [n, 1, SIDE, SIDE] on the CPU."""
        import torch  # here: a list of data sets does without it

        classes, hands = np.divmod(ids, self.drawings)  # [n] each
        ranks, characters = np.divmod(classes, CHARACTERS)
        return torch.from_numpy(drawn(alphabets_of(self.split, ranks), characters, hands)[:, None])


def classes_of(split: str, total: int) -> int:
    """How many of all classes a split has, in the proportions of the built glyphs."""
    val, test = total * 4 // 25, total * 6 // 25
    return {"train": total - val - test, "val": val, "test": test}[split]


def alphabets_of(split: str, ranks: Ints) -> Ints:
    """The numbers of a split's alphabets, of the first (0), the second and so on."""
    own = SPLITS[split]
    return ranks // len(own) * sum(map(len, SPLITS.values())) + own.start + ranks % len(own)


def image_class(alphabet: int, character: int, drawings: int) -> ImageClass:
    """A character and its drawings: `Alphabet03/character07/19`."""
    name = f"Alphabet{alphabet:02d}/character{character:02d}"
    return ImageClass(name, tuple(f"{name}/{hand:02d}" for hand in range(drawings)))


def drawn(alphabets: Ints, characters: Ints, hands: Ints) -> npt.NDArray[np.uint8]:
    """The drawings [n, SIDE, SIDE] of some characters, each by one hand; `alphabets`, `characters` and `hands` are [n].

    An alphabet's dice draw the alphabet and its first twenty hands in part 0, as for the built glyphs. Each further twenty
    hands of a character have a part of their own.
    """
    curves = np.empty((len(hands), STROKES, 4, 2), np.int64)
    present, radius = np.empty((len(hands), STROKES), np.bool_), np.empty(len(hands), np.int64)
    first = hands < HANDS
    parts = np.where(first, 0, (hands // HANDS - 1) * CHARACTERS + characters + 1)
    rows = hands % HANDS + np.where(first, characters * HANDS, 0)  # of a part's hands
    order = np.lexsort((parts, alphabets))
    changes = np.flatnonzero(np.diff(parts[order]) | np.diff(alphabets[order])) + 1
    for some in np.split(order, changes):  # of one part of one alphabet
        alphabet, part = int(alphabets[some[0]]), int(parts[some[0]])
        known = _alphabet(alphabet)
        dice = Dice(SEED, alphabet, part, known.word if part == 0 else 0)
        own = Hands.drawn(dice, HANDS if part else HANDS * CHARACTERS)[rows[some]]
        curves[some] = own.move(known.curves[characters[some]].astype(np.int64))
        present[some], radius[some] = known.present[characters[some]], own.radius
    return np.ascontiguousarray(draw(curves, present, radius))


class _Alphabet(NamedTuple):
    """An invented alphabet, and the place in its dice where its first twenty hands begin."""

    curves: npt.NDArray[np.int32]  # [CHARACTERS, S, 4, 2]
    present: Bools  # [CHARACTERS, S]
    word: int


@lru_cache(KEPT)
def _alphabet(number: int) -> _Alphabet:
    dice = Dice(SEED, number)
    curves, present = invent(dice)
    return _Alphabet(curves.astype(np.int32), present, dice.word)
