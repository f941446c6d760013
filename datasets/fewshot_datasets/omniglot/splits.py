"""Which of Omniglot's characters train, validate and test.

- `vinyals`: Vinyals et al.'s (2016) 1,028 + 172 + 423 characters, in Snell et al.'s (2017) lists; some alphabets stand in
  two splits.
- `lake`: Lake et al.'s (2015) halves. The 20 evaluation alphabets (659 characters) test; of the 30 background alphabets
  (964) the last six in the order below validate (216) and the others train (748), so that train+val is the background set.
- `alphabets`: no alphabet in two splits: of all 50, in the order below, 30 train (959 characters), 8 validate (265) and 12
  test (399).

The alphabets are ordered by the sha256 of their names: this favours no script, and anyone can repeat it. The lists that
it gave are committed (`splits/omniglot/`, a line `alphabet,split`).
"""

import csv
from collections.abc import Iterable

from fewshot_datasets.sources.package_files import split_text

SPLITS = ("vinyals", "lake", "alphabets")
TURNS = (0, 90, 180, 270)  # degrees, counter-clockwise


def vinyals(split: str) -> list[str]:
    """Its classes in the order of the published list: `Alphabet/characterNN/rotDDD`, all four rotations of each."""
    return split_text("omniglot-vinyals", f"{split}.txt").split()


def by_alphabet(name: str, split: str, characters: Iterable[str]) -> list[str]:
    """The classes of a split by whole alphabets, `lake` or `alphabets`: all four rotations of each of its characters."""
    rows = csv.DictReader(split_text("omniglot", f"{name}.csv").splitlines())
    own = {row["alphabet"] for row in rows if row["split"] == split}
    return [f"{character}/rot{turn:03}" for character in characters if character.partition("/")[0] in own for turn in TURNS]


def split_rotation(name: str) -> tuple[str, int]:
    """`Greek/character01/rot090` is ("Greek/character01", 90)."""
    character, _, degrees = name.rpartition("/rot")
    return character, int(degrees)
