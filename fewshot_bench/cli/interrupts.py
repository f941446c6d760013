"""Ctrl-C and other requests to stop, from the program's first moment to its last: at most one line, and exit code 130."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from fewshot_bench.cli import INTERRUPTED

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGBREAK")
"""The signals that ask a training to stop, if the system has them: Ctrl-C, a scheduler, a terminal that is closed, a limit
on processor time, what a cluster was told to send before the end of a job. Each would otherwise end the process at once.
SIGQUIT (Ctrl-\\) is left alone: it ends what hangs."""


def arrange() -> None:
    """Have Ctrl-C end the process without a traceback from now on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background of a script
        signal.signal(signal.SIGINT, interrupted)


def interrupted(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, or leave at once while a module is imported: many turn it into an error of their own."""
    if importing(frame):
        leave()
    raise KeyboardInterrupt


def importing(frame: FrameType | None) -> bool:
    """Whether a frame is within an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def leave() -> None:
    """End the process now, with a line on stderr."""
    with suppress(OSError):
        os.write(2, b"fsbench: Interrupted.\n")
    os._exit(INTERRUPTED)


def end(code: int) -> NoReturn:
    """End the process with this code, once Python's exit handlers have run.

    Python's own end is skipped: there a thread of a library that still waits for Python aborts the process (exit code
    134), after all of the work is done.
    """
    if signal.getsignal(signal.SIGINT) is interrupted:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(code))
    for thread in threading.enumerate():
        if not (thread.daemon or thread is threading.current_thread()):
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none
            stream.flush()
    os._exit(code)


def alarm(seconds: float) -> None:
    """Ask the process to stop, as Ctrl-C does, in so many seconds; 0: not any more. Does nothing where a system has no
    timers, and outside the main thread."""
    with suppress(AttributeError, ValueError):
        signal.signal(signal.SIGALRM, signal.default_int_handler if seconds else signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def handled_by(handler: Any) -> Iterator[None]:
    """Give each signal that asks to stop to `handler` within the block; one that is ignored (`nohup`) stays so."""
    before = {}
    for number in (getattr(signal, name) for name in STOPPING if hasattr(signal, name)):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            with suppress(ValueError):  # not in the main thread, where signals are never handled
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
