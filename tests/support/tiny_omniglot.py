"""An Omniglot of two characters of three drawings each, with a manifest of its own, as folders and as archives."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot_datasets.omniglot.omniglot import Omniglot

Pixels = npt.NDArray[np.uint8]
GREEK, LATIN = "images_background/Greek/character01", "images_evaluation/Latin/character02"
FIRSTS = {GREEK: 0, LATIN: 3}  # the number that a character's drawings are named by, and the seed of its first one
CLASSES = {
    "train": ["Greek/character01/rot000", "Greek/character01/rot090"],
    "val": ["Greek/character01/rot180", "Greek/character01/rot270"],
    "test": ["Latin/character02/rot000"],
}


class Tiny(Omniglot):
    """Omniglot with two characters."""

    def manifest(self) -> str:
        """Hashes of the pixels of the drawings that `write_folders` writes."""
        return "\n".join(
            " ".join([folder, f"{first:04}", *(sha256(pixels(first + i).tobytes()).hexdigest()[:8] for i in range(3))])
            for folder, first in FIRSTS.items()
        )

    def class_names(self, split: str) -> list[str]:
        """Rotations of the first character, and the second one upright."""
        return CLASSES[split]


def pixels(seed: int) -> Pixels:
    """A drawing: a black block of its own on white paper, 105 x 105."""
    drawing = np.full((105, 105), 255, np.uint8)
    drawing[10 + seed : 30 + seed, 20 : 50 + seed] = 0
    return drawing


def png(seed: int) -> bytes:
    """The same as a file of 1 bit."""
    file = BytesIO()
    Image.fromarray(pixels(seed)).convert("1").save(file, "PNG")
    return file.getvalue()


def write_folders(root: Path) -> Path:
    """The drawings as upstream's archives extract, in `root`, which is returned."""
    for folder, first in FIRSTS.items():
        (root / folder).mkdir(parents=True)
        for i in range(3):
            (root / folder / f"{first:04}_{i + 1:02}.png").write_bytes(png(first + i))
    return root


def write_archives(root: Path) -> Path:
    """The same as two archives in `root`, which is returned."""
    root.mkdir(parents=True)
    for folder, first in FIRSTS.items():
        with ZipFile(root / f"{folder.partition('/')[0]}.zip", "w") as archive:
            for i in range(3):
                archive.writestr(f"{folder}/{first:04}_{i + 1:02}.png", png(first + i))
    return root


def images(dataset: Omniglot) -> Pixels:
    """All images of a data set, [n, 1, S, S]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))
