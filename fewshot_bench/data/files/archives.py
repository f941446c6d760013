"""The files in a zip or tar archive, listed only if the archive is whole, harmless and readable.

The format says where an archive ends: a tar ends in blocks of zeros, a zip in its list of files. An archive that was cut,
joined to another or packed in an unknown way must not pass for a smaller one.
"""

import re
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from zipfile import ZipFile, ZipInfo

from fewshot_bench.errors import DataError, few
from fewshot_bench.inputs.plain_files import open_regular

LEADS_OUT = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")
"""A path that starts at the root or a drive, or goes up, on any system. A `PurePath` for each of many names is slower."""
READ = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, getattr(zipfile, "ZIP_ZSTANDARD", -1)}
"""The ways to pack a file of a zip that Python reads."""
OTHER_WAYS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd", 99: "AES"}
ENCRYPTED = 1
"""A bit of the flags of a zip's file."""
WINDOWS = {0, 10, 14}
"""Systems that a zip says it was made on: FAT, NTFS, VFAT."""
END: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
CUT: tuple[type[Exception], ...] = (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]
"""What `tarfile` meets in place of an entry: a block of zeros; nothing, or less than a block."""
AT_ONCE = 2**20
"""Bytes behind a tar's end that are looked at together."""
COMPRESSIONS = {
    b"\x1f\x8b": "r:gz",
    b"BZh": "r:bz2",
    b"\xfd7zXZ\0": "r:xz",
    b"\x5d\0\0": "r:xz",
}
"""The first bytes of a compressed archive, and how `tarfile` opens it; the last is LZMA's old form."""
END_BLOCKS = 2
"""Blocks of zeros that end a tar."""
LARGEST_RECORD = 2**20
"""Bytes up to which tools fill a tar's last record with zeros (tar -b 2048)."""
MOST_ZEROS = LARGEST_RECORD + (END_BLOCKS - 1) * tarfile.BLOCKSIZE
"""Bytes of zeros that any tool writes at the end of a tar."""


def unsafe(path: Path, name: str) -> DataError:
    """The error for an archive with a file that would not stay inside."""
    return DataError(f"{path} is refused: its file {name!r} is a link or leads out of the folder.")


