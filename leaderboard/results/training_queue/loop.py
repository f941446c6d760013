"""The queue: trains one job after another on free cores, gives way, stops and goes on."""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from training_queue import states
from training_queue.folders import is_finished, publish
from training_queue.give_way import take_lock
from training_queue.plan import Planned
from training_queue.tags import Worktree
from training_queue.trainings import STOPPED, Running

POLL_S = 1.0
MOST_ENDS = 3
"""A job whose process was ended by others so many times is left."""


@dataclass(frozen=True)
class Places:
    """Where runs lie, where records are published, and where states are kept."""

    work: Path
    results: Path
    kept: Path


@dataclass
class Queue:
    """Trains `jobs`, the first first, on at most `cores` cores."""

    jobs: Sequence[Planned]
    places: Places
    cores: int = 1
    nice: int = 0
    options: tuple[str, ...] = ()
    """Further options of `fsbench run`."""
    again: bool = False
    """Train also what was published, where its run is not below `work`."""
    pause: Callable[[], str] = lambda: ""
    worktree: Worktree | None = None
    say: Callable[[str], None] = lambda text: print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
    poll_s: float = POLL_S
    running: list[Running] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by folder."""
    ends: Counter[str] = field(default_factory=Counter)
    stopping: bool = False
    paused: str = ""
    waits: bool = False
    move_to: str | None = None
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> Path:
        """Where queues keep their locks, logs and state."""
        return self.places.work / ".queue"

    @property
    def state_path(self) -> Path:
        """What `--status` reads."""
        return self.own / f"queue-{os.getpid()}.json"

    def run(self) -> int:
        """Train until nothing is left; returns 0, 1 where a job failed, 130 where it was asked to stop."""
        self.own.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._signalled)
        try:
            self._publish_finished()
            while self._step():
                self._write_state()
                time.sleep(self.poll_s)
        finally:
            self._end_all()
            self.state_path.unlink(missing_ok=True)
        return 130 if self.stopping else 1 if self.failed else 0

    def _step(self) -> bool:
        """Look once at everything; returns whether there is more to do."""
        for one in list(self.running):
            if (code := one.poll()) is not None:
                self._ended(one, code)
        if self.stopping:
            return False
        reason = self.pause()
        if reason != self.paused:
            self.say(f"paused: {reason}" if reason else "goes on")
            self.paused = reason
        if self.paused:
            for one in self.running:
                one.ask_to_end()
            return True
        if self.worktree is not None and self._moves(self.worktree):
            return True
        return self._start() or bool(self.running)

    def _start(self) -> bool:
        """Give free cores to the next jobs; returns whether jobs are left, be it with another queue."""
        left = [job for job in self.jobs if not (job.missing or job.folder in self.failed or self._is_done(job))]
        ours = {one.job.folder for one in self.running}
        for job in (job for job in left if job.folder not in ours):
            if len(self.running) >= self.cores or (found := self._core()) is None:
                break
            core, held = found
            lock = take_lock(self.own / f"{job.folder}.lock")  # else another queue has it
            locks = [one for one in (held, lock, self._hold_checkout()) if one is not None]
            if lock is None or self._is_done(job):  # as one that ended meanwhile
                for one in locks:
                    one.close()
                continue
            if states.take(job, self.places.work, self.places.kept):
                self.say(f"goes on from the state that was kept: {job.training}")
            self.running.append(Running(job, core, self.places.work, locks, self.options, self.nice))
            self.say(f"core {core}: {job.training} ({job.folder})")
        if left and not (self.running or self.waits):
            self.say("waits: other queues train what is left, or hold all cores")
        self.waits = bool(left) and not self.running
        return bool(left)

    def _core(self) -> tuple[int, IO[bytes]] | None:
        """A core on which no queue of this work folder trains, and its lock; None where there is none."""
        for core in sorted(os.sched_getaffinity(0)):
            if (lock := take_lock(self.own / f"core-{core}.lock")) is not None:
                return core, lock
        return None

    def _hold_checkout(self) -> IO[bytes] | None:
        """What keeps every queue from moving the checkout."""
        return None if self.worktree is None else take_lock(self.worktree.lock, shared=True)

    def _ended(self, one: Running, code: int) -> None:
        self.running.remove(one)
        job = one.job
        if code == 0 and not is_finished(self.places.work / job.folder, job.results):
            self.failed[job.folder] = "it ended well, but its record lacks results"
        elif code == 0:
            self._finish(job)
        elif code in STOPPED and one.asked_at is not None:
            self.say(f"stopped, and goes on later: {job.training}")
        elif code in STOPPED or code < 0:
            self.ends[job.folder] += 1
            self.say(f"ended by others (exit code {code}): {job.training}")
            if self.ends[job.folder] >= MOST_ENDS:
                self.failed[job.folder] = f"its process was ended by others {MOST_ENDS} times"
        else:
            self.failed[job.folder] = one.last_words()
        one.release()
        if job.folder in self.failed:
            self.say(f"failed: {job.training}: {self.failed[job.folder]}\n  log: {one.log}")

    def _finish(self, job: Planned) -> None:
        publish(job, self.places.work, self.places.results)
        states.drop(job, self.places.kept)
        self.say(f"done: {job.training} -> {self.places.results / job.folder}")

    def _is_done(self, job: Planned) -> bool:
        places = (self.places.work,) if self.again else (self.places.work, self.places.results)
        return any(is_finished(place / job.folder, job.results) for place in places)

    def _publish_finished(self) -> None:
        """Copy what ended while no queue was there."""
        for job in (job for job in self.jobs if job.folder):
            if is_finished(self.places.results / job.folder, job.results):
                states.drop(job, self.places.kept)
            elif is_finished(self.places.work / job.folder, job.results):
                self._finish(job)

    def _moves(self, worktree: Worktree) -> bool:
        """Whether to begin nothing, because the checkout moves as soon as nothing trains from it; does not return where it
        moves now."""
        tag = worktree.newer()
        if tag != self.move_to:
            self.move_to = tag
            if tag:
                self.say(f"tag {tag} is newer: moves there before the next job")
        if tag is None or self.running:
            return tag is not None
        lock = take_lock(worktree.lock)
        if lock is None:  # another queue trains from here
            return False
        try:
            worktree.move(tag)
        except SystemExit as reason:
            self.say(f"{reason}\n  follows no tag any more")
            self.worktree = None
            return False
        finally:
            lock.close()
        self.say(f"moved to {tag}")
        self.state_path.unlink(missing_ok=True)
        return bool(os.execv(sys.executable, [sys.executable, *sys.argv]))  # which does not return

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        for one in self.running:
            one.ask_to_end()

    def _end_all(self) -> None:
        """Have every training save its state and end, and wait for that."""
        for one in self.running:
            one.ask_to_end()
        while self.running:
            for one in list(self.running):
                if (code := one.poll()) is not None:
                    self._ended(one, code)
            time.sleep(0.05)

    def _write_state(self) -> None:
        """For `--status`."""
        content = {
            "process": os.getpid(),
            "paused": self.paused,
            "cores": self.cores,
            "move_to": self.move_to,
            "running": {one.job.folder: one.core for one in self.running},
            "failed": dict(self.failed),
            "jobs": [asdict(job) for job in self.jobs],
        }
        if content != self.written:
            beside = self.state_path.with_suffix(".tmp")
            beside.write_text(json.dumps(content))
            beside.replace(self.state_path)
            self.written = content
