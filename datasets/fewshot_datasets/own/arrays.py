"""Images and labels of your own, as arrays of one .npz file.

Legend: n images, C channels (1 or 3), H x W pixels.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot_bench.data.dataset import ImageClass, Images, Progress
from fewshot_bench.data.images.decoding import resized
from fewshot_bench.errors import DataError
from fewshot_datasets.own.npz import EXPECTED, Layout, Npz, layout, no_npz
from fewshot_datasets.own.own_images import NAMED, OwnImages, Split, only_one, split_beside
from fewshot_datasets.own.own_split import composed, few, to_splits

AT_ONCE = 256
"""Images of a block."""


class Arrays(OwnImages):
    """`root` is an .npz file, or a folder that holds just one: images [n, H, W], [n, H, W, C] or [n, C, H, W] in uint8.

    Labels [n] are integers or texts; `names`, if there, has the class name of each integer. The split comes from the file
    that option `split` names, else from `split.csv` in a folder `root`, else from an array `splits` [n] with the split of
    each image's class. Otherwise it is drawn. Classes are sorted by label; an image's id is class and place, `cat/1203`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "side": 0,  # pixels; 0: the images stay as they are
        "resize": "crop",  # crop: the square in the middle; squash: all of the image
        "images": "images",  # the names of the arrays
        "labels": "labels",
        "names": "names",
        "splits": "splits",
        "split": "",  # a file `class,split`
        "split_seed": 0,  # the seed of a drawn split
    }
    smallest_side = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the array's images, or of a square to which they are resized."""
        c, h, w = self._layout.shape
        return (c, self.options["side"], self.options["side"]) if self.options["side"] else (c, h, w)

    @cached_property
    def members(self) -> list[ImageClass]:
        """All classes, sorted by label, their images in the array's order; raises `DataError` for arrays that do not fit."""
        return [ImageClass(name, tuple(f"{name}/{row}" for row in rows)) for name, rows in self._rows.items()]

    def stated_split(self) -> Split | None:
        """The split of a split file, else of the array `splits`; raises `DataError` for one that cannot be used."""
        assert self.root is not None, "the classes were found"
        if beside := split_beside(self.root, self.options["split"]):
            return beside
        if not (key := self.options["splits"]) or key not in self._npz.headers:
            return None
        where = f"array {key!r} of {self._npz.path}"
        stated = self._npz.texts(key, "splits")
        if len(stated) != len(self._labels):
            raise DataError(f"There are {len(self._labels):,} labels and {len(stated):,} entries of {where}.")
        named = {name: sorted({str(stated[row]) for row in rows}) for name, rows in self._rows.items()}
        return Split(to_splits(named, where), where)

    def contents(self) -> list[Any]:
        """CRC-32 of the images, and the images of each class."""
        crc = self._npz.headers[self.options["images"]].crc
        return [crc, [[name, rows.tolist()] for name, rows in self._rows.items()]]

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks [n, C, H, W]; raises `DataError` where the file is damaged."""
        images = self._layout.channels_first(self._npz.read(self.options["images"]))  # [n, C, H, W]
        done, total = 0, len(images)
        for members in self.classes().values():
            for one in members:
                rows = self._rows[one.name]
                for first in range(0, len(rows), AT_ONCE):
                    block = images[rows[first : first + AT_ONCE]]
                    done += len(block)
                    progress(done, total)
                    yield block if not self.options["side"] else self._resized(block)

    def _resized(self, block: Images) -> Images:
        """[n, C, H, W] -> [n, C, side, side]."""
        pictures = block[:, 0] if block.shape[1] == 1 else block.transpose(0, 2, 3, 1)
        side, resize = self.options["side"], self.options["resize"]
        return np.stack([resized(Image.fromarray(np.ascontiguousarray(one)), side, resize) for one in pictures])

    @cached_property
    def _npz(self) -> Npz:
        root = self.root
        if root is None:
            raise DataError(f"Say where your arrays are: --data-root images.npz.{NAMED}\n{EXPECTED}")
        path = only_one(root, (".npz",)) if root.is_dir() else root
        if path is None:
            raise no_npz(root)
        return Npz(path)

    @cached_property
    def _layout(self) -> Layout:
        return layout(self._npz, self.options["images"])

    @cached_property
    def _labels(self) -> npt.NDArray[Any]:
        """[n]"""
        labels = self._npz.labels(self.options["labels"])
        if len(labels) != self._layout.images:
            raise DataError(
                f"{self._npz.path} has {self._layout.images:,} images and {len(labels):,} labels: give each one."
            )
        return labels

    @cached_property
    def _rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """The rows of each class, by its name, in the order of the labels."""
        values, place = np.unique(self._labels, return_inverse=True)
        names = [composed(str(name)) for name in self._class_names(values)]
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise DataError(f"{self._npz.path} gives several classes one name: {few(twice)}.")
        rows = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        return dict(zip(names, rows, strict=True))

    def _class_names(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The name of each label."""
        key = self.options["names"]
        if values.dtype.kind == "U" or not key or key not in self._npz.headers:
            return values
        names = self._npz.texts(key, "names")
        if len(names) <= values[-1] or values[0] < 0 or len(names) == len(self._labels) > len(values):
            raise DataError(
                f"Array {key!r} of {self._npz.path} must name each label: it has {len(names):,} names, and labels go from "
                f"{values[0]} to {values[-1]}.\nWithout names: --set data.names="
            )
        chosen: npt.NDArray[Any] = names[values]
        return chosen
