"""A plan, carried out: a subprocess for each run that is missing, a few at once, beside others who share the folder."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fewshot_bench.sweeps.attempts import MOST_DEATHS, Attempts, log_of
from fewshot_bench.sweeps.claims import Claim, Claims
from fewshot_bench.sweeps.plan import Planned
from fewshot_bench.sweeps.worker import Worker
from fewshot_bench.text.printable import printable

LOOK_EVERY_S = 0.05
ASK_AGAIN_S = 1.0
"""So long a run that another process has is left alone before it is looked at again."""


@dataclass
class Ended:
    """What became of a run."""

    planned: Planned
    result: dict[str, Any] | None = None
    """Its result, where it is finished."""
    failed: str = ""
    """Why it has none."""
    log: Path | None = None
    seconds: float | None = None
    """What it took here; None where it was finished before, or by others."""


@dataclass
class Standing:
    """How far a sweep is."""

    runs: int
    before: int = 0
    """Finished before this sweep began."""
    ended: list[Ended] = field(default_factory=list)
    running: int = 0
    jobs: int = 1

    @property
    def failed(self) -> list[Ended]:
        """Those that have failed."""
        return [one for one in self.ended if one.failed]

    @property
    def left(self) -> int:
        """Runs that are not ended."""
        return self.runs - len(self.ended)

    @property
    def left_s(self) -> float | None:
        """Seconds that what is left takes, as long each as those that ran here; None before one did."""
        ran = [one.seconds for one in self.ended if one.seconds is not None and not one.failed]
        return sum(ran) / len(ran) * self.left / self.jobs if ran else None


class Listener(Protocol):
    """Hears how a sweep goes."""

    def ended(self, run: Ended, at: Standing) -> None:
        """A run has ended, or was finished before."""

    def note(self, text: str) -> None:
        """Something that a user should know."""

    def tick(self, at: Standing) -> None:
        """Some time has passed."""


class Sweep:
    """Carries out runs of a plan in `out`, `jobs` at once, with so many threads each."""

    def __init__(
        self, runs: Sequence[Planned], out: Path, jobs: int, threads: int, listener: Listener, *, retry: bool = False
    ) -> None:
        self.runs, self.out, self.threads, self.listener = runs, out, threads, listener
        self.claims, self.workers = Claims(), list[Worker]()
        self.at = Standing(len(runs), jobs=jobs)
        self.pending: deque[Planned] = deque()
        self.later: dict[str, float] = {}
        self.before: dict[tuple[str, str], Attempts] = {}
        self.retry = retry
        self.renewed: set[tuple[str, str]] = set()
        """Runs that were begun here, whose deaths are those since."""

    def carry_out(self) -> Standing:
        """All that is missing; raises `FewshotError` where the folder cannot be written. Whatever ends it, no process of it
        stays."""
        self._look()
        try:
            while self.pending or self.workers:
                for worker in list(self.workers):
                    if not worker.claim.beat():
                        worker.kill()
                    if (code := worker.poll()) is not None:
                        self.workers.remove(worker)
                        self._settle(worker, code)
                self._start()
                self.at.running = len(self.workers)
                self.listener.tick(self.at)
                if self.pending or self.workers:
                    time.sleep(LOOK_EVERY_S)
        finally:
            self._stop()
        return self.at

    def _look(self) -> None:
        """Find out what is finished."""
        for run in self.runs:
            if (result := run.result(self.out)) is not None:
                self._end(Ended(run, result))
                self.at.before += 1
            else:
                self.before[run.identity] = Attempts.read(self.out / run.folder, run.result_id)
                self.pending.append(run)

    def _start(self) -> None:
        """Take up what is nobody's, as long as there is room."""
        now = time.monotonic()
        for _ in range(len(self.pending)):
            if len(self.workers) >= self.at.jobs:
                return
            run = self.pending.popleft()
            if self.later.get(run.folder, 0.0) > now or any(one.planned.folder == run.folder for one in self.workers):
                self.pending.append(run)
                continue
            claim = self.claims.take(self.out / run.folder)
            if claim is None:
                self.later[run.folder] = now + ASK_AGAIN_S
                self.pending.append(run)
            elif not self._is_over(run, claim):
                attempts = Attempts.read(self.out / run.folder, run.result_id)
                attempts.count, attempts.failed = attempts.count + 1, ""
                if self.retry and run.identity not in self.renewed:
                    attempts.deaths = []
                self.renewed.add(run.identity)
                attempts.write(self.out / run.folder, run.result_id)
                self.workers.append(Worker(run, self.out, claim, self.threads))

    def _is_over(self, run: Planned, claim: Claim) -> bool:
        """Whether a run that was claimed now has ended meanwhile, or has died too often."""
        folder, before = self.out / run.folder, self.before[run.identity]
        now = Attempts.read(folder, run.result_id)
        if (result := run.result(self.out)) is not None:
            ended = Ended(run, result)
        elif now.failed and (now.count > before.count or (now.is_final and not self.retry)):  # by another, since this began
            ended = Ended(run, failed=now.failed, log=log_of(folder, run.result_id))
        else:
            return False
        claim.release()
        self._end(ended)
        return True

    def _settle(self, worker: Worker, code: int) -> None:
        """What becomes of a run whose process has ended."""
        run, folder = worker.planned, self.out / worker.planned.folder
        self.at.running = len(self.workers)
        if not worker.claim.is_held():
            self.listener.note(f"{run.name}: another sweep has taken it over.")
            self.pending.append(run)
            return
        result, failed = run.result(self.out), ""
        attempts = Attempts.read(folder, run.result_id)
        if result is not None:
            pass
        elif code < 0 or code == 130:
            attempts.deaths.append(died := worker.died(-code if code < 0 else 15))
            if not attempts.is_final:
                attempts.write(folder, run.result_id)
                worker.claim.release()
                self.listener.note(f"{run.name}: its process ended by {died}; it is started again.")
                self.pending.appendleft(run)
                return
            failed = f"its process ended {MOST_DEATHS} times: {', '.join(attempts.deaths)}"
        else:
            failed = worker.last_words()
        if failed:
            attempts.failed = failed
            attempts.write(folder, run.result_id)
        worker.claim.release()
        self._end(Ended(run, result, failed, worker.log if failed else None, worker.seconds))

    def _end(self, ended: Ended) -> None:
        self.at.ended.append(ended)
        self.listener.ended(ended, self.at)

    def _stop(self) -> None:
        """End what still runs: each saves its state."""
        for worker in self.workers:
            worker.ask_to_end()
        try:
            while any(worker.poll() is None for worker in self.workers):
                time.sleep(LOOK_EVERY_S)
        finally:  # also where it was asked once more
            for worker in self.workers:
                worker.kill()
                worker.claim.release()


def summary(at: Standing, out: Path) -> str:
    """The last lines: what there is, and what has failed."""
    done = len(at.ended) - len(at.failed)
    lines = [f"{at.runs:,} runs: {done:,} finished ({at.before:,} before), {len(at.failed):,} failed. Records: {out}"]
    for one in at.failed:
        lines.append(f"failed: {one.planned.name}: {printable(one.failed, 200)} (log: {one.log})")
    return "\n".join(lines)
