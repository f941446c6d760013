"""Compiles the kernels (`*.cpp`) once for this machine and loads it; a few seconds on first use, then a cached library.

No torch header is involved: the library is plain C at its border and is called through ctypes. It is linked against
nothing (`-nostdlib`, no `-fopenmp` when linking), so that its OpenMP symbols resolve to the runtime that torch has loaded:
one pool of threads, not two that wait for each other.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from fewshot_bench.cache import cache_folder

SOURCES = tuple(Path(__file__).with_name(name) for name in ("blocks.cpp", "winograd.cpp", "sampling.cpp"))
HEADER = Path(__file__).with_name("lanes.hpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC")
TIMEOUT_S = 120


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
    """The compiled kernels, or why they cannot be had: a process asks often, and tries once."""
    try:
        return _built()
    except Unavailable as error:
        return str(error)


def _built() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise Unavailable(f"they are built on Linux alone, and this is {sys.platform}")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
    path = cache_folder() / "kernels" / f"kernels-{_key(compiler)}.so"
    if not path.is_file():
        _compile(compiler, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise Unavailable(f"the compiled library does not load: {error}") from None


def _key(compiler: str) -> str:
    """What the compiled code depends on: its source, the compiler, and the processor that `-march=native` means."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    processor = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    parts = (*(source.read_text(encoding="utf-8") for source in (*SOURCES, HEADER)), compiler, *FLAGS, *processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compile(compiler: str, path: Path) -> None:
    """Compile to `path`; of two processes that do so at once the later one replaces the earlier one's equal file."""
    objects = [f"{source.stem}.o" for source in SOURCES]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            _run([*shlex.split(compiler), *FLAGS, "-c", *map(str, SOURCES)], folder)
            _run([*shlex.split(compiler), "-shared", "-nostdlib", *objects, "-o", path.name], folder)
            with (Path(folder) / path.name).open("rb+") as file:
                os.fsync(file.fileno())  # a library cut short would take the process down
            (Path(folder) / path.name).replace(path)
    except ValueError as error:  # of CXX: a quotation mark without its other
        raise Unavailable(f"{compiler} is no command: {error}") from None
    except OSError as error:
        raise Unavailable(f"{path.parent} cannot be written: {error.strerror}") from None


def _run(command: list[str], folder: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[0]
        raise Unavailable(f"{command[0]} fails: {reason}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} cannot be run: {error}") from None
