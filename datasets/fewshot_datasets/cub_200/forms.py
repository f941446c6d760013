"""Where the photographs of CUB-200-2011 lie: Caltech's archive, the folder that it extracts to, or that folder's `images`.

The archive is a compressed tar, which cannot be read out of order, so it is unpacked while it is prepared. The names in it
are listed by one pass over its 1.1 GB; the list is kept in the cache.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.files.source_files import Files, damaged_archive, opened
from fewshot_bench.data.images.decoding import is_image
from fewshot_datasets.sources.kept import find_kept, kept

FOLDER = "CUB_200_2011"
ARCHIVE = f"{FOLDER}.tgz"
COMPRESSED = (".tgz", ".tar.gz")
IMAGES = f"{FOLDER}/images/"


@dataclass(frozen=True)
class Source:
    """The archive, or the folder with a folder for each class."""

    path: Path

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Size of each photograph's file [bytes], by its name `<class>/<file>.jpg`; raises `DataError` for damage."""
        if self.path.is_dir():
            sizes = Files(self.path).sizes()
        else:
            listed = {str(PurePosixPath(name)): size for name, size in _listed(self.path).items()}  # without a leading ./
            sizes = {k.removeprefix(IMAGES): v for k, v in listed.items() if k.startswith(IMAGES)}
        return {name: size for name, size in sorted(sizes.items()) if is_image(name)}

    def listed(self) -> bool:
        """Whether `sizes` needs no pass over the archive; raises `DataError` where that cannot be read."""
        return self.path.is_dir() or find_kept("listings", _made_of(self.path)) is not None

    def published(self) -> list[str]:
        """The photographs that the authors' list beside the folder names, if it is there."""
        with suppress(OSError):
            lines = (self.path.parent / "images.txt").read_text("utf-8").splitlines()
            return [line.partition(" ")[2] for line in lines]
        return []

    @contextmanager
    def open(self) -> Iterator[Files]:
        """The photographs, to be read by their names; raises `DataError` for an archive that is damaged."""
        with opened(self.path, below=cache_folder()) as files:
            yield files if self.path.is_dir() else Files(files.path / IMAGES)


def find_source(places: Iterable[Path]) -> Source | None:
    """The first place that is, or holds, the archive or the folder of photographs."""
    for place in places:
        if place.is_file() and place.name.lower().endswith(COMPRESSED):
            return Source(place)
        for folder in (place / FOLDER / "images", place / "images", place):
            if next(folder.glob("[0-9][0-9][0-9].*/"), None):
                return Source(folder)
        if (place / ARCHIVE).is_file():
            return Source(place / ARCHIVE)
    return None


def _listed(archive: Path) -> dict[str, int]:
    """Size of each file in the archive, by name; raises `DataError` for damage."""
    return kept("listings", _made_of(archive), Files(archive).sizes)


def _made_of(archive: Path) -> list[object]:
    """What identifies the list that is kept: the archive's size, and its end, which is the CRC-32 of its content. Raises
    `DataError`."""
    try:
        size = archive.stat().st_size
        with archive.open("rb") as file:
            file.seek(max(0, size - 8))
            return [FOLDER, size, file.read().hex()]
    except OSError as error:
        raise damaged_archive(archive, error) from error
