"""Compiles the kernels (`*.cpp`) once for this machine and loads it; a few seconds on first use, then a cached library.

No torch header is involved: the library is plain C at its border and is called through ctypes. It is linked against
nothing (`-nostdlib`, no `-fopenmp` when linking), so that its OpenMP symbols resolve to the runtime that torch has loaded.
So there is one pool of threads, not two that wait for each other.

The library's name ends with the hash of its content. So a library that was cut short or replaced is made anew and never
loaded: it would end the process without a message.
"""

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from fewshot_bench.cache import cache_folder
from fewshot_bench.errors import reason_of

SOURCES = tuple(Path(__file__).with_name(name) for name in ("blocks.cpp", "winograd.cpp", "sampling.cpp"))
HEADER = Path(__file__).with_name("lanes.hpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC")
TIMEOUT_S = 120
FUNCTION = re.compile(r'extern "C" \w+ (\w+)(##Real)?\(')
"""The declarations of functions to call in a source."""
WORK = ".compiling-"
"""How the name of a folder begins in which a library is made."""


class Unavailable(Exception):
    """The kernels cannot be had on this machine; the message says why."""


def library() -> ctypes.CDLL:
    """The compiled kernels; raises `Unavailable` where there is no Linux, no C++ compiler, or one that fails."""
    found = _found()
    if isinstance(found, str):
        raise Unavailable(found)
    return found


@cache
def _found() -> ctypes.CDLL | str:
    """The compiled kernels, or why they cannot be had. A process asks often but tries only once."""
    try:
        return _built()
    except Unavailable as error:
        return str(error)


def _built() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise Unavailable(f"they are built on Linux only, and this is {sys.platform}")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
    folder, key = cache_folder() / "kernels", _key(compiler)
    for path in _whole(folder, key):
        with suppress(Unavailable):
            return _loaded(path)
    return _loaded(_compile(compiler, folder, key))


def _whole(folder: Path, key: str) -> Iterator[Path]:
    """The libraries of that key whose content is what was compiled. Any other is deleted."""
    found: list[Path] = []
    with suppress(OSError):  # a folder that cannot be read is reported by what follows
        found = sorted(folder.glob(f"kernels-{key}-*.so"))
    for path in found:
        with suppress(OSError):  # one that cannot be read or deleted is replaced
            if path.is_file() and path.name == _name(key, path.read_bytes()):
                yield path
            else:
                path.unlink()


def _name(key: str, content: bytes) -> str:
    return f"kernels-{key}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise Unavailable(f"the compiled library does not load: {error}") from None
    if missing := [name for name in _functions() if not hasattr(loaded, name)]:
        raise Unavailable(f"the compiled library {path.name} has no function {missing[0]}")
    return loaded


def _functions() -> Iterator[str]:
    """The names that the sources declare; `##Real` stands for one of each type."""
    for source in SOURCES:
        for name, typed in FUNCTION.findall(source.read_text(encoding="utf-8")):
            yield from (f"{name}float", f"{name}double") if typed else (name,)


def _key(compiler: str) -> str:
    """What the compiled code depends on: its source, the compiler, and the processor that `-march=native` means."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    processor = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    parts = (*(source.read_text(encoding="utf-8") for source in (*SOURCES, HEADER)), compiler, *FLAGS, *processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compile(compiler: str, folder: Path, key: str) -> Path:
    """Compile into `folder`. If two processes do so at once, the later one replaces the earlier one's equal file."""
    objects = [f"{source.stem}.o" for source in SOURCES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=WORK) as work:
            made = Path(work) / "kernels.so"
            _run([*shlex.split(compiler), *FLAGS, "-c", *map(str, SOURCES)], work)
            _run([*shlex.split(compiler), "-shared", "-nostdlib", *objects, "-o", made.name], work)
            if not made.is_file():
                raise Unavailable(f"{compiler} makes no library")
            with made.open("rb+") as file:
                content = file.read()
                os.fsync(file.fileno())
            return made.replace(folder / _name(key, content))
    except ValueError as error:  # CXX has a quotation mark without its pair
        raise Unavailable(f"{compiler} is not a command: {error}") from None
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {reason_of(error)}") from None


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed compilers left behind."""
    for path in folder.glob(f"{WORK}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > 10 * TIMEOUT_S:
                shutil.rmtree(path, ignore_errors=True)


def _run(command: list[str], folder: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[0]
        raise Unavailable(f"{command[0]} fails: {reason}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} cannot be run: {error}") from None
