"""CIFAR-FS: the 100 classes of CIFAR-100, 600 images each, in a split for few-shot learning.

Bertinetto, Henriques, Torr & Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019. 64, 16 and 20
classes, drawn at random, in the order of the authors' lists.
"""

import json

from fewshot_datasets.cifar_100.cifar_100 import Cifar100
from fewshot_datasets.sources.package_files import split_text


class CifarFs(Cifar100):
    """CIFAR-100 in Bertinetto et al.'s split."""

    title = "CIFAR-FS"
    folder = "cifar-fs"
    folders = ("cifar-fs", "cifar-100")

    def class_names(self, split: str) -> list[str]:
        """The classes of a split in the order of its published list."""
        return [name for _, name in published(split)]


def published(split: str) -> list[tuple[str, str]]:
    """A split's published list: superclass and class of each class."""
    return [(superclass, name) for superclass, name in json.loads(split_text("cifar-fs", f"{split}.json"))]
