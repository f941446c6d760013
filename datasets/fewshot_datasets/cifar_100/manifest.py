"""The manifest of CIFAR-100 as CIFAR-FS has it: every class's image files, and a hash of their decoded pixels.

A class is a line `apple 8e5232b6f8085457`, with the hash of its pixels in the order of its files. The files stand in
indented lines below, a line each series of names: `apple_s_###### 22-23 27` is apple_s_000022.png, apple_s_000023.png and
apple_s_000027.png. The pixels are hashed and not the files, because archives are repacked. Made by
`python -m fewshot_datasets.cifar_100.manifest PATH/cifar100.zip`.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.sources.package_files import manifest_of
from fewshot_datasets.sources.ranges import compact, expand

SIDE = 32
FOLDER = "cifar100/data"
IMAGE = re.compile(rf"{FOLDER}/(?P<folder>[a-z_]+)/(?P<stem>[\w-]+)\.png", re.ASCII)
NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)")


@dataclass(frozen=True)
class Listed:
    """What the manifest says of a class."""

    name: str
    pixels: str
    """Hash of all its pixels."""
    stems: tuple[str, ...]
    """File names without `.png`, sorted."""

    def path(self, stem: str) -> str:
        """The name of an image's file in the archive."""
        return f"{FOLDER}/{self.name}/{stem}.png"


def manifest_text() -> str:
    """The committed manifest: 100 classes of 600 images."""
    return manifest_of("cifar-fs.txt")


def parse_manifest(text: str) -> dict[str, Listed]:
    """The classes of a manifest by name."""
    blocks = (block.splitlines() for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if block)
    return {
        name: Listed(name, pixels, tuple(sorted(stem for line in series for stem in _stems(line))))
        for (name, pixels), series in ((head.split(), series) for head, *series in blocks)
    }


def _stems(series: str) -> list[str]:
    pattern, *ranges = series.split()
    prefix = pattern.rstrip("#")
    return [f"{prefix}{number:0{len(pattern) - len(prefix)}}" for number in expand(ranges)]


def load_rgb(png: bytes) -> Images:
    """An image decoded [3, SIDE, SIDE]; raises what Pillow raises, or ValueError for another size."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if image.size != (SIDE, SIDE):  # before decoding: a forged header must not fill the memory
            raise ValueError(f"{image.size} pixels")
        return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)


def pixel_hash(images: Iterable[Images]) -> str:
    """The first 16 hex digits of the sha256 of some images' pixels."""
    sha = sha256()
    for image in images:
        sha.update(image.tobytes())
    return sha.hexdigest()[:16]


def make_manifest(source: Files) -> Iterator[str]:
    """The lines of a manifest of the authors' archive, or of the folder that it was extracted in."""
    matches = filter(None, map(IMAGE.fullmatch, source.names()))
    for name, members in groupby(matches, lambda match: match["folder"]):
        stems = sorted(match["stem"] for match in members)
        pixels = pixel_hash(load_rgb(source.read(f"{FOLDER}/{name}/{stem}.png")) for stem in stems)
        yield f"{name} {pixels}"
        series = defaultdict(list)
        for match in filter(None, map(NUMBERED.fullmatch, stems)):
            series[match["prefix"] + "#" * len(match["number"])].append(int(match["number"]))
        yield from (" ".join(["", pattern, *compact(numbers)]) for pattern, numbers in series.items())


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in make_manifest(Files(Path(sys.argv[1]))))
