"""How much memory this process may have."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def memory_bytes() -> int:
    """How much memory this process may have: the machine's, or less where a container or a limit says so."""
    found: list[int] = []
    with suppress(ImportError, AttributeError, OSError, ValueError):  # not on Windows
        import resource

        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found += [limit] if limit != resource.RLIM_INFINITY else []
    root = Path("/sys/fs/cgroup")
    for path in (*_own_groups(root), root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such limit here; "max" is none
            found.append(int(path.read_text()))
    return min(found, default=2**63)  # where no system tells nothing is refused


def _own_groups(root: Path) -> Iterator[Path]:
    """Where the limits of this process's control group, and of those around it, are written."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, group = line.split(":", 2)
            if not kinds:
                yield from _limits(root, group, "memory.max")
            elif "memory" in kinds.split(","):
                yield from _limits(root / "memory", group, "memory.limit_in_bytes")


def _limits(root: Path, group: str, name: str) -> Iterator[Path]:
    """The files of that name of a group and of those around it, up to the root."""
    own = root / group.strip("/")
    return (folder / name for folder in (own, *own.parents) if folder.is_relative_to(root))
