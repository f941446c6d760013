"""Becomes a command that trains beside other work: `python low_priority.py PARENT CORE NICE COMMAND ...`.

It runs on one core and, where NICE is not 0, at low priority: also where Linux's scheduler shares the cores between sessions
(`autogroup`), so that `nice` alone weighs nothing against another session. When its parent ends, however that ends, Linux
sends it SIGTERM, on which a training saves its state and ends. Elsewhere it ends with its work.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main(parent: int, core: int, nice: int, command: list[str]) -> None:
    """Set this process up, and become the command."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    if nice:
        os.nice(nice)
        with suppress(OSError):  # no such file, or not ours to write
            Path("/proc/self/autogroup").write_text(str(nice))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before that
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
