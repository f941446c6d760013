"""mini-ImageNet: 100 classes of ImageNet, 600 photographs each, in Ravi & Larochelle's split of 64, 16 and 20 classes.

Vinyals et al., "Matching networks for one shot learning", NeurIPS 2016, named the data set. Ravi & Larochelle, "Optimization
as a model for few-shot learning", ICLR 2017, published the lists that everyone uses: `n0153282900000005.jpg` is image 5 of
the class n01532829. The photographs are ImageNet's and are not passed on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fewshot_bench.data.dataset import ImageClass
from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.imagenet import mini_imagenet_forms
from fewshot_datasets.imagenet.forms import Classes, Source
from fewshot_datasets.imagenet.subset import ImagenetSubset
from fewshot_datasets.sources.ranges import expand


class MiniImagenet(ImagenetSubset):
    """mini-ImageNet at 84 x 84 RGB; classes in the order of Ravi & Larochelle's lists, which is that of names.

    An image is resized as a whole, whatever its aspect ratio, with Pillow's Lanczos filter, as Finn et al. do; grey and CMYK
    become RGB. `mini_imagenet_forms` says which forms are read, and in which order images come; `variant` says which form
    was found. Nothing is downloaded.

    Archives in circulation hold the same photographs in other sizes, made with other filters. None is the official one, so
    pixels are not checked; a record has the fingerprint of the prepared pixels.
    """

    folder = "mini-imagenet"
    title = "mini-ImageNet"
    lists = "mini-imagenet-ravi"
    wanted = (
        "images named as in Ravi & Larochelle's lists (n0153282900000005.jpg; in a folder images or images.zip), "
        "a folder for each class, pickled arrays, or ILSVRC2012"
    )
    fewer: ClassVar[Mapping[str, int]] = {
        "n01704323": 1266,
        "n02089867": 1025,
        "n02606052": 969,
        "n03062245": 1154,
        "n03075370": 1216,
        "n03400231": 1222,
        "n04418357": 1264,
        "n04443257": 1250,
        "n04612504": 1206,
        "n07584110": 1207,
    }
    """The number of training images in ILSVRC2012 of the classes that have fewer than 1,300, by its development kit
    (`num_train_images`). The kit's numbers sum to the published ones of each split of tiered-ImageNet; Meta-Dataset's own
    counts, with the duplicates that it leaves out, are the same."""

    def listed(self) -> Classes:
        """An image's id is its name in the lists: `n0153282900000005`."""
        return {split: [_class(line) for line in self.split_list(split).splitlines()] for split in self.splits}

    def classes(self) -> Classes:
        """The classes of the source, or those of the lists if there is no source. Raises `DataError` for another data
        set."""
        return super().classes() if self.source or self.imported else self.listed()

    def recognise(self, files: Files, place: Path, *, pickles: bool) -> Source | None:
        """See `mini_imagenet_forms`."""
        return mini_imagenet_forms.recognise(files, place, self.listed(), self.fewer, pickles=pickles)


def _class(line: str) -> ImageClass:
    wnid, *ranges = line.split()
    return ImageClass(wnid, tuple(f"{wnid}{number:08}" for number in expand(ranges)))
