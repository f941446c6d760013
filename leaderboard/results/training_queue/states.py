"""States of unfinished trainings that are committed, so that another machine goes on from them and does not start anew.

A run's folder holds one file until its training ends, `state.safetensors`: weights, best weights, moments of the optimiser,
random states, counters, learning curve. That is all that is needed. It is kept here compressed, by the name of the folder.
"""

import lzma
import os
from collections.abc import Iterable
from pathlib import Path

from training_queue.folders import STATE, is_finished, progress
from training_queue.plan import Planned

MOST_BYTES = 2_000_000
"""Of a compressed state. A larger training starts where it can end."""
SUFFIX = ".safetensors.xz"


def save(jobs: Iterable[Planned], work: Path, kept: Path, results: Path) -> list[str]:
    """Keep the states of unfinished jobs below `work` in `kept`, delete those of finished ones; says what was done, and why
    a state is not kept."""
    jobs = [job for job in jobs if job.folder]
    said, known = [], {job.folder for job in jobs}
    for job in jobs:
        state, stored = work / job.folder / STATE, kept / f"{job.folder}{SUFFIX}"
        if any(is_finished(place / job.folder, job.results) for place in (work, results)):
            if stored.exists():
                stored.unlink()
                said.append(f"deleted: {job.training}, which is finished")
        elif (at := progress(state)) is not None:
            said.append(_save(job, state, stored, at.update))
        elif (work / job.folder / "record.json").exists():
            said.append(f"not saved: {job.training}: it is trained, and its further tests need the weights in {work}")
    strange = sorted(one.name for one in kept.glob(f"*{SUFFIX}") if one.name.removesuffix(SUFFIX) not in known)
    return said + [f"left: {name}, of no job of this version: git rm it if recipe or method has changed" for name in strange]


def _save(job: Planned, state: Path, stored: Path, update: int) -> str:
    content = state.read_bytes()  # replaced in one step, so that it is whole
    packed = lzma.compress(content)
    if len(packed) > MOST_BYTES:
        return f"not saved: {job.training}: its state has {len(packed) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}"
    stored.parent.mkdir(parents=True, exist_ok=True)
    if stored.exists() and (held := _update(stored)) >= update:
        return f"kept: {job.training}, saved after update {held:,} (here: {update:,})"
    _write(stored, packed)
    return f"saved: {job.training}, update {update:,} of {job.updates:,}, {len(packed) / 1e6:.2f} MB"


def take(job: Planned, work: Path, kept: Path) -> bool:
    """Put the kept state of a job where its training looks for it, if nothing is there yet; returns whether it did."""
    folder, stored = work / job.folder, kept / f"{job.folder}{SUFFIX}"
    if not stored.is_file() or any((folder / name).exists() for name in (STATE, "record.json")):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / STATE, lzma.decompress(stored.read_bytes()))
    return True


def drop(job: Planned, kept: Path) -> None:
    """Delete the kept state of a job that has ended."""
    (kept / f"{job.folder}{SUFFIX}").unlink(missing_ok=True)


def _update(stored: Path) -> int:
    """The updates after which a kept state was saved; 0 where it cannot be read."""
    beside = stored.with_name(f".{stored.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(lzma.decompress(stored.read_bytes()))
        at = progress(beside)
        return at.update if at else 0
    except lzma.LZMAError:
        return 0
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(content)
    beside.replace(path)
