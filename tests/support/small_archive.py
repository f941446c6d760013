"""mini-ImageNet with few and artificial photographs, read from an archive as the real one is."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet

CLASSES = {"train": range(10, 30), "val": range(40, 45), "test": range(50, 55)}
IMAGES = 30  # of a class


class SmallArchive(MiniImagenet):
    """20, 5 and 5 classes of 30 images."""

    def split_list(self, split: str) -> str:
        """Names as ImageNet's."""
        return "\n".join(f"n000000{number} 1-{IMAGES}" for number in CLASSES[split])


def pack(root: Path) -> None:
    """Write `mini-imagenet/images.zip` below a data root: each class a pattern of 3 x 3 colours, under noise, as JPEGs."""
    (root / "mini-imagenet").mkdir()
    with ZipFile(root / "mini-imagenet" / "images.zip", "w") as archive:
        for number in (number for numbers in CLASSES.values() for number in numbers):
            random = np.random.default_rng(number)
            pattern = random.integers(30, 226, (3, 3, 3)).repeat(20, 0).repeat(30, 1)  # 60 x 90 pixels
            for image in range(1, IMAGES + 1):
                pixels = (pattern + random.integers(-30, 31, pattern.shape)).astype(np.uint8)
                file = BytesIO()
                Image.fromarray(pixels).save(file, "JPEG")
                archive.writestr(f"images/n000000{number}{image:08}.jpg", file.getvalue())
