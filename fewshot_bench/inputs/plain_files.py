"""A user's file, opened only if it is a plain file whose end is known, and read only up to a bound.

A pipe may wait for ever, and a device (`/dev/zero`) or a file of the system's own (`/proc/kmsg`) never ends.
"""

import errno
import os
import stat
from io import BytesIO
from pathlib import Path
from typing import IO

LARGEST_TEXT = 2**26
"""The most bytes of a file of settings, a split or a list: 64 MiB, enough for a split of a million classes."""
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
"""What a path may lead to if it is not a file."""


def check_regular(path: Path) -> None:
    """Raises `OSError`, which names the path and says what it is, if it is not a regular file. Opens nothing."""
    try:
        status = path.stat()
    except ValueError:  # a NUL in the path
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    _refuse_others(status, path)


def kind_at(path: Path) -> str | None:
    """What a path leads to, in words; None where there is nothing. Raises `OSError` where the system does not tell."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a NUL in the path
        return None
    return "a file" if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "something else")


def open_regular(path: Path) -> IO[bytes]:
    """A regular file, opened to be read; links are followed. Raises `OSError` as `check_regular` does.

    One that states no size is empty, whatever reading it would give: that is how files of `/proc` look.
    """
    check_regular(path)  # before it is opened: opening a device may do something
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    try:
        status = os.fstat(file.fileno())
        _refuse_others(status, path)  # it may have become another meanwhile
    except OSError:
        file.close()
        raise
    if status.st_size:
        return file
    file.close()
    return BytesIO()


def read_regular(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """What a regular file holds; raises `OSError` as `open_regular` does, and where it has more than `most` bytes."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def _refuse_others(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL, f"it is {kind}, not a file", str(path))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
