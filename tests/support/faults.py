"""The operations of the system on files below a folder, made to fail one by one."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

OPERATIONS = (
    "stat",
    "lstat",
    "mkdir",
    "replace",
    "rename",
    "unlink",
    "rmdir",
    "listdir",
    "scandir",
    "fsync",
    "open",
    "access",
)
REASONS = (
    *(errno.EACCES, errno.EIO, errno.ENOSPC, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOTDIR, errno.EROFS, errno.ESTALE, errno.EPERM, errno.EMFILE, errno.EINVAL),
)


class Faults:
    """Counts the operations on files below some folders; the `at`-th fails (0: none), and all after it where `for_good`."""

    def __init__(self, folders: tuple[Path, ...], at: int, *, for_good: bool = False) -> None:
        self.folders = tuple(map(str, folders))
        self.at, self.for_good, self.count = at, for_good, 0
        self.failed: list[str] = []

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose first argument is a path or the number of an open file."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._concerns(arguments[0] if arguments else ""):
                self.count += 1
                if self.count == self.at or (self.for_good and self.at and self.count > self.at):
                    number = REASONS[self.at % len(REASONS)]
                    self.failed.append(f"{function.__name__} {arguments[0]}")
                    raise OSError(number, os.strerror(number), None if isinstance(arguments[0], int) else str(arguments[0]))
            return function(*arguments, **named)

        return wrapped

    def _concerns(self, what: Any) -> bool:
        if isinstance(what, int):
            return True
        try:
            return os.fsdecode(what).startswith(self.folders)
        except TypeError:  # no path
            return False


@contextmanager
def failing(*folders: Path, at: int, for_good: bool = False) -> Iterator[Faults]:
    """The `at`-th operation below `folders` fails within the block."""
    faults = Faults(folders, at, for_good=for_good)
    opened = faults(io.open)
    with mock.patch.object(io, "open", opened), mock.patch.object(builtins, "open", opened):
        patches = [mock.patch.object(os, name, faults(getattr(os, name))) for name in OPERATIONS]
        for patch in patches:
            patch.start()
        try:
            yield faults
        finally:
            for patch in patches:
                patch.stop()