def zip_members(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """The files of a zip by their names, with `/` between folders.

    Raises `DataError` for links and names that lead out, for what is encrypted or packed in an unknown way, for one part of
    several, for two archives in one file, and for two files of one name.
    """
    if not all(info.filename for info in archive.infolist()):
        raise zipfile.BadZipFile("a file without a name")
    infos = [info for info in archive.infolist() if not info.is_dir()]
    slashes = any("/" in info.filename for info in infos)
    named = [(_with_slashes(info, slashes), info) for info in infos]
    for name, info in named:
        if stat.S_ISLNK(info.external_attr >> 16) or LEADS_OUT.search(name):  # the upper half is the mode on Unix
            raise unsafe(path, info.filename)
        if info.flag_bits & ENCRYPTED:
            raise DataError(f"{path} is encrypted ({name!r}). Unpack it with its password, and name the folder instead.")
        if info.compress_type not in READ:
            how = OTHER_WAYS.get(info.compress_type, f"method {info.compress_type}")
            raise DataError(
                f"{path} is packed in a way that cannot be read ({how}: {name!r}). Unpack it, and name the folder."
            )
        if info.volume:
            raise DataError(f"{path} is one part of a split archive. Join the parts (zip -s 0), or unpack them together.")
    _check_front(archive, path)
    if twice := [name for name, times in Counter(name for name, _ in named).items() if times > 1]:
        raise DataError(f"{path} holds several files of one name: {few(map(repr, twice))}. Unpack it, and rename them.")
    return dict(named)


def _with_slashes(info: ZipInfo, slashes: bool) -> str:
    """A file's name with `/` between folders. Some Windows tools write `\\`, against the format; `slashes`: other names have
    `/`."""
    windows = info.create_system in WINDOWS or not slashes
    return info.filename.replace("\\", "/") if windows else info.filename


def _check_front(archive: ZipFile, path: Path) -> None:
    """Refuse a zip that follows another one in the same file: its list lacks the other's files. (A program may come
    first.)"""
    infos = archive.infolist()
    if archive.fp is None or not infos or not min(info.header_offset for info in infos):
        return
    archive.fp.seek(0)
    if archive.fp.read(4) == b"PK\3\4":
        raise DataError(f"{path} holds several zip archives, and only the last would be read. Take them apart.")


class _Member(tarfile.TarInfo):
    """An entry. If one cannot be read, the archive remembers why, because `tarfile` takes damage for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except Exception as error:
            tarfile.ended = error  # type: ignore[attr-defined]
            raise


class Tar(tarfile.TarFile):
    """A tar archive that knows how it ended."""

    tarinfo = _Member
    ended: Exception | None = None

    def check_end(self) -> None:
        """Check how the archive ends, once all entries were read: in the format's blocks of zeros, followed by no more than
        fill the last record, and by nothing else. Raises `ReadError` otherwise.

        Some programs reserve a file's full length before its download. If that breaks off, the rest is zeros and the file
        may look like a smaller archive. For a compressed archive this also reads, and so checks, the end of the compression.
        """
        if isinstance(self.ended, CUT):
            raise tarfile.ReadError("the blocks that end an archive are missing: it was cut")
        if not isinstance(self.ended, END):
            raise tarfile.ReadError(f"an entry is damaged at byte {self.offset:,}: {self.ended}")
        assert self.fileobj is not None, "it is open"
        zeros = tarfile.BLOCKSIZE
        while zeros <= MOST_ZEROS and (block := self.fileobj.read(AT_ONCE)):  # a sparse file has terabytes of them
            if block.count(0) < len(block):
                raise tarfile.ReadError("more data follow its end, as in joined archives: tar --ignore-zeros unpacks it")
            zeros += len(block)
        if zeros < END_BLOCKS * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("one of the two blocks that end an archive is missing: it was cut")
        if zeros > MOST_ZEROS or zeros > _most_zeros(self.offset + zeros):
            raise tarfile.ReadError(
                f"at least {zeros:,} bytes of zeros follow its last entry, as after a download that broke off; "
                "if it is whole, unpack it and name the folder"
            )


def _most_zeros(size: int) -> int:
    """The most zeros that a tool writes at the end of a tar of `size` bytes: two blocks, and what fills the last record,
    which may begin with the second block. Records have 10,240 bytes, or a power of two that divides the size."""
    record = min(size & -size, LARGEST_RECORD)
    return max(tarfile.RECORDSIZE, record) + (END_BLOCKS - 1) * tarfile.BLOCKSIZE


@contextmanager
def tar(path: Path) -> Iterator[Tar]:
    """A tar archive of any compression, open; raises `OSError` where it is no regular file."""
    with open_regular(path) as file:
        begins = file.read(max(map(len, COMPRESSIONS)))
        file.seek(0)  # told here, because a decompressor that is tried on a sparse file of zeros reads them all
        mode = next((mode for first, mode in COMPRESSIONS.items() if begins.startswith(first)), "r:")
        with Tar.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            yield archive


def tar_members(archive: Tar, path: Path, limit: int) -> Iterator[tarfile.TarInfo]:
    """The files of a tar archive; raises `DataError` for one that is not a plain file, leads out, or makes more than `limit`
    bytes, and `ReadError` for an archive that does not end as it must."""
    total = 0
    for member in archive:
        if member.isdir():
            continue
        if not member.isreg() or LEADS_OUT.search(member.name):
            raise unsafe(path, member.name)
        total += member.size
        if total > limit:
            raise DataError(f"{path} is refused: it unpacks to more than {limit:,} bytes.")
        yield member
    archive.check_end()
