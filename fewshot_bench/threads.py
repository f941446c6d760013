"""How many threads this process may use: as many as it is told, else as many as it has cores.

`OMP_NUM_THREADS` tells it. The cores are those of the process's affinity, or fewer where its control group (a container, a
job of a cluster) has a quota of processor time. Only one thread of a process runs computations at a time.
"""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path, PurePosixPath

from fewshot_bench.errors import FewshotError, UsageError

PROC = Path("/proc/self")
MOST = 1024
"""More threads than this are a mistake. The system would refuse them with a message of OpenMP's."""

_forked = _watched = False


def threads(given: int | None = None) -> int:
    """The threads for a new plan: `given`, `OMP_NUM_THREADS`, or as many as there are cores; one in a forked process.

    Raises `UsageError` where what is given is not a number of threads.
    """
    if _forked:
        return 1
    return told(given) or cores()


def told(given: int | None) -> int | None:
    """The threads that a user asks for, by an argument or by `OMP_NUM_THREADS`; None where nothing is said."""
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, Integral) or not 1 <= given <= MOST:
            raise UsageError(f"--threads must be a whole number from 1 to {MOST:,}, got {given!r}.")
        return int(given)
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # of a list the first is for this level
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UsageError(
            f"OMP_NUM_THREADS must be a whole number from 1 to {MOST:,}, got {text!r}.\nMend it, or give --threads."
        )
    return int(text)


def use(count: int) -> None:
    """Have torch and our kernels compute with so many threads from now on.

    OpenMP's threads do not survive a fork, and a forked process that waits for them waits for ever. So from here on each
    forked process has one thread, and asking for more raises `FewshotError`.
    """
    if count > MOST:
        raise UsageError(f"The plan asks for {count:,} threads, more than {MOST:,}.")
    if _forked and count > 1:
        raise FewshotError(
            f"The plan has {count} threads, but a process that was forked after such work can use only one.\n"
            'Start the process by multiprocessing.get_context("spawn").'
        )
    import torch  # here: processes that decode images do without

    torch.set_num_threads(count)
    _watch_forks()


def _watch_forks() -> None:
    global _watched
    if not _watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    _watched = True


def _after_fork() -> None:
    global _forked
    _forked = True
    import torch

    torch.set_num_threads(1)


def cores() -> int:
    """The cores that this process may use."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(affinity, quota(PROC))))


def quota(proc: Path) -> float:
    """Cores' worth of time that the control groups of the process of `proc` grant it; infinite where they set no bound.

    A group is bounded by those that it lies in, too: each up to the mount is asked (`cpu.max` of version 2, in version 1
    `cpu.cfs_quota_us` over `cpu.cfs_period_us`).
    """
    try:
        groups = list(_groups(proc))
    except (OSError, ValueError):  # no Linux
        groups = []
    return min((share for group in groups for share in _shares(group)), default=math.inf)


def _groups(proc: Path) -> Iterator[Path]:
    """The folders of the groups that bound the process's time, each with those above it."""
    mine: dict[str, str] = {}  # the path of its group, by controller; of version 2 by ""
    for line in (proc / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        mine |= dict.fromkeys(controllers.split(","), path)
    for line in (proc / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        place, _, kind = line.partition(" - ")
        root, mount = map(_unescaped, place.split()[3:5])
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind.split()[0])
        if controller in mine and (not controller or controller in kind.split()[-1].split(",")):
            inside = PurePosixPath(mine[controller])
            below = inside.relative_to(root) if inside.is_relative_to(root) and ".." not in inside.parts else PurePosixPath()
            yield from (Path(mount) / one for one in (below, *below.parents))


def _unescaped(text: str) -> str:
    """A path of `mountinfo`, where spaces are `\\040`."""
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _shares(group: Path) -> Iterator[float]:
    """The cores' worth of time that one group's files state."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (group / name).read_text(encoding="utf-8").split()]
            granted, period = map(int, words)
        except (OSError, ValueError):  # no such file, or `max`
            continue
        if granted > 0 and period > 0:  # -1: no bound
            yield granted / period


_turn = threading.RLock()


def _renewed() -> None:
    """Make a new lock in a forked process: the thread that holds the old one does not exist there."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renewed)


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Let no other thread of this process compute meanwhile, because torch's generator, its number of threads, its precision
    and the choice of kernels belong to the process. A thread may enter twice. Locks of folders are taken inside, never
    around it."""
    with _turn:
        yield
