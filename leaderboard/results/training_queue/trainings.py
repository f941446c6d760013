"""A job that runs: its training and then its other tests, a process each, on a core of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from training_queue.plan import Planned

LAUNCHER = Path(__file__).with_name("low_priority.py")
KILL_AFTER_S = 60.0
"""A training that was asked to end saves its state and ends within some 20 s; after so long it is killed."""
STOPPED = (130, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGINT)
"""What a training ends with that was asked to end."""


def fsbench() -> tuple[str, ...]:
    """The command of the environment that runs this."""
    beside = Path(sys.executable).with_name("fsbench")
    return (str(beside) if beside.is_file() else shutil.which("fsbench") or "fsbench",)


class Running:
    """A job under way. Its locks are held by its processes too, so that a job whose queue was killed is still owned."""

    def __init__(
        self, job: Planned, core: int, work: Path, locks: Sequence[IO[bytes]], options: Sequence[str], nice: int
    ) -> None:
        self.job, self.core, self.work, self.locks, self.nice = job, core, work, locks, nice
        self.log = work / ".queue" / f"{job.folder}.log"
        self.asked_at: float | None = None
        run = ("run", *job.arguments, *options, "--out", str(work))
        self.steps = [run, *(("test", str(work / job.folder), *test) for test in job.tests)]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        head = [sys.executable, "-S", str(LAUNCHER), str(os.getpid()), str(self.core), str(self.nice)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*head, *fsbench(), *self.steps[0]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the queue's terminal reaches the queue alone, which passes it on once
                pass_fds=[lock.fileno() for lock in self.locks],
            )

    def poll(self) -> int | None:
        """None while it goes on; 0 where all its steps are done; else what the last of them ended with."""
        code = self.process.poll()
        if code == 0 and len(self.steps) > 1 and self.asked_at is None:
            self.steps.pop(0)
            self.process = self._start()
            return None
        if code is None and self.asked_at is not None and time.monotonic() - self.asked_at > KILL_AFTER_S:
            os.killpg(self.process.pid, signal.SIGKILL)
        if code == 0 and len(self.steps) > 1:
            return -signal.SIGTERM  # its other tests are to come
        return code

    def ask_to_end(self) -> None:
        """Have it save its state and end, once."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self.process.terminate()

    def release(self) -> None:
        """Give its locks back."""
        for lock in self.locks:
            lock.close()

    def last_words(self) -> str:
        """The line of its log that says why it failed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if line.strip()]
        errors = [line.removeprefix("fsbench: ") for line in said if line.startswith("fsbench: ")]
        return (errors or said or ["it said nothing"])[-1]
