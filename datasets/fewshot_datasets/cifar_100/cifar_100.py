"""CIFAR-100, which CIFAR-FS and FC100 split in their own ways: 100 classes of 600 colour photographs of 32 x 32 pixels.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The images of a class, from the original training
and test sets together, are sorted by the names of their files.

Legend: I images of a class (600), S the side of an image (32).
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.images.decoding import undamaged
from fewshot_bench.errors import DataError, few
from fewshot_datasets.cifar_100.forms import Source, find_source, read_classes
from fewshot_datasets.cifar_100.manifest import SIDE, Listed, manifest_text, parse_manifest
from fewshot_datasets.sources.downloads import Download
from fewshot_datasets.sources.places import below, check_root, not_found

DOWNLOAD = Download(
    folder="cifar-100",
    name="cifar-100-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",  # as torchvision pins it
)


class Cifar100(Dataset):
    """CIFAR-100 at its own 32 x 32 RGB, in a split that a subclass names.

    Reads CIFAR-100's python archive, the archive of the CIFAR-FS authors, or the folder that either extracts to: each gives
    the same pixels, which a manifest verifies class by class. Looks in `root`, which may be the archive itself, in its
    `folders`, where `fsbench data import` was pointed, and among the downloads. Raises `DataError` where `root`
    does not exist.
    """

    title: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    """Its folders below a data root, in the order in which they are searched."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        check_root(root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """RGB, 32 x 32."""
        return (3, SIDE, SIDE)

    @abstractmethod
    def class_names(self, split: str) -> list[str]:
        """The classes of a split, in their order."""

    def manifest(self) -> str:
        """The text of the manifest that the images are checked against."""
        return manifest_text()

    def places(self) -> list[Path]:
        """Where its files may lie: the root's folders for it, the root."""
        return below(self.root, self.folders)

    def identity(self) -> str:
        """Changes with the manifest or the split lists; reads no image. The pixels of every archive are equal."""
        text = "\n".join([self.manifest(), *(" ".join(self.class_names(split)) for split in self.splits)])
        return f"{self.folder}-v1-{sha256(text.encode()).hexdigest()[:12]}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """An image's id is class and file: `apple/crabapple_s_000125`."""
        return {
            split: [ImageClass(one.name, tuple(f"{one.name}/{stem}" for stem in one.stems)) for one in members]
            for split, members in self._listed().items()
        }

    def found(self) -> Path | None:
        """The archive or folder that is read."""
        source = self._source()
        return source.path if source else None

    def variant(self) -> str:
        """Which archive is read; "" if there is none, as may be the case once its images are prepared."""
        source = self._source()
        return source.variant if source else ""

    def images(self, progress: Progress) -> Iterator[Images]:
        """One block [I, 3, S, S] a class.

        Raises `DataError` where the source is not found, its archive is damaged or another one, or images are missing,
        unreadable or altered. For altered images only the class is known.
        """
        source = self._source()
        if source is None:
            raise self._absent()
        listed = [one for members in self._listed().values() for one in members]
        total = sum(len(one.stems) for one in listed)
        where = f"Read from {source.path}; copy or download it again."
        yield from undamaged(
            read_classes(source, listed),
            total,
            progress,
            lambda damaged: DataError(f"Images of {self.title} are missing or damaged: {few(damaged)}.\n{where}", damaged),
        )

    def download(self) -> list[Path]:
        """Fetch CIFAR-100's python archive into the cache, where it is found from then on; raises `DataError`."""
        return [DOWNLOAD.fetch()]

    def _source(self) -> Source | None:
        imported = self.imported.path if self.imported else None
        return find_source([*self.places(), *below(imported, self.folders), DOWNLOAD.place()])

    def _absent(self) -> DataError:
        return not_found(
            self.title,
            self.root,
            self.places(),
            f"it is made from {DOWNLOAD.name}, which `fsbench data get {self.folder}` downloads,\n"
            "or from the CIFAR-FS authors' cifar100.zip, linked at https://github.com/bertinetto/r2d2.\n"
            "Put either, or its extracted folder, into a folder and name that with --data-root or FSBENCH_DATA.",
        )

    def _listed(self) -> dict[str, list[Listed]]:
        manifest = parse_manifest(self.manifest())
        return {split: [manifest[name] for name in self.class_names(split)] for split in self.splits}
