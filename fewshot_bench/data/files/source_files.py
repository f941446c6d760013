"""The files of a data set, read by name from a folder, a zip or a tar archive.

Archives come from strangers: one that is cut, or has links or paths that lead out of it, is refused. They are read in
memory, a file at a time and each up to a bound. Only one that cannot be read out of order (a compressed tar) is unpacked
into a temporary folder, with a bound on the whole.
"""

import errno
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from platform import node
from threading import Lock
from typing import IO
from zipfile import BadZipFile, ZipFile

from fewshot_bench.data.files.archives import Tar, tar, tar_members, zip_members
from fewshot_bench.data.files.file_kinds import FIRST, kind_of
from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.inputs.plain_files import check_regular, open_regular, read_regular
from fewshot_bench.storage import lives

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
READ_AS = {
    "a zip archive": ".zip",
    "a tar archive": ".tar",
    "packed by gzip": ".tar.gz",
    "packed by bzip2": ".tar.bz2",
    "packed by xz": ".tar.xz",
}
"""How an archive is to be named, by what its first bytes tell (`kind_of`)."""
LARGEST_FILE = 2**28
"""The most bytes of a file that is read as a whole."""
LARGEST_ARCHIVE = 2**38
"""The most bytes to which an archive may unpack."""
BROKEN = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    OverflowError,
    BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    struct.error,
)
"""What reading a damaged archive raises; RuntimeError: one that is encrypted or packed in an unknown way."""


@dataclass(frozen=True)
class Walked:
    """What a folder or an archive holds. (An archive has no links.)"""

    stamps: dict[str, tuple[int, int]]
    """Size [bytes] and time of change [ns] of each file, by name, in no order."""
    again: dict[str, str] = field(default_factory=dict)
    """Folders that links lead to a second time, and where their files are listed: `kitten` for the same folder as `cat`."""
    nowhere: list[str] = field(default_factory=list)
    """Links that lead to nothing, and what is neither a file nor a folder (a pipe, a device)."""


