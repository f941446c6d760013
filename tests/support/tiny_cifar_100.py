"""CIFAR-100 with four classes of three artificial images each, in both forms in which it goes round."""

import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from python2_pickles import python2_pickle

from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.cifar_100.cifar_fs import CifarFs
from fewshot_datasets.cifar_100.manifest import make_manifest

Pixels = npt.NDArray[np.uint8]
CLASSES = {"train": ["wolf", "apple"], "val": ["road"], "test": ["sea"]}
STEMS = ("red_s_000002", "red_s_000010", "manual-green011")  # as found; sorted, the last comes first
FINE = ["apple", "road", "sea", "wolf"]  # as CIFAR-100 numbers its classes: by name


class Tiny(CifarFs):
    """CIFAR-FS with these classes, against a manifest of its own."""

    text = ""

    def manifest(self) -> str:
        """The manifest of the artificial images."""
        return self.text

    def class_names(self, split: str) -> list[str]:
        """The four classes."""
        return CLASSES[split]


def picture(name: str, stem: str) -> Pixels:
    """The pixels [32, 32, 3] of an image, each image its own."""
    seed = list(f"{name}/{stem}".encode())
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)


def png(pixels: Pixels) -> bytes:
    """An image file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_pngs(root: Path) -> str:
    """The folder that the CIFAR-FS authors' archive extracts to, below `root`; and its manifest."""
    for name in FINE:
        (root / "cifar100" / "data" / name).mkdir(parents=True)
        for stem in STEMS:
            (root / "cifar100" / "data" / name / f"{stem}.png").write_bytes(png(picture(name, stem)))
    return "\n".join(make_manifest(Files(root)))


def batch(stems: tuple[str, ...]) -> dict[str, Any]:
    """One batch of CIFAR-100's python archive: in it the classes take turns."""
    members = [(label, name, stem) for stem in stems for label, name in enumerate(FINE)]
    return {
        "data": np.stack([picture(name, stem).transpose(2, 0, 1).reshape(-1) for _, name, stem in members]),
        "fine_labels": [label for label, _, _ in members],
        "filenames": [f"{stem}.png" for _, _, stem in members],
    }


def batches() -> dict[str, dict[str, Any]]:
    """What the three pickles of the python archive hold: two images of each class train, one tests."""
    return {"train": batch(STEMS[:2]), "test": batch(STEMS[2:]), "meta": {"fine_label_names": FINE}}


def write_pickles(folder: Path, held: Mapping[str, Any]) -> None:
    """The folder that CIFAR-100's python archive extracts to."""
    folder.mkdir(parents=True)
    for name, content in held.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else python2_pickle(content))


def pack(folder: Path, archive: Path) -> Path:
    """A folder as a compressed tar."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def images(dataset: CifarFs) -> Pixels:
    """All images of a data set, [n, 3, 32, 32]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))
