"""mini-ImageNet: 100 classes of ImageNet, 600 photographs each, in Ravi & Larochelle's split of 64, 16 and 20 classes.

Vinyals et al., "Matching networks for one shot learning", NeurIPS 2016, named the data set. Ravi & Larochelle, "Optimization
as a model for few-shot learning", ICLR 2017, published the lists that everyone uses: `n0153282900000005.jpg` is image 5 of
the class n01532829. The photographs are ImageNet's and are not passed on.

Legend: S the side of a prepared image (84).
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewshot_bench.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.errors import DataError
from fewshot_bench.specs import canonical_json
from fewshot_datasets.mini_imagenet_source import Read, Source, find_source
from fewshot_datasets.omniglot_source import UNREADABLE, check_root
from fewshot_datasets.ranges import expand

SIDE = 84
LARGEST = 64_000_000  # pixels; ImageNet's own largest image has under half of that
BLOCK = 100  # images at once


class MiniImagenet(Dataset):
    """mini-ImageNet at 84 x 84 RGB; classes and images in the order of Ravi & Larochelle's lists, which is that of names.

    An image is resized as a whole, whatever its aspect ratio, with Pillow's Lanczos filter, as Finn et al. do; grey and CMYK
    become RGB. Reads the JPEGs, named as in the lists, from `mini-imagenet.zip` or `images.zip` or a folder, in `root` or
    `root`/mini-imagenet. Nothing is downloaded. Raises `DataError` where `root` is no folder.

    Archives in circulation hold the same photographs in other sizes. None is the official one, so pixels are not checked;
    the identity holds the sizes of the files, and a record the fingerprint of what was prepared.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_root(root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, 84 x 84."""
        return (3, SIDE, SIDE)

    def split_list(self, split: str) -> str:
        """The list of a split, a line a class: its name in WordNet and the numbers of its images."""
        lists = files("fewshot_datasets") / "splits" / "mini-imagenet-ravi"
        return (lists / f"{split}.txt").read_text("utf-8")

    def identity(self) -> str:
        """Changes with the lists, the side, or the size of any image's file; reads no image."""
        return self._identity

    @cached_property
    def _identity(self) -> str:  # asked for several times in a run, and 60,000 sizes take a moment
        lists = "\n".join([*map(self.split_list, self.splits), str(SIDE)])
        source = find_source(self.root, self._names())
        sizes = short(canonical_json(sorted(source.sizes.items()))) if source else "absent"
        return f"mini-imagenet-v1-{short(lists)}-{sizes}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """An image's id is its file's name without `.jpg`: `n0153282900000005`."""
        return {split: [_listed(line) for line in self.split_list(split).splitlines()] for split in self.splits}

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks of up to BLOCK images [n, 3, S, S].

        Raises `DataError` where there is no source, its archive is damaged, or images are missing or unreadable.
        """
        names = self._names()
        source = find_source(self.root, names)
        if source is None:
            raise DataError(absent(self.root))
        damage: list[str] = []
        with source.open() as read, ThreadPoolExecutor() as pool:
            for start in range(0, len(names), BLOCK):
                batch = names[start : start + BLOCK]
                loaded = list(pool.map(lambda name: load(read, name), batch))
                damage += [reason for reason in loaded if isinstance(reason, str)]
                progress(start + len(batch), len(names))
                if not damage:  # else all others are read only to say what is wrong with them
                    yield np.stack([image for image in loaded if not isinstance(image, str)])
        if damage:
            raise DataError(describe(damage, len(names), source))

    def _names(self) -> list[str]:
        return [f"{image}.jpg" for members in self.classes().values() for one in members for image in one.image_ids]


def _listed(line: str) -> ImageClass:
    wnid, *ranges = line.split()
    return ImageClass(wnid, tuple(f"{wnid}{number:08}" for number in expand(ranges)))


def short(text: str) -> str:
    """The first 12 hex digits of a text's sha256."""
    return sha256(text.encode()).hexdigest()[:12]


def load(read: Read, name: str) -> Images | str:
    """An image prepared [3, S, S], or its name and what is wrong with it."""
    try:
        return prepare(read(name))
    except (KeyError, FileNotFoundError):
        return f"{name} (missing)"
    except (*UNREADABLE, Image.DecompressionBombWarning):
        return f"{name} (unreadable)"


def prepare(jpeg: bytes) -> Images:
    """A photograph of any size as [3, S, S]; raises what Pillow raises, or ValueError for too large an image."""
    with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
        if image.width * image.height > LARGEST:  # before decoding: a forged header must not fill the memory
            raise ValueError(f"{image.size} pixels")
        square = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(square, np.uint8).transpose(2, 0, 1)


def absent(root: Path | None) -> str:
    """What to get and where to put it."""
    looked = f"No mini-ImageNet in {root} or {root / 'mini-imagenet'}" if root else "mini-ImageNet needs a data root"
    return (
        f"{looked}: 60,000 JPEGs named as in Ravi & Larochelle's lists (n0153282900000005.jpg).\n"
        "ImageNet's terms allow no download from here: make them of your copy of ILSVRC2012.\n"
        "Put images.zip or the folder images into DIR/mini-imagenet and give DIR by --data-root or FSBENCH_DATA."
    )


def describe(damage: list[str], total: int, source: Source) -> str:
    """The first few damaged images, how many there are, and where they were read."""
    more = f" and {len(damage) - 3} more" if len(damage) > 3 else ""
    return (
        f"{len(damage)} of {total} images of mini-ImageNet are missing or damaged: {', '.join(damage[:3])}{more}.\n"
        f"Read from {source.path}."
    )