@dataclass(frozen=True)
class Files:
    """The files of a folder or an archive, by their names in it (`images/a.jpg`). It can be sent to other processes."""

    path: Path

    def names(self) -> list[str]:
        """Every file's name, sorted; raises `DataError` naming an archive that is damaged or none at all."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Size of each file [bytes], by name; raises as `names` does."""
        return {name: size for name, (size, _) in self.stamps().items()}

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size [bytes] and time of change [ns] of each file, by name, in no order; those of an archive share its time.
        Raises as `names` does."""
        return self.walked().stamps

    def walked(self) -> Walked:
        """All that there is, by name; raises as `names` does."""
        if not self.path.is_dir():
            sizes = self._archive().sizes
            changed = self.path.stat().st_mtime_ns
            return Walked({name: (size, changed) for name, size in sizes.items()})
        try:
            return _walk(self.path)
        except OSError as error:
            raise DataError(f"Cannot read the folder {error.filename}: {error.strerror}.") from error

    def sums(self) -> dict[str, int] | None:
        """CRC-32 of each file, by name, if the archive lists them; raises as `names` does."""
        return None if self.path.is_dir() else self._archive().sums

    def read(self, name: str) -> bytes:
        """A file's content; raises `FileNotFoundError`, or an error of `BROKEN` where it is damaged or too large."""
        if self.path.is_dir():
            return read_regular(self.path / name, LARGEST_FILE)
        archive = self._archive()
        if name not in archive.sizes:
            raise FileNotFoundError(name)
        if archive.sizes[name] > LARGEST_FILE:
            raise OSError(errno.EFBIG, f"it has {archive.sizes[name]:,} bytes", name)
        return archive.read(name)

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """A file to be read piece by piece, whatever its size; raises as `read` does."""
        if self.path.is_dir():
            with open_regular(self.path / name) as file:
                yield file
        elif name not in self._archive().sizes:
            raise FileNotFoundError(name)
        elif self.path.suffix.lower() == ".zip":
            with ZipFile(self.path) as zipped, zipped.open(zip_members(zipped, self.path)[name]) as file:
                yield file
        else:
            with tar(self.path) as archive, _extracted(archive, name) as file:
                yield file

    def _archive(self) -> "_Archive":
        try:
            status = self.path.stat()
            return _open_archive(self.path, status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            raise DataError(f"No such file or folder: {self.path}.") from None
        except BROKEN as error:
            raise damaged_archive(self.path, error) from error


def damaged_archive(path: Path, error: Exception) -> DataError:
    """The error for an archive that cannot be read."""
    if isinstance(error, OSError) and error.strerror:  # the system's word, or that it is no regular file
        return DataError(f"Cannot read {path}: {error.strerror}.")
    if (another := _another_kind(path)) is not None:
        return DataError(f"{path} {another}.")
    reason = str(error).partition("\n")[0].rstrip(":")  # tarfile's goes on with what each compression says
    return DataError(f"{path} is damaged or truncated, or no archive ({reason}). Copy or download it again.")


def _another_kind(path: Path) -> str | None:
    """What a file that is named as an archive really is, and what to do about it, in words. None if it begins as its name
    says, or is of no known kind."""
    try:
        with open_regular(path) as file:
            kind = kind_of(file.read(FIRST))
    except OSError:
        return None
    named = "zip" if path.suffix.lower() in (".zip", ".npz") else "tar"
    read_as = READ_AS.get(kind or "")
    if kind is None or (read_as is not None and named == read_as[1:4]):
        return None
    unpack = ". Unpack it, and name the folder" if kind.endswith((" archive", "Zstandard")) else ""
    stem = re.sub(r"(\.tar)?\.\w+$", "", path.name)
    return f"is not a {named} archive: it is {kind}{f'. Name it {stem}{read_as}' if read_as else unpack}"


def is_archive(path: Path) -> bool:
    """Whether a path is named as an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def is_compressed_tar(path: Path) -> bool:
    """Whether a path is named as an archive that must be unpacked before a file of it can be read."""
    return path.name.lower().endswith(ARCHIVES[2:]) and not path.is_dir()


@contextmanager
def opened(path: Path, below: Path | None = None) -> Iterator[Files]:
    """The files of a folder or an archive; a compressed tar is unpacked below `below` as long as the block lasts.

    Raises `DataError` for an archive that is damaged, or unsafe to unpack; `FewshotError` where `below` cannot be written.
    """
    if not is_compressed_tar(path):
        yield Files(path)
        return
    below = below or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_temporary_folder(below))
            unpack(path, folder)
        except OSError as error:
            raise FewshotError(f"Cannot unpack {path} into {below}: {error.strerror}. Set FSBENCH_CACHE.") from error
        yield Files(folder)


@contextmanager
def _temporary_folder(below: Path) -> Iterator[Path]:
    """A folder for as long as the block lasts; those of processes of this machine that were killed go too."""
    below.mkdir(parents=True, exist_ok=True)
    ours = re.compile(rf"\.unpacked-(\d+)-{re.escape(node())}-[^-]+")
    for folder in below.glob(".unpacked-*"):
        if (made := ours.fullmatch(folder.name)) and not lives(int(made[1])):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".unpacked-{os.getpid()}-{node()}-", dir=below))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(path: Path, folder: Path, limit: int = LARGEST_ARCHIVE) -> None:
    """Unpack a tar archive into a folder; raises `DataError` for one that is damaged, leads out of the folder, holds links
    or devices, or unpacks to more than `limit` bytes."""
    try:
        check_regular(path)
    except OSError as error:
        raise damaged_archive(path, error) from error
    try:
        with tar(path) as archive:
            for member in tar_members(archive, path, limit):
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(_extracted(archive, member), file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise damaged_archive(path, ValueError("a name is both a file's and a folder's")) from error
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's: a full disk is no damage
            raise
        raise damaged_archive(path, error) from error


def _extracted(archive: Tar, member: tarfile.TarInfo | str) -> IO[bytes]:
    """A file of a tar archive."""
    file = archive.extractfile(member)
    assert file is not None, "a regular file"
    return file


@dataclass(frozen=True)
class _Archive:
    """An archive: size of each file, how one is read, its CRC-32 if that is listed."""

    sizes: dict[str, int]
    read: Callable[[str], bytes]
    sums: dict[str, int] | None = None


@lru_cache(maxsize=4)
def _open_archive(path: Path, changed: int, size: int) -> _Archive:
    """The archive at `path` as it is since `changed`; open as long as it stays in this cache."""
    return _open_zip(path) if path.suffix.lower() == ".zip" else _open_tar(path)


def _open_zip(path: Path) -> _Archive:
    check_regular(path)
    archive = ZipFile(path)
    files = zip_members(archive, path)
    sizes, sums = ({name: getattr(info, of) for name, info in files.items()} for of in ("file_size", "CRC"))
    return _Archive(sizes, _one_at_a_time(lambda name: archive.read(files[name])), sums)


def _open_tar(path: Path) -> _Archive:
    with tar(path) as archive:
        members = {member.name: member for member in tar_members(archive, path, LARGEST_ARCHIVE)}

    def read(name: str) -> bytes:
        with tar(path) as archive:
            return _extracted(archive, members[name]).read()

    return _Archive({name: member.size for name, member in members.items()}, read)


def _one_at_a_time(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """`read` for several threads."""
    lock = Lock()

    def locked(name: str) -> bytes:
        with lock:
            return read(name)

    return locked


def _walk(folder: Path) -> Walked:
    """All below a folder. Links are followed, but into no folder twice, because links that lead to each other have no end. A
    link that leads back to a folder around it is passed over."""
    found = Walked({})
    seen: dict[tuple[int, int], str] = {}
    around: set[tuple[int, int]] = set()  # the folder that is looked at, and those that it lies in

    def below(path: str, prefix: str, status: os.stat_result) -> None:
        here = (status.st_dev, status.st_ino)
        if here in seen:
            if here not in around:
                found.again[prefix[:-1]] = seen[here]
            return
        seen[here] = prefix[:-1]
        around.add(here)
        folders: list[tuple[str, str, os.stat_result]] = []
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    status = entry.stat()  # one question to the system for each of many files
                except OSError:  # a link to nowhere, or to itself
                    found.nowhere.append(prefix + entry.name)
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.stamps[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
                elif stat.S_ISDIR(status.st_mode):
                    folders.append((entry.name, entry.path, status))
                else:
                    found.nowhere.append(prefix + entry.name)
        for name, inner, status in sorted(folders, key=_hidden_last):  # of two ways to a folder the same one is always taken
            below(inner, f"{prefix}{name}/", status)
        around.discard(here)

    below(str(folder), "", folder.stat())
    return found


def _hidden_last(folder: tuple[str, str, os.stat_result]) -> tuple[bool, str]:
    """The order of folders, hidden ones last: a folder inside a hidden one is listed where a link leads to it."""
    return folder[0].startswith("."), folder[0]
