"""Where mini-ImageNet's images lie: an archive or a folder of files named as in Ravi & Larochelle's lists.

Archives are read in memory and never extracted, and only names of the lists are ever asked of them.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from zipfile import ZipFile

from fewshot_bench.errors import DataError
from fewshot_datasets.omniglot_source import UNREADABLE

Read = Callable[[str], bytes]
"""The bytes of an image by its name; KeyError or FileNotFoundError where it is missing."""


@dataclass(frozen=True)
class Source:
    """An archive or a folder that holds images of the lists."""

    path: Path
    sizes: Mapping[str, int]
    """Size in bytes of each listed image that is there, by its name."""

    @contextmanager
    def open(self) -> Iterator[Read]:
        """A function that reads images, for several threads; raises `DataError` naming an archive that is damaged."""
        if self.path.is_dir():
            yield lambda name: (self.path / name).read_bytes()
            return
        try:
            archive = ZipFile(self.path)
        except UNREADABLE as error:
            raise DataError(f"{self.path} is damaged or truncated ({error}). Copy it again.") from error
        lock = Lock()  # a ZipFile counts its readers without one
        with archive:
            members = _members(archive)

            def read(name: str) -> bytes:
                with lock:
                    return archive.read(members[name])

            yield read


def find_source(root: Path | None, names: Collection[str]) -> Source | None:
    """The first place in `root`/mini-imagenet or `root` that holds any image of `names`; None where there is none.

    `mini-imagenet.zip` or `images.zip`, the folder `images`, or the folder itself; within an archive folders do not matter.
    """
    wanted = set(names)
    for folder in (root / "mini-imagenet", root) if root else ():
        for path in (folder / "mini-imagenet.zip", folder / "images.zip", folder / "images", folder):
            try:
                sizes = {name: size for name, size in _sizes(path) if name in wanted}
            except UNREADABLE:
                return Source(path, {})  # its damage is reported where it is opened
            if sizes:
                return Source(path, sizes)
    return None


def _sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each file of an archive or a folder; nothing where there is none."""
    if path.is_dir():
        with os.scandir(path) as entries:
            yield from ((entry.name, entry.stat().st_size) for entry in entries if entry.name.endswith(".jpg"))
    elif path.is_file():
        with ZipFile(path) as archive:
            yield from ((name, archive.getinfo(member).file_size) for name, member in _members(archive).items())


def _members(archive: ZipFile) -> dict[str, str]:
    """The names in an archive by the name of the file alone."""
    return {PurePosixPath(member).name: member for member in archive.namelist()}
