"""What the folder of a run holds: how far a training is, and whether all its tests are there. Nothing here imports torch."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training_queue.plan import Planned

STATE = "state.safetensors"
PUBLISHED = ("record.json", "episodes.parquet", "queries.safetensors", "log.jsonl", "split.csv")
"""What is copied of a finished run."""
WEIGHTS = "checkpoint.safetensors"
HEADLINES, LARGEST_WEIGHTS = (1, 2, 3), 2_000_000
"""Tiers whose weights are copied, too, so that anyone can verify their scores; bytes of the largest."""


@dataclass(frozen=True)
class Progress:
    """Where a training was when its state was last saved."""

    update: int
    train_s: float

    def left_s(self, updates: int) -> float:
        """Seconds that it needs up to so many updates, at the pace that it had so far."""
        return self.train_s / self.update * (updates - self.update)


def progress(state: Path) -> Progress | None:
    """Of a state's file; None where there is none, it is damaged, or no update was made."""
    try:
        with state.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        at = json.loads(header["__metadata__"]["about"])["at"]
        return Progress(at["update"], at["train_s"]) if at["update"] else None
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return None


def is_finished(folder: Path, results: Iterable[str]) -> bool:
    """Whether a folder has a record with all these results, and no training goes on in it."""
    try:
        found = {one["id"] for one in json.loads((folder / "record.json").read_bytes())["results"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return found.issuperset(results) and not (folder / STATE).exists()


def publish(job: Planned, work: Path, results: Path) -> None:
    """Copy a finished run's record, scores and learning curve, and the small weights of a headline; the record last, so that
    none is there without its scores."""
    target, weights = results / job.folder, work / job.folder / WEIGHTS
    target.mkdir(parents=True, exist_ok=True)
    with_weights = job.tier in HEADLINES and weights.is_file() and weights.stat().st_size <= LARGEST_WEIGHTS
    for name in reversed((*PUBLISHED, *([WEIGHTS] if with_weights else []))):
        if (work / job.folder / name).is_file():  # a split, where it was drawn
            beside = target / f".{name}.{os.getpid()}.tmp"
            shutil.copy2(work / job.folder / name, beside)
            beside.replace(target / name)
