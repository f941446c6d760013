"""The files of a data set, read by name from a folder, a zip or a tar archive.

Archives come from strangers: they are read in memory, a file at a time and each up to a bound. Only one that cannot be
read out of order (a compressed tar) is unpacked, into a temporary folder: no path outside it, no links, a bound on the whole.
"""

import os
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO
from zipfile import BadZipFile, ZipFile

from fewshot_bench.errors import DataError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LARGEST_FILE = 2**28
"""Bytes that one file of an archive may have."""
LARGEST_ARCHIVE = 2**38
"""Bytes that an archive may unpack to."""
BROKEN = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, tarfile.TarError, zlib.error, struct.error)
"""What reading a damaged archive raises; RuntimeError: one that is encrypted or packed in an unknown way."""


@dataclass(frozen=True)
class Files:
    """The files of a folder or an archive, by their names in it (`images/a.jpg`). It can be sent to other processes."""

    path: Path

    def names(self) -> list[str]:
        """Every file's name, sorted; raises `DataError` naming an archive that is damaged or none at all."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Size of each file [bytes], by name; raises as `names` does."""
        if self.path.is_dir():
            return dict(_walk(self.path))
        return self._archive().sizes

    def read(self, name: str) -> bytes:
        """A file's content; raises `FileNotFoundError`, or an error of `BROKEN` where it is damaged."""
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        archive = self._archive()
        if name not in archive.sizes:
            raise FileNotFoundError(name)
        if archive.sizes[name] > LARGEST_FILE:
            raise ValueError(f"{name} has {archive.sizes[name]:,} bytes")
        return archive.read(name)

    def _archive(self) -> "_Archive":
        try:
            stat = self.path.stat()
            return _open_archive(self.path, stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            raise DataError(f"No such file or folder: {self.path}.") from None
        except BROKEN as error:
            raise damaged_archive(self.path, error) from error


def damaged_archive(path: Path, error: Exception) -> DataError:
    """The error for an archive that cannot be read."""
    return DataError(f"{path} is damaged or truncated, or no archive ({error}). Copy or download it again.")


def is_archive(path: Path) -> bool:
    """Whether a path is named as an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


@contextmanager
def opened(path: Path, below: Path | None = None) -> Iterator[Files]:
    """The files of a folder or an archive; a compressed tar is unpacked below `below` as long as the block lasts.

    Raises `DataError` for an archive that is damaged, or unsafe to unpack.
    """
    if path.is_dir() or not path.name.lower().endswith(ARCHIVES[2:]):
        yield Files(path)
        return
    if below is not None:
        below.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=below))
    try:
        unpack(path, folder)
        yield Files(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(path: Path, folder: Path, limit: int = LARGEST_ARCHIVE) -> None:
    """Unpack a tar archive into a folder; raises `DataError` for one that is damaged, leads out of the folder, holds links
    or devices, or unpacks to more than `limit` bytes."""
    total = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isdir():
                    continue
                inside = PurePosixPath(member.name)
                if not member.isreg() or inside.is_absolute() or ".." in inside.parts:
                    raise DataError(f"{path} is not unpacked: {member.name!r} is a link or leads out of the folder.")
                total += member.size
                if total > limit:
                    raise DataError(f"{path} is not unpacked: it holds more than {limit:,} bytes.")
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None, "a regular file"
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except BROKEN as error:
        if isinstance(error, OSError) and error.filename is not None:  # of the folder: a full disk is no damage
            raise
        raise damaged_archive(path, error) from error


@dataclass(frozen=True)
class _Archive:
    """An open archive: size of each file, and how one is read."""

    sizes: dict[str, int]
    read: Callable[[str], bytes]


@lru_cache(maxsize=4)
def _open_archive(path: Path, changed: int, size: int) -> _Archive:
    """The archive at `path` as it is since `changed`; open as long as it stays in this cache."""
    return _open_zip(path) if path.suffix.lower() == ".zip" else _open_tar(path)


def _open_zip(path: Path) -> _Archive:
    archive = ZipFile(path)
    sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
    return _Archive(sizes, _one_at_a_time(archive.read))


def _open_tar(path: Path) -> _Archive:
    archive = tarfile.open(path, "r:")  # noqa: SIM115 (open as long as it is cached)
    members = {member.name: member for member in archive if member.isreg()}

    def read(name: str) -> bytes:
        file: IO[bytes] | None = archive.extractfile(members[name])
        assert file is not None, "a regular file"
        return file.read()

    return _Archive({name: member.size for name, member in members.items()}, _one_at_a_time(read))


def _one_at_a_time(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """`read` for several threads."""
    lock = Lock()

    def locked(name: str) -> bytes:
        with lock:
            return read(name)

    return locked


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each file below a folder. Links are followed, but into no folder twice: one may lead back."""
    seen: set[tuple[int, int]] = set()

    def below(path: str, prefix: str) -> Iterator[tuple[str, int]]:
        status = os.stat(path)  # noqa: PTH116 (a Path for each of many files costs more than reading its size)
        if (here := (status.st_dev, status.st_ino)) in seen:
            return
        seen.add(here)
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    if entry.is_dir():
                        yield from below(entry.path, f"{prefix}{entry.name}/")
                    elif entry.is_file():
                        yield prefix + entry.name, entry.stat().st_size
                except OSError:  # a link to nowhere, or to itself
                    continue

    yield from below(str(folder), "")
