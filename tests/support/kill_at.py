"""`python kill_at.py MOMENT SIGNAL ARGUMENTS…` runs `fsbench ARGUMENTS` and sends itself the signal at that moment.

`before NAME` and `after NAME` are the moments around the rename that puts the file NAME in its place.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from command_line import one_thread

from fewshot_bench.cli import interrupts, progress
from fewshot_bench.cli.main import _main
from fewshot_bench.runs import session, training
from fewshot_datasets.glyphs import glyphs

Function = Callable[..., Any]


def send() -> None:
    """Send this process the signal that it was told."""
    os.kill(os.getpid(), signal.Signals[sys.argv[2]])


def nth(function: Function, n: int, then: Callable[[], None] = lambda: None) -> Function:
    """`function`, before whose n-th call the signal is sent, and `then` called."""
    calls = iter(range(1, sys.maxsize))

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(calls) == n:
            send()
            then()
        return function(*arguments, **named)

    return wrapped


def between_blocks(function: Function) -> Function:
    """A generator function that sends the signal after its first value."""

    def wrapped(*arguments: Any) -> Iterator[Any]:
        for value in function(*arguments):
            yield value
            send()

    return wrapped


def half_written(function: Function) -> Function:
    """`Path.write_bytes`, interrupted in the middle of its second call."""
    second = nth(lambda: None, 2)

    def wrapped(path: Path, content: bytes) -> int:
        function(path, content[: len(content) // 2])
        second()
        return function(path, content)  # type: ignore[no-any-return]

    return wrapped


def around_rename(when: str, name: str) -> Function:
    """`Path.replace` that sends the signal before or after the file of that name is put in its place."""
    rename = Path.replace

    def wrapped(source: Path, target: Path) -> Path:
        if (when, target.name) == ("before", name):
            send()
        placed = rename(source, target)
        if (when, target.name) == ("after", name):
            send()
        return placed

    return wrapped


def arrange(moment: str) -> None:
    """Have the signal sent at `moment`."""
    training.SAVE_EVERY_S = float("inf") if moment == "before the first save" else 0.0
    match moment.split():
        case ["preparing"]:
            glyphs.write = nth(glyphs.write, 2)
        case ["before", "the", "first", "save"] | ["training"]:
            training.Trainer._update = nth(training.Trainer._update, 4)  # type: ignore[method-assign]
        case ["a", "long", "update"]:
            progress.PATIENCE_S = 0.5
            training.Trainer._update = nth(training.Trainer._update, 4, lambda: time.sleep(60))  # type: ignore[method-assign]
        case ["saving"]:
            Path.write_bytes = half_written(Path.write_bytes)  # type: ignore[method-assign]
        case ["validation"]:
            training.episode_scores = between_blocks(training.episode_scores)
        case ["testing"]:
            session.episode_scores = between_blocks(session.episode_scores)
        case [("before" | "after") as when, name]:
            Path.replace = around_rename(when, name)  # type: ignore[method-assign, assignment]
        case _:
            raise SystemExit(f"no such moment: {moment}")


if __name__ == "__main__":
    if sys.argv[2] == "SIGHUP" and "NOHUP" not in os.environ:  # else it is ignored where the suite runs under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if sys.argv[2] == "SIGINT":  # it is ignored where the tests run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    arrange(sys.argv[1])
    with one_thread():
        interrupts.end(_main(sys.argv[3:]))  # as the command ends: libraries that are taken apart now and then abort
