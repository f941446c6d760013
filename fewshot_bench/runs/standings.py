"""How the runs of a folder stand: finished, under way, interrupted or damaged. Nothing of them is changed."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot_bench.errors import DataError
from fewshot_bench.results.records import Record, check_scores, load_record
from fewshot_bench.runs.checkpoint import load_about
from fewshot_bench.runs.training import LOG, STATE
from fewshot_bench.storage import is_being_made

State = Literal["finished", "running", "interrupted", "damaged"]
LAST_BYTES = 4096
"""Of a learning curve: its last point stands in them."""


@dataclass(frozen=True)
class Standing:
    """How a run stands."""

    folder: Path
    state: State
    update: int
    updates: int | None
    """Of the whole training; None where it is not known yet."""
    loss: float | None
    """Mean loss since the point before, at the last point of the learning curve."""
    validation: float | None
    """Validation score at that point."""
    left_s: float | None
    """Seconds of training that are left, as fast as so far; time in which nothing ran counts for nothing."""
    changed: float
    """When a file of it was last written, in seconds since the epoch."""
    size: int
    """Of its files in bytes."""
    record: Record | None = None
    """Of a finished run."""
    reason: str = ""
    """What is damaged."""

    @property
    def age_s(self) -> float:
        """Seconds since a file of it was written."""
        return max(time.time() - self.changed, 0.0)


def standings(root: Path) -> list[Standing]:
    """Of each run in or below a folder, by name; empty where there is no such folder."""
    if not root.is_dir():
        return []
    names = ("record.json", STATE, LOG)
    folders = {path.parent for name in names for path in root.rglob(name)}
    return [standing(folder) for folder in sorted(folders)]


def standing(folder: Path) -> Standing:
    """Of the run in `folder`."""
    files = [path.stat() for path in _present(folder.iterdir()) if path.is_file()]
    changed, size = max((one.st_mtime for one in files), default=0.0), sum(one.st_size for one in files)
    unfinished = (folder / STATE).is_file() or not (folder / "record.json").is_file()
    try:
        record = None if unfinished else load_record(folder)
        if record is not None:
            check_scores(record)
        about = load_about(folder / STATE) if (folder / STATE).is_file() else {}
    except DataError as error:
        reason = str(error).partition("\n")[0]
        return Standing(folder, "damaged", 0, None, None, None, None, changed, size, reason=reason)
    last, at = _last_point(folder / LOG), about.get("at") or {}
    if record is not None:
        made = int(record.content["train"]["updates"])
        return Standing(folder, "finished", made, made, *_scores(last), None, changed, size, record)
    state: State = "running" if is_being_made(folder) else "interrupted"
    update, updates = max(int(last.get("update", 0)), int(at.get("update", 0))), about.get("updates")
    made, seconds = max((int(one.get("update", 0)), float(one.get("train_s", 0.0))) for one in (last, at))
    left_s = seconds / made * (updates - update) if made and updates is not None else None
    return Standing(folder, state, update, updates, *_scores(last), left_s, changed, size)


def _present(paths: Iterable[Path]) -> Iterable[Path]:
    """Those that are still there when they are looked at."""
    for path in paths:
        with suppress(OSError):
            path.stat()
            yield path


def _last_point(log: Path) -> dict[str, Any]:
    """Of a learning curve; nothing where none is readable."""
    with suppress(OSError, ValueError, IndexError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - LAST_BYTES, 0))
        point = json.loads(file.read().decode("utf-8", "replace").splitlines()[-1])
        return point if isinstance(point, dict) else {}
    return {}


def _scores(point: dict[str, Any]) -> tuple[float | None, float | None]:
    return point.get("loss"), point.get("validation")
