"""CUB-200-2011 with four classes of a few artificial photographs."""

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot_datasets.cub_200.cub_200 import Cub200

Pixels = npt.NDArray[np.uint8]
CLASSES = {"train": ["003.Wren", "001.Auk"], "val": ["002.Jay"], "test": ["004.Gull"]}
COUNTS = {"001.Auk": 2, "002.Jay": 3, "003.Wren": 4, "004.Gull": 2}


class Few(Cub200):
    """Four classes of eleven photographs in all."""

    photographs = 11

    def class_names(self, split: str) -> list[str]:
        """Two classes train."""
        return CLASSES[split]


def jpeg(seed: int, size: tuple[int, int] = (60, 40), mode: str = "RGB", turned: int = 1) -> bytes:
    """A photograph of smooth noise, with EXIF's orientation `turned`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turned
    file = BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def write_folder(root: Path) -> None:
    """What Caltech's archive extracts to."""
    folder = root / "CUB_200_2011"
    names = [f"{name}/{name[4:]}_{i:04}_{7 * i}.jpg" for name, count in COUNTS.items() for i in range(count)]
    for seed, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed, (60, 40) if seed % 2 else (45, 70)))
    (folder / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    (root / "attributes.txt").write_text("1 has_bill_shape::curved\n")


def pack(root: Path, path: Path, prefix: str = "") -> None:
    """What lies in a folder as Caltech's archive: the last files first, with a prefix to all names."""
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:  # so that files of equal sizes make archives of equal sizes
        for file in sorted(root.rglob("*.*"), reverse=True):
            tar.add(file, f"{prefix}{file.relative_to(root)}", recursive=False)


def images(dataset: Cub200) -> Pixels:
    """All images of a data set, [n, 3, S, S]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))
