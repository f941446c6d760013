"""Where a record came from: versions, machine, git state. Never a path of the machine.

All of it only describes: what cannot be told is null, and ends no run.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PACKAGES = ("fewshot-bench", "torch", "numpy", "pandas", "scikit-learn", "pillow")
GIT_TIMEOUT_S = 5.0
PACKAGE = Path(__file__).parents[1]
COMMIT = re.compile("[0-9a-f]{40,64}")


def now() -> str:
    """The present time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def peak_mib() -> float | None:
    """Peak resident memory of this process [MiB]; None on a system that does not tell (Windows)."""
    return _told(_peak_of_proc) or _told(_peak_of_resource)


def environment() -> dict[str, Any]:
    """Versions, platform, processor and the git state of this package's source; None for each that cannot be told."""
    packages = {name: _told(lambda name=name: version(name)) for name in PACKAGES}  # type: ignore[misc]
    return {
        "versions": {"python": platform.python_version(), **packages},
        "platform": _told(lambda: f"{platform.system()}-{platform.machine()}"),
        "processor": _told(_processor),
        "cpu_capability": _told(_capability),
        "git": _told(_git),
    }


def _told(ask: Callable[[], T]) -> T | None:
    """What a question brings, or None whatever goes wrong: a program that hangs or prints rubbish, a broken installation."""
    try:
        return ask()
    except Exception:
        return None


def _peak_of_proc() -> float:
    """Of Linux: `getrusage` would count what the process was started from, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return round(int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024, 1)  # of KiB


def _peak_of_resource() -> float:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _capability() -> str:
    """What torch makes of the processor, such as `AVX2`: its kernels of another capability round otherwise."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag where this package runs from a git checkout, else None."""
    commit = _ask_git("rev-parse", "HEAD")
    if not COMMIT.fullmatch(commit) or not _ask_git("ls-files", "__init__.py"):
        return None  # some other repository around site-packages
    dirty = _ask_git("status", "--porcelain", "--untracked-files=no", "--", ".", "../methods", "../datasets")
    return {"commit": commit, "dirty": bool(dirty)}


def _ask_git(*arguments: str) -> str:
    """What git says of the folder of this package, whatever the environment says of another; it asks nobody and runs no
    monitor, takes no lock, and has a few seconds."""
    command = ["git", "-C", str(PACKAGE), "-c", "core.fsmonitor=false", *arguments]
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
    kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=kept | quiet,
        check=True,
        timeout=GIT_TIMEOUT_S,
    )
    return done.stdout.decode(errors="replace").strip()
