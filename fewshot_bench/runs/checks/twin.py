"""A twin of this process, forked before a test, in whose memory nothing of the test is: asked the same, it says the same.

What is kept anywhere in memory is found by it: in a library's modules, in the environment, in a queue, in a running Python
generator, in a data base in memory, in tensors of any size. There is a twin where the system is Linux and the method on the
CPU; an accelerator does not survive a fork. It computes with one thread, since OpenMP's do not survive it either, and
whatever waits for a thread that is not there is given up after `PATIENCE_S` without a step.
"""

import os
import signal
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NoReturn

import torch

PATIENCE_S = 5.0
"""So long may a twin neither answer nor use its processor."""


class Twin:
    """A forked process that answers one question after another; `answer` runs there."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.connection, theirs = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which it does without
            pid = os.fork()
        if pid == 0:
            _serve(theirs, self.connection, answer)
        theirs.close()
        self.pid = pid
        self.close = weakref.finalize(self, _end, self.connection, pid, os.getpid())

    @staticmethod
    def possible(device: torch.device) -> bool:
        """Whether there can be one."""
        return sys.platform == "linux" and device.type == "cpu"

    def ask(self, question: object) -> Any:
        """The answer; None where it has none. After that it is not asked again."""
        self.begin(question)
        return self.end()

    def begin(self, question: object) -> None:
        """Let it work on a question."""
        if self.close.alive:
            with suppress(OSError):
                self.connection.send(question)

    def end(self) -> Any:
        """The answer to the question that it works on, as `ask` gives it."""
        if not self.close.alive:
            return None
        with suppress(OSError, EOFError):
            used = -1.0
            while not self.connection.poll(PATIENCE_S):
                before, used = used, _used(self.pid)
                if used == before:
                    self.close()
                    return None
            if (found := self.connection.recv()) is not None:
                return found
        self.close()
        return None


def _serve(connection: Connection, other: Connection, answer: Callable[[Any], Any]) -> NoReturn:
    """Answer questions until there are none; what is printed is lost, since the process itself prints it too."""
    try:
        other.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which is the process's matter
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- its lock is no other thread's
        torch.set_num_threads(1)
        while True:
            question = connection.recv()
            try:
                found = answer(question)
            except Exception:  # whatever a plugin raises: the process itself meets it too
                found = None
            connection.send(found)
    finally:
        os._exit(0)  # whatever it was: nothing that the process itself is to clear away is cleared here


def _end(connection: Connection, pid: int, owner: int) -> None:
    if os.getpid() != owner:
        return
    connection.close()
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    with suppress(OSError):
        os.waitpid(pid, 0)


def _used(pid: int) -> float:
    """Processor time of a process, in ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1.0
    return float(fields[11]) + float(fields[12])


@contextmanager
def one_thread() -> Iterator[None]:
    """As a twin computes: with one thread a sum has the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
