"""CUB-200-2011: 200 species of birds, 11,788 photographs, 41 to 60 of each.

Wah, Branson, Welinder, Perona & Belongie, "The Caltech-UCSD Birds-200-2011 dataset", CNS-TR-2011-001. The split is that of
Chen et al., "A closer look at few-shot classification", ICLR 2019, after the 100, 50 and 50 classes of Hilliard et al.
(2018): every second class is for training, and every second of the others for the test. (Another list in circulation has
140, 30 and 30.)

Legend: n images of a class, S the side of a prepared image (84).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.images.decoding import Photo, decoded
from fewshot_bench.errors import DataError, few
from fewshot_bench.hashing import short_hash
from fewshot_datasets.cub_200.forms import ARCHIVE, FOLDER, Source, find_source
from fewshot_datasets.sources.downloads import Download
from fewshot_datasets.sources.options import check_side
from fewshot_datasets.sources.package_files import split_names
from fewshot_datasets.sources.places import below, check_root, not_found

DOWNLOAD = Download(
    folder="cub-200",
    name=ARCHIVE,
    url=f"https://data.caltech.edu/records/65de6-vp158/files/{ARCHIVE}",
    md5="97eceeb196236b17998738112f37df78",
)
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Centre:
    """As Chen et al. evaluate: an image is squashed to a square of 1.15 times the side, and the middle is kept. (They use
    Pillow's bilinear filter.)"""

    side: int

    def __call__(self, content: bytes) -> Images:
        """The pixels [3, S, S]; raises what `Photo` raises."""
        wide = int(self.side * 1.15)
        edge = round((wide - self.side) / 2)
        middle = slice(edge, edge + self.side)
        return np.ascontiguousarray(Photo(wide, "squash", upright=False)(content)[:, middle, middle])


class Cub200(Dataset):
    """CUB-200-2011 at 84 x 84 RGB; classes in the order of the committed lists, the images of each sorted by name.

    Reads Caltech's `CUB_200_2011.tgz`, or the folder that it extracts to, in `root`, which may be the archive itself, in
    `root`/cub-200, where `fsbench data import` was pointed, or among the downloads. No hash of the photographs is published,
    so only their number is checked, and their names if the authors' list lies beside them. Raises `DataError` where `root`
    does not exist, `UsageError` for an impossible side.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"side": 84}  # pixels
    folder = "cub-200"
    photographs: ClassVar[int] = 11_788

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_root(root)
        check_side(self.options["side"], 1, LARGEST_SIDE)

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, S x S."""
        return (3, self.options["side"], self.options["side"])

    def class_names(self, split: str) -> list[str]:
        """The classes of a split in the order of its list: `001.Black_footed_Albatross`."""
        return split_names("cub-200", split)

    def identity(self) -> str:
        """Changes with the lists, the side, or the name or size of any photograph's file; equal for archive and folder."""
        if self._source is None and self.imported:
            return self.imported.identity
        lists = [*map(self.class_names, self.splits), self.options["side"]]
        sizes = short_hash(sorted(self._source.sizes.items())) if self._source else "absent"
        return f"cub-200-v1-{short_hash(lists)}-{sizes}"

    def identified(self) -> bool:
        """False if the archive must still be read through for the names in it."""
        return self._source is None or self._source.listed()

    def classes(self) -> dict[str, list[ImageClass]]:
        """An image's id is class and file: `001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111`.

        Raises `DataError` where there is no source, or it lacks classes or photographs: only the source has their names.
        """
        return {
            split: [ImageClass(name, tuple(file.removesuffix(".jpg") for file in self._named[name])) for name in names]
            for split, names in ((split, self.class_names(split)) for split in self.splits)
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [n, 3, S, S] a class.

        Raises `DataError` where there is no source, its archive is damaged, or photographs are missing or unreadable.
        """
        source = self._present()
        groups = [self._named[name] for split in self.splits for name in self.class_names(split)]
        with source.open() as photographs:
            where = f"Read from {source.path}; copy or download it again."  # not from where that was unpacked
            yield from decoded(photographs, groups, Centre(self.options["side"]), progress, where)

    def found(self) -> Path | None:
        """The archive or folder that is read."""
        return self._source.path if self._source else None

    def download(self) -> list[Path]:
        """Fetch Caltech's archive into the cache, where it is found from then on; raises `DataError`."""
        return [DOWNLOAD.fetch()]

    @cached_property
    def _source(self) -> Source | None:
        imported = self.imported.path if self.imported else None
        return find_source([*self.places(), *below(imported, [self.folder]), DOWNLOAD.place()])

    def _present(self) -> Source:
        if self._source is None:
            raise not_found(
                "CUB-200-2011",
                self.root,
                self.places(),
                f"it is Caltech's {ARCHIVE}, which `fsbench data get {self.folder}` downloads (1.1 GB).\n"
                f"Or put it, or its extracted folder {FOLDER}, into a folder and name that with --data-root or "
                "FSBENCH_DATA.",
            )
        return self._source

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """The names of each class's files, sorted; complete."""
        source = self._present()
        named = {name: list(group) for name, group in groupby(source.sizes, lambda file: file.partition("/")[0])}
        wanted = {name for split in self.splits for name in self.class_names(split)}
        faults = [f"{name} (class missing)" for name in sorted(wanted - named.keys())]
        faults += [f"{name} (not a class of CUB-200-2011)" for name in sorted(named.keys() - wanted)]
        faults += [f"{name} (missing)" for name in source.published() if name not in source.sizes]
        if faults or len(source.sizes) != self.photographs:
            raise DataError(
                f"{source.path} has {len(source.sizes):,} photographs of {len(named)} classes, not {self.photographs:,} of "
                f"{len(wanted)}{': ' if faults else ''}{few(faults)}.\nCopy or download it again.",
                faults,
            )
        return named
