"""tiered-ImageNet: 608 classes of ImageNet, 779,165 photographs, split by what they show: 351, 97 and 160 classes.

Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle & Zemel, "Meta-learning for semi-supervised few-shot
classification", ICLR 2018. The classes of a split lie under 20, 6 and 8 nodes of WordNet, so that test classes are less like
training classes than in mini-ImageNet. The photographs are ImageNet's and are not passed on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fewshot_bench.data.dataset import ImageClass
from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.imagenet import tiered_imagenet_forms
from fewshot_datasets.imagenet.forms import Classes, Source
from fewshot_datasets.imagenet.subset import ImagenetSubset


class TieredImagenet(ImagenetSubset):
    """tiered-ImageNet at 84 x 84 RGB; classes in the order of the published lists.

    All of a class's training images in ILSVRC2012 belong to it, 732 to 1,300. The published archive has them at 84 x 84 (by
    OpenCV's cubic filter), and they are kept so. ILSVRC2012's own are resized whole, with Pillow's Lanczos filter. Their
    pixels differ, and so does a record's fingerprint. `tiered_imagenet_forms` says which forms are read, and in which order
    images come. Nothing is downloaded.
    """

    folder = "tiered-imagenet"
    title = "tiered-ImageNet"
    lists = "tiered-imagenet"
    wanted = "its published archive (train_images_png.pkl, train_labels.pkl and so on), or ILSVRC2012's class folders"
    published: ClassVar[Mapping[str, int]] = {"train": 448_695, "val": 124_261, "test": 206_209}
    """The number of images of each split."""

    def listed(self) -> Classes:
        """The classes; the lists do not name images."""
        return {
            split: [ImageClass(wnid, ()) for line in self.split_list(split).splitlines() for wnid in line.split()[1:]]
            for split in self.splits
        }

    def recognise(self, files: Files, place: Path, *, pickles: bool) -> Source | None:
        """See `tiered_imagenet_forms`."""
        return tiered_imagenet_forms.recognise(files, place, self.listed(), self.published, pickles=pickles)
