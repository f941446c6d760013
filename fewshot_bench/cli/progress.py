"""Progress on stderr: bars in a terminal, a line now and then elsewhere. Ctrl-C asks training to stop and save.

An error in showing it never ends a run.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fewshot_bench.cli import interrupts
from fewshot_bench.data.dataset import Progress as Made
from fewshot_bench.results.score_files import Scores
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.training import Progressed
from fewshot_bench.text.printable import LONGEST, printable

LINE_EVERY_S = 10.0
PATIENCE_S = 20.0
"""How long a stop waits for the end of an update: schedulers kill a process some 30 seconds after they asked it to end."""
T = TypeVar("T")


class Bars(Listener):
    """Shows a run; as a context it also turns the first Ctrl-C of a training, or whatever else asks it to end
    (`interrupts.STOPPING`), into a request to stop."""

    def __init__(self, title: str) -> None:
        self.title = printable(title)
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bars = Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)
        self.bar: TaskID | None = None
        self.asked = self.in_training = False
        self.line_at = time.monotonic()
        self.handlers = ExitStack()

    def __enter__(self) -> Self:
        self.handlers.enter_context(interrupts.handled_by(self._signalled))
        _shown(self.bars.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.handlers.close()
        if self.asked:
            interrupts.alarm(0)
        _shown(self.bars.stop)

    def preparing(self, name: str, doing: str = "preparing") -> Made:
        """A bar of images."""
        self._start(f"{doing} {name}", None)
        self._line(f"{doing} {name}", now=True)

        def made(done: int, total: int) -> None:
            if self.bar is not None:
                _shown(self.bars.update, self.bar, completed=done, total=total)

        return made

    def training(self, at: Progressed, updates: int) -> None:
        """A bar of updates."""
        self.in_training, self.updates = True, updates
        if at.update:
            self.note(f"Going on from update {at.update:,}.")
        self._start(self.title, updates, at.update)

    def trained(self, at: Progressed, loss: float) -> None:
        """The loss and the latest validation score."""
        validation = "" if at.last_score is None else f"  validation {at.last_score:.4f} (best {at.best_score:.4f})"
        text = f"{self.title}  loss {loss:.4f}{validation}"
        if self.bar is not None:
            _shown(self.bars.update, self.bar, completed=at.update, description=text)
        left = at.train_s / at.update * (self.updates - at.update)
        self._line(f"{text}  update {at.update:,}/{self.updates:,}  {left:.0f} s left", now=at.update == self.updates)
        self.in_training = at.update < self.updates

    def stopped(self) -> bool:
        """Whether Ctrl-C asked training to stop; the update is over, and what follows is saved."""
        if self.asked:
            interrupts.alarm(0)
        return self.asked

    def testing(self, episodes: int) -> None:
        """A bar of episodes."""
        self.in_training = False
        self._start("testing", episodes)

    def tested(self, scores: Scores) -> None:
        """The running mean and the half-width of its 95 % interval."""
        half = 1.96 * np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
        if self.bar is not None:
            text = f"testing  {scores.mean():.4f} ± {half:.4f}"
            _shown(self.bars.update, self.bar, completed=len(scores), description=text)

    def note(self, text: str) -> None:
        """A line above the bars."""
        shown = "\n".join(printable(line, LONGEST) for line in text.split("\n"))
        _shown(self.console.print, shown, markup=False, highlight=False, soft_wrap=True)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if interrupts.importing(frame):
            _shown(self.bars.stop)  # a terminal has its cursor again
            interrupts.leave()
        if not self.in_training or self.asked:
            raise KeyboardInterrupt
        self.asked = True
        interrupts.alarm(PATIENCE_S)
        self.note(f"Stopping after this update, at the latest in {PATIENCE_S:.0f} s; once more stops at once.")

    def _start(self, text: str, total: int | None, completed: int = 0) -> None:
        if self.bar is not None:
            _shown(self.bars.remove_task, self.bar)
        self.bar = _shown(self.bars.add_task, text, total=total, completed=completed)

    def _line(self, text: str, now: bool = False) -> None:
        if not self.console.is_terminal and (now or time.monotonic() - self.line_at > LINE_EVERY_S):
            self.line_at = time.monotonic()
            _shown(print, text, file=sys.stderr, flush=True)


def _shown(show: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
    """The result of showing something, or None if that fails: the run goes on."""
    with suppress(Exception):
        return show(*arguments, **named)
    return None
