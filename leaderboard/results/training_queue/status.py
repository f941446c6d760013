"""What of a queue is done, running and to come, and how long it will take, in 80 columns."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_bench.storage import lives
from training_queue.folders import STATE, Progress, is_finished, progress
from training_queue.loop import Places
from training_queue.plan import Planned

WIDTH = 80


@dataclass(frozen=True)
class Left:
    """The time that a job needs yet."""

    hours: float | None
    """Of one core; None where nothing says how long."""
    measured: bool = False


def queues(work: Path) -> list[dict[str, Any]]:
    """What the queues that run on a work folder say of themselves."""
    found = []
    for path in sorted((work / ".queue").glob("queue-*.json")):
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):  # it has just ended
            continue
        if lives(content["process"]):
            found.append(content)
        else:  # it was killed
            path.unlink(missing_ok=True)
    return found


def time_left(job: Planned, at: Progress | None) -> Left:
    """By the pace of its updates so far, else by the estimate in the order of value."""
    if at is not None:
        return Left(at.left_s(job.updates) / 3600, measured=True)
    return Left(job.hours)


def report(jobs: Sequence[Planned], places: Places, running: Sequence[Mapping[str, Any]]) -> str:
    """The whole status; `running` are the queues that run."""
    on = {folder: core for queue in running for folder, core in queue["running"].items()}
    failed = {folder: reason for queue in running for folder, reason in queue["failed"].items()}
    at = {job.folder: progress(places.work / job.folder / STATE) for job in jobs}
    done = [job for job in jobs if any(is_finished(one / job.folder, job.results) for one in (places.work, places.results))]
    rest = [job for job in jobs if job not in done]
    now = [job for job in rest if job.folder in on]
    wrong = [job for job in rest if job.folder in failed]
    missing = [job for job in rest if job.missing]
    to_come = [job for job in rest if job not in (*now, *wrong, *missing)]
    left = {job: time_left(job, at[job.folder]) for job in (*now, *to_come)}
    cores = max(1, sum(queue["cores"] for queue in running))

    counts = {"done": done, "running": now, "to come": to_come, "failed": wrong, "cannot run here": missing}
    parts = {
        "running": [_line(job, at[job.folder], left[job], f"core {on[job.folder]}") for job in now],
        "to come, in order": [_line(job, at[job.folder], left[job], f"tier {job.tier}") for job in to_come],
        "failed": [line for job in wrong for line in (f"  {job.training}", f"    {failed[job.folder]}")],
        "cannot run here": _missing(missing),
        "done": [f"  {job.training}" for job in done],
    }
    lines = [", ".join(f"{len(those)} {name}" for name, those in counts.items())]
    lines += [_queue_line(queue) for queue in running] or ["No queue runs on this work folder."]
    lines += [line for title, part in parts.items() if part for line in ("", title, *part)]
    lines += ["", *_total(left.values(), cores)] if left else []
    return "\n".join(_short(line, WIDTH) for line in lines)


def _queue_line(queue: Mapping[str, Any]) -> str:
    state = f"paused: {queue['paused']}" if queue["paused"] else "trains"
    gives = ", still ending its trainings" if queue["paused"] and queue["running"] else ""
    tag = f"; moves to tag {queue['move_to']} before the next job" if queue["move_to"] else ""
    return f"queue {queue['process']}, {queue['cores']} {'core' if queue['cores'] == 1 else 'cores'}, {state}{gives}{tag}"


def _line(job: Planned, at: Progress | None, left: Left, where: str) -> str:
    share = f"{int(100 * at.update / job.updates)} %" if at and job.updates else ""
    return f"  {where}  {_short(job.training, 53):<53} {share:>5} {_time(left):>10}".rstrip()


def _time(left: Left) -> str:
    """`3.4 h` where it is measured, `~3.4 h` where it is an estimate, `?` where there is none."""
    if left.hours is None:
        return "?"
    text = f"{left.hours:.1f} h" if left.hours >= 1 else f"{60 * left.hours:.0f} min"
    return text if left.measured else f"~{text}"


def _total(left: Iterable[Left], cores: int) -> list[str]:
    """The time that is left in all, and what it is made of."""
    left = list(left)
    known = [one for one in left if one.hours is not None]
    hours = sum(one.hours or 0.0 for one in known)
    measured = sum(one.measured for one in known)
    unknown = len(left) - len(known)
    lines = [f"time left: {hours:.1f} h of one core, {hours / cores:.1f} h on {cores}; tests not counted"]
    lines += [f"  of {measured} jobs measured (updates a second so far), of {len(known) - measured} estimated (~, ± 30 %)"]
    return lines + ([f"  {unknown} jobs more, of which nobody knows how long they take (?)"] if unknown else [])


def _missing(jobs: Iterable[Planned]) -> list[str]:
    """One line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for job in jobs:
        by_reason.setdefault(job.missing, []).append(job.training)
    more = {why: f" and {len(names) - 1} more" if len(names) > 1 else "" for why, names in by_reason.items()}
    return [f"  {names[0]}{more[why]}: {why}" for why, names in by_reason.items()]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
