"""Where a record came from: versions, machine, git state. Never a path of the machine."""

import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("fewshot-bench", "torch", "numpy", "pandas", "scikit-learn", "pillow")


def now() -> str:
    """The present time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def peak_mib() -> float | None:
    """Peak resident memory of this process [MiB]; None on a system that does not tell (Windows)."""
    with suppress(OSError, StopIteration):  # Linux: `getrusage` would count what the process was started from, too
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return round(int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024, 1)  # of KiB
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def environment() -> dict[str, Any]:
    """Versions, platform, processor and the git state of this package's source."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "platform": f"{platform.system()}-{platform.machine()}",
        "processor": _processor(),
        "git": _git(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag where this package runs from a git checkout, else None."""
    here = Path(__file__).parent
    try:
        commit = _ask_git(here, "rev-parse", "HEAD")
        tracked = _ask_git(here, "ls-files", "provenance.py")  # not some other repository around site-packages
        dirty = _ask_git(here, "status", "--porcelain", "--untracked-files=no", "--", ".", "../methods", "../datasets")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(dirty)} if tracked else None


def _ask_git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
