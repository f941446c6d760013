"""The files that a plugin reads on its own, while its modules are imported or its network or method is built.

One of Python's audit hooks is called for every file that is opened. A file counts if a method's own code reads it, itself or
through a library that it calls. Files that a library reads while it is imported do not count. Files of Python code do not
count either: the hash of a source covers those. The hash of the contents is kept, as they were when they were read.

Files that are opened without Python's knowledge, as safetensors does, are not seen.
"""

# ruff: noqa: PTH100, PTH108, PTH116, PTH120, PTH123, PTH206 -- the hook runs at every file that is opened
import importlib.util
import os
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

_READ: "WeakKeyDictionary[ModuleType, dict[str, str]]" = WeakKeyDictionary()
"""For each module, the files that its body read and the hashes of their contents."""
_HASHES: dict[tuple[int, ...], str] = {}
"""Hashes of contents, by what changes with them: device, inode, size, times."""
SETTLED_NS = 2 * 10**9
"""An edit after this long has another time of change. Two edits within a tick of the system's clock have the same."""
_COMPILED: set[str] = set()
"""Compiled forms (`.pyc`) that imports looked for."""
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_READERS_OF_CODE = ("linecache", "importlib._bootstrap", "importlib._bootstrap_external")
"""Modules that open files to find code, or to show it."""


class _State(threading.local):
    busy = False
    """Whether the hook itself is running, which opens files too."""
    noted: dict[str, str] | None = None
    """Where to note what is read while something is built."""
    since: FrameType | None = None
    """The frame that builds."""


_STATE = _State()
_WATCHED: list[bool] = []


def watch() -> None:
    """Start the hook, once in a process."""
    if not _WATCHED:
        _WATCHED.append(True)
        sys.addaudithook(_heard)


def read_by(live: ModuleType) -> dict[str, str]:
    """The files that the body of a module read, and the hashes of their contents then."""
    return _READ.get(live, {})


def is_edited(path: str, sha256: str) -> bool:
    """Whether a file that was read has changed since, or is gone."""
    return _sha256(path) != sha256


def forget_compiled(modules: Iterable[ModuleType]) -> None:
    """Remove the compiled forms of these modules, and of all that were imported since `watch`, that may hide an edit.

    Python compares only the second of the edit and the length.
    """
    known = {str(getattr(module, "__cached__", "")) for module in modules}
    for path in [one for one in known | _COMPILED if not is_installed(one)]:
        with suppress(OSError, ValueError):
            if int(os.stat(path).st_mtime) <= int(os.stat(importlib.util.source_from_cache(path)).st_mtime):
                os.unlink(path)


@contextmanager
def noted() -> Iterator[dict[str, str]]:
    """Notes the files that a method's own code reads within the block: the hash of the contents for each path."""
    before = _STATE.noted, _STATE.since
    found: dict[str, str] = {}
    _STATE.noted, _STATE.since = found, sys._getframe(2)
    try:
        yield found
    finally:
        _STATE.noted, _STATE.since = before


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or _STATE.busy:
        return
    path, _, flags = arguments
    if isinstance(path, str) and path.endswith(".pyc"):
        _COMPILED.add(path)
        return
    writes = os.O_CREAT | os.O_TRUNC | os.O_APPEND
    if not isinstance(path, str | bytes) or flags & os.O_ACCMODE == os.O_WRONLY or flags & writes:
        return
    if _STATE.noted is None and not _runs_a_body(sys._getframe(1)):
        return
    _STATE.busy = True
    try:
        with suppress(Exception):  # the hook must not disturb the code that reads
            _note(os.path.abspath(os.fsdecode(path)), sys._getframe(1))
    finally:
        _STATE.busy = False


def _frames(frame: FrameType | None) -> Iterator[tuple[FrameType, str]]:
    """Frames from the innermost on, with the names of their modules."""
    while frame is not None:
        yield frame, str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back


def _runs_a_body(frame: FrameType) -> bool:
    """Whether a module's body reads, with no code of the core in between."""
    for one, name in _frames(frame):
        if name.partition(".")[0] == "fewshot_bench":
            return False
        if one.f_code.co_name == "<module>":
            return name != "__main__"
    return False


def _note(path: str, frame: FrameType) -> None:
    if path.startswith(_SYSTEM) or is_installed(path):
        return
    home = _STATE.noted if _STATE.noted is not None and _is_built(frame) else None
    reader = _reader(frame) if home is None else None
    if reader is not None:
        home = _READ.setdefault(reader, {})
    if home is not None and (sha256 := _sha256(path)) is not None:
        home.setdefault(path, sha256)


def _is_built(frame: FrameType) -> bool:
    """Whether a method's own code reads, called by what builds it and not while it is imported."""
    own = False
    for one, name in _frames(frame):
        if one is _STATE.since:
            break
        if name in _READERS_OF_CODE:
            return False
        own = own or name == "__main__" or _is_own(name)
    return own


def _reader(frame: FrameType) -> ModuleType | None:
    """The innermost of a method's own modules that reads; None while a library is imported or shows code."""
    own = False
    for one, name in _frames(frame):
        if name.partition(".")[0] == "fewshot_bench":
            return None
        if name in _READERS_OF_CODE and not own:
            return None
        if own or _is_own(name):
            own = True
            live = sys.modules.get(name)
            if live is not None and vars(live) is one.f_globals:
                return live  # else it was loaded by hand, and counts as its loader's
    return None


def _is_own(name: str) -> bool:
    from fewshot_bench.source.distributions import is_own

    return name not in ("", "__main__") and is_own(name)


def is_installed(path: str) -> bool:
    """Whether a file belongs to a distribution or to Python, which a record names by version."""
    parts = path.split(os.sep)
    return "site-packages" in parts or "dist-packages" in parts or path.startswith(os.path.dirname(os.__file__) + os.sep)


def _sha256(path: str) -> str | None:
    """The hash of a file's contents; None if it is not a file or cannot be read."""
    import hashlib

    busy, _STATE.busy = _STATE.busy, True
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        key = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if key in _HASHES:
            return _HASHES[key]
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED_NS:
            _HASHES[key] = sha256
        return sha256
    except OSError:
        return None
    finally:
        _STATE.busy = busy
