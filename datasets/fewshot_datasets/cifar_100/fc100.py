"""FC100: the 100 classes of CIFAR-100, 600 images each, split by superclass.

Oreshkin, Rodríguez López & Lacoste, "TADAM: Task dependent adaptive metric for improved few-shot learning", NeurIPS 2018.
CIFAR-100's 20 superclasses have five classes each; 12, 4 and 4 of them give 60, 20 and 20 classes. So no test class
has a close relative in training.
"""

from fewshot_datasets.cifar_100.cifar_100 import Cifar100
from fewshot_datasets.cifar_100.cifar_fs import published
from fewshot_datasets.sources.package_files import split_names


class Fc100(Cifar100):
    """CIFAR-100 in Oreshkin et al.'s split; superclasses in the order of its lists, the classes of each sorted by name."""

    title = "FC100"
    folder = "fc100"
    folders = ("fc100", "cifar-100", "cifar-fs")

    def superclasses(self, split: str) -> list[str]:
        """The superclasses of a split, as its published list names them."""
        return split_names("fc100", split)

    def class_names(self, split: str) -> list[str]:
        """The classes of a split's superclasses. CIFAR-FS's lists, which have all 100 classes, say which class is in
        which."""
        members = [pair for other in self.splits for pair in published(other)]
        return [name for one in self.superclasses(split) for name in sorted(name for kin, name in members if kin == one)]
