"""Files that are written whole or not at all, and folders that only one process makes at a time."""

import errno
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fewshot_bench import fence
from fewshot_bench.errors import FewshotError, reason_of

ABANDONED = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")
"""The name of a temporary file of `atomic`."""
FOREIGN_FOR_S = 3600.0
"""For so long a temporary file of another machine counts as being written: its process cannot be looked for from here."""

_under_way: set[str] = set()
"""Names of the temporary files that this process is writing."""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON atomically; never NaN."""
    with atomic(path) as temporary:
        temporary.write_text(json_text(content), encoding="utf-8")


def json_text(content: dict[str, Any]) -> str:
    """Readable JSON; never NaN."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def not_written(path: Path, error: OSError) -> FewshotError:
    """The error for a file that the system refuses to write."""
    return FewshotError(f"Cannot write {path}: {reason_of(error)}. Nothing that was there is lost.")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    The block opens it itself: a library that is handed a path may read it as an address (`exp:1`) or a home (`~/runs`).
    Raises `FewshotError` that names the path where the system refuses (disk full, folder not writable), or where a sweep
    started this process for a run that another has taken over since.
    """
    temporary = path.with_name(_temporary_name(path.name))
    _under_way.add(temporary.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if fence.is_lost():
            raise FewshotError(f"{path} is not written: another sweep has taken over this run.")
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        _under_way.discard(temporary.name)


def check_writable(folder: Path, sizes: Mapping[str, int]) -> None:
    """Find out, before any work, whether files of these names and at least these bytes can be written into a folder.

    Makes the folder, and deletes what killed processes left in it. Raises `FewshotError` with the file and the reason.
    """
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        for path in (folder / name for name in sizes):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            _try(path, sizes[path.name])
    except OSError as error:
        raise FewshotError(
            f"Cannot write {path}: {reason_of(error)}. Nothing that was there is lost.\nChoose another folder with --out."
        ) from error


def _try(path: Path, size: int) -> None:
    """Write a temporary file of `size` bytes, as `atomic` would, and delete it: a full disk or a quota shows."""
    trial = path.with_name(_temporary_name(path.name))
    try:
        with trial.open("xb") as file:
            file.write(b"\0")
            file.flush()
            if size > 1 and hasattr(os, "posix_fallocate"):
                _set_aside(file.fileno(), size)
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            trial.unlink()


def _set_aside(file: int, size: int) -> None:
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # some file systems cannot
            raise


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files in a folder whose process was killed; one that another process is writing stays."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = ABANDONED.fullmatch(entry.name)
            if found and not _is_written(entry, found["machine"], int(found["process"])):
                with suppress(OSError):
                    Path(entry.path).unlink()


def _is_written(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    """Whether a temporary file may be one that is being written now."""
    if machine != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < FOREIGN_FOR_S
    if process == os.getpid():
        return entry.name in _under_way
    return lives(process)


def lives(process: int) -> bool:
    """Whether there is a process of that number on this machine; True where that cannot be known."""
    if os.name != "posix":  # there `kill` would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _temporary_name(name: str) -> str:
    """Machines that share a folder may share process numbers, and a process may write a file twice at once."""
    return f".{name}.{_machine()}-{os.getpid()}-{os.urandom(4).hex()}.tmp"


def _machine() -> str:
    return hashlib.sha256(platform.node().encode(errors="surrogateescape")).hexdigest()[:8]


@contextmanager
def only_one(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes from making the same folder meanwhile; `waiting` is called if another is making it.

    The lock ends with its process, however that ends; a file system without locks keeps nobody away. Raises `OSError` where
    the folder's parent cannot be written.
    """
    from filelock import FileLock, Timeout

    locks = folder.parent / ".locks"  # empty files, which stay: to delete one that another waits for would be a race
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / folder.name)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    except NotImplementedError:  # what filelock makes of ENOSYS
        pass
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


def is_being_made(folder: Path) -> bool:
    """Whether a process holds the lock of `only_one` for a folder now; False where that cannot be known."""
    from filelock import FileLock, Timeout

    path = folder.parent / ".locks" / folder.name
    if not path.is_file():
        return False
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
