"""One run under way: a subprocess that carries out the request as it stands in the plan."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from fewshot_bench import fence
from fewshot_bench.request import words
from fewshot_bench.sweeps.attempts import log_of
from fewshot_bench.sweeps.claims import Claim
from fewshot_bench.sweeps.plan import Planned

FSBENCH = (sys.executable, "-c", "from fewshot_bench.cli.main import main; main()")
LAUNCHER = Path(__file__).with_name("launcher.py")
KILL_AFTER_S = 25.0
"""A training that was asked to end saves its state and ends within some 20 s; after so long it is killed."""
_NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|MemoryError|larger than the memory")
_LAST_BYTES = 100_000


class Worker:
    """A process that makes a run, under a claim. It must be started by the main thread: it ends with the thread that
    started it."""

    def __init__(self, planned: Planned, out: Path, claim: Claim, threads: int) -> None:
        self.planned, self.claim, self.run = planned, claim, out / planned.folder
        self.log = log_of(self.run, planned.result_id)
        self.began, self.kills = time.monotonic(), kills_for_memory()
        self.asked_at: float | None = None
        asked = words(planned.request, out=out, expect=planned.run_id)
        variables = {"OMP_NUM_THREADS": str(threads), fence.VARIABLE: claim.variable}
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            log.flush()
            self.start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-S", str(LAUNCHER), str(os.getpid()), *FSBENCH, *asked[1:]],
                stdin=subprocess.PIPE,  # closed when this process ends
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal reaches the sweep alone, which passes it on once
                env=os.environ | variables,
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def poll(self) -> int | None:
        """None while it goes on, else its exit code, below 0 for a signal."""
        code = self.process.poll()
        if code is None and self.asked_at is not None and time.monotonic() - self.asked_at > KILL_AFTER_S:
            self.kill()
        if code is not None and self.process.stdin:
            self.process.stdin.close()
        return 128 - code if code is not None and code > 128 and code != 130 else code

    def ask_to_end(self) -> None:
        """Have it save its state and end, once."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self.process.terminate()

    def kill(self) -> None:
        """End it now: what it has saved stays."""
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it has started, too
            self.process.kill()
        self.process.wait()
        self.poll()

    def died(self, number: int) -> str:
        """The signal that ended it, and what is known of why."""
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        for_memory = number == signal.SIGKILL and kills_for_memory() > self.kills
        return f"{name} (out of memory: the system ended it)" if for_memory else name

    def last_words(self) -> str:
        """The line of its log that says why it failed."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self.start, self.log.stat().st_size - _LAST_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            text = ""
        said = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line.removeprefix("fsbench: ") for line in said if line.startswith("fsbench: ")]
        why = (errors[-1:] or said[-1:] or ["it said nothing"])[0]
        return f"out of memory: {why}" if any(map(_NO_MEMORY.search, said[-20:])) else why


def kills_for_memory() -> int:
    """How many processes Linux has ended for want of memory since it was started; 0 where it does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
