"""CIFAR-FS: the 100 classes of CIFAR-100, 600 images each, split anew for few-shot learning.

Bertinetto, Henriques, Torr & Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019. 64, 16 and 20
classes, drawn at random, in the order of the authors' lists.
"""

import json
from importlib.resources import files

from fewshot_datasets.cifar_100 import Cifar100


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
    text = (files("fewshot_datasets") / "splits" / "cifar-fs" / f"{split}.json").read_text("utf-8")
    return [(superclass, name) for superclass, name in json.loads(text)]
