"""Omniglot's manifest: a short hash of every drawing's decoded pixels, so that a missing or damaged image can be named.

Archives are packed anew by every mirror, so the pixels are hashed and not the files. One line a character:
`images_background/Greek/character01 DDDD hash hash …`, for the drawings DDDD_01.png, DDDD_02.png, … of that folder.
Made by `python -m fewshot_datasets.omniglot.manifest FOLDER`.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from PIL import Image

from fewshot_datasets.omniglot.halves import both_halves, find_halves, load_grey
from fewshot_datasets.sources.package_files import manifest_of

DRAWING = re.compile(r"(?P<folder>images_\w+/[^/\s]+/character\d\d)/(?P<number>\d{4})_\d\d\.png")


@dataclass(frozen=True)
class Character:
    """One character: its folder, the number that its drawings' names start with, and a hash of each drawing."""

    folder: str
    number: str
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """`Greek/character01`, as the split lists call it."""
        return self.folder.partition("/")[2]

    @property
    def stems(self) -> tuple[str, ...]:
        """The drawings' file names without `.png`, one for each hash."""
        return tuple(f"{self.number}_{i:02}" for i in range(1, len(self.hashes) + 1))


def pixel_hash(grey: Image.Image) -> str:
    """The first 8 hex digits of the sha256 of the grey pixels: enough to notice damage, no defence against malice."""
    return sha256(grey.tobytes()).hexdigest()[:8]


def manifest_text() -> str:
    """The committed manifest of the whole of Omniglot: 964 + 659 characters of 20 drawings."""
    return manifest_of("omniglot.txt")


def parse_manifest(text: str) -> list[Character]:
    """The characters of a manifest, in its order."""
    rows = (line.split() for line in text.splitlines())
    return [Character(folder, number, tuple(hashes)) for folder, number, *hashes in rows]


def make_manifest(folder: Path) -> Iterator[str]:
    """The lines of a manifest of the Omniglot in a folder; raises `DataError` where it is not there, or damaged."""
    halves = both_halves(find_halves([folder]), [folder])
    matches = filter(None, map(DRAWING.fullmatch, sorted(halves.names())))
    for (character, number), drawings in groupby(matches, lambda match: match.group("folder", "number")):
        yield " ".join([character, number, *(pixel_hash(load_grey(halves.read(match.group()))) for match in drawings)])


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in make_manifest(Path(sys.argv[1])))
