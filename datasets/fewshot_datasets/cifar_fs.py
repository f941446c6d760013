"""CIFAR-FS: the 100 classes of CIFAR-100, 600 images each, split anew for few-shot learning.

Bertinetto, Henriques, Torr & Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019; the images are
Krizhevsky's (2009). 64, 16 and 20 classes, in the order of the authors' lists; a class's images are sorted by file name.

Legend: I images of a class (600), S the side of an image (32).
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_bench.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import DataError
from fewshot_datasets.cifar_fs_manifest import SIDE, Listed, find_source, load_rgb, manifest_text, parse_manifest, pixel_hash
from fewshot_datasets.omniglot_source import UNREADABLE, Part, check_root, open_part


class CifarFs(Dataset):
    """CIFAR-FS at its own 32 x 32 RGB, in Bertinetto et al.'s split.

    Reads the authors' archive `cifar100.zip`, or the folder it extracts to, in `root` or `root`/cifar-fs; there is no
    address that it could be downloaded from. Raises `DataError` where `root` is no folder.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_root(root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, 32 x 32."""
        return (3, SIDE, SIDE)

    def manifest(self) -> str:
        """The text of the manifest that the images are checked against."""
        return manifest_text()

    def class_names(self, split: str) -> list[str]:
        """The classes of a split in the order of its published list."""
        published = files("fewshot_datasets") / "splits" / "cifar-fs" / f"{split}.json"
        return [name for _, name in json.loads(published.read_text("utf-8"))]  # beside its superclass

    def identity(self) -> str:
        """Changes with the manifest or the split lists; reads no image."""
        text = "\n".join([self.manifest(), *(" ".join(self.class_names(split)) for split in self.splits)])
        return f"cifar-fs-v1-{sha256(text.encode()).hexdigest()[:12]}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """An image's id is class and file: `apple/crabapple_s_000125`."""
        return {
            split: [ImageClass(one.name, tuple(f"{one.name}/{stem}" for stem in one.stems)) for one in members]
            for split, members in self._listed().items()
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [I, 3, S, S] a class.

        Raises `DataError` where the source is not found, its archive is damaged, or images are missing, unreadable or
        altered; the last are known by class alone.
        """
        path = find_source(self.root)
        listed = [one for members in self._listed().values() for one in members]
        total = sum(len(one.stems) for one in listed)
        damage: list[str] = []
        done = 0
        with open_part(path) as part:
            for one in listed:
                block, found = read_class(part, one)
                damage += found
                done += len(one.stems)
                progress(done, total)
                if not damage:  # else all others are read only to say what is wrong with them
                    yield block
        if damage:
            more = f" and {len(damage) - 3} more" if len(damage) > 3 else ""
            raise DataError(
                f"Images of CIFAR-FS are missing or damaged: {', '.join(damage[:3])}{more}.\n"
                f"Read from {path}; copy or download it again."
            )

    def _listed(self) -> dict[str, list[Listed]]:
        manifest = parse_manifest(self.manifest())
        return {split: [manifest[name] for name in self.class_names(split)] for split in self.splits}


def read_class(part: Part, one: Listed) -> tuple[Images, list[str]]:
    """The images of a class [I, 3, S, S], and what is wrong with them."""
    block = np.zeros((len(one.stems), 3, SIDE, SIDE), np.uint8)
    damage = []
    for i, stem in enumerate(one.stems):
        try:
            block[i] = load_rgb(part.read(one.path(stem)))
        except (KeyError, FileNotFoundError):
            damage.append(f"{one.path(stem)} (missing)")
        except UNREADABLE:
            damage.append(f"{one.path(stem)} (unreadable)")
    if not damage and pixel_hash([block]) != one.pixels:
        damage.append(f"class {one.name} (some images altered)")
    return block, damage
