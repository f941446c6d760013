"""When a queue gives way to other work, and locks that end with the processes that hold them."""

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

PATIENCE_S = 20.0
"""For so long a `--pause-while` command may run; one that hangs counts as saying yes."""
NOT_RUN = (126, 127)
"""What a shell ends with where it cannot run a command."""


def pause_reason(lock: Path | None, command: str | None) -> Callable[[], str]:
    """A function that says why to pause now; empty: go on.

    `lock`: while this file is there. `command`: while this shell command ends with 0, such as `pgrep -x tox`. Raises
    `SystemExit` for a command that cannot be run, which would never pause anything.
    """
    if command is not None and (code := _code(command)) in NOT_RUN:
        raise SystemExit(f"--pause-while: the shell cannot run {command!r} (exit code {code}).\nTry it in a shell first.")

    def reason() -> str:
        if lock is not None and lock.exists():
            return f"{lock} is there"
        if command is not None and _code(command) == 0:
            return f"{command!r} says so"
        return ""

    return reason


def _code(command: str) -> int:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run(["sh", "-c", command], check=False, timeout=PATIENCE_S, **quiet).returncode  # type: ignore[call-overload,no-any-return]
    except subprocess.TimeoutExpired:
        return 0


def take_lock(path: Path, *, shared: bool = False) -> IO[bytes] | None:
    """An open file that holds a lock until it is closed in this process and in all that inherited it; None where another
    process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    os.set_inheritable(file.fileno(), False)
    return file
