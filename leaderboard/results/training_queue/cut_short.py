"""Ends unfinished trainings early, for want of time, and says so: each becomes a run of its own with fewer updates.

A training of n updates passes through the same states as a longer one does on its way, if nothing but its end depends on
its length. So the state of an unfinished run, under the id of `--set train.updates=n`, goes on as that run: n is the next
update at which the recipe validates. Its record is that of a training of n updates, bit for bit, and tables call it "n % of
its updates". The unfinished run stays as it is and can go on.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fewshot_bench.runs.checkpoint import load_tensors, save_tensors
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.training import LOG_EVERY
from training_queue.folders import STATE, progress
from training_queue.jobs import Job
from training_queue.plan import Planned, planned, request_of


def cut_short(jobs: Iterable[Planned], work: Path, device: str) -> tuple[list[Planned], list[str]]:
    """The jobs that end the unfinished trainings among `jobs`, their states in place, and what is said of each."""
    made, said = [], []
    for job in jobs:
        at = progress(work / job.folder / STATE) if job.folder else None
        if at is None:
            continue
        whole = resolve(request_of(job.arguments, device)).train
        every = whole.validation.every if whole.validation else LOG_EVERY
        updates = -(-at.update // every) * every
        if updates >= whole.updates:
            said.append(f"left: {job.training}: it ends by itself after {whole.updates - at.update:,} updates more")
            continue
        if whole.lr_linear:
            said.append(f"left: {job.training}: its rate falls over all of its updates: a shorter training is another one")
            continue
        shorter = Job((*job.arguments, "--set", f"train.updates={updates}"), job.tests)
        if resolve(request_of(shorter.arguments, device)).train != whole.model_copy(update={"updates": updates}):
            said.append(f"left: {job.training}: more than its length depends on the number of updates")
            continue
        cut = replace(planned(shorter, device), tier=job.tier)
        _begin(work / job.folder / STATE, work / cut.folder)
        made.append(cut)
        said.append(f"cut short: {job.training}: {updates:,} of {whole.updates:,} updates ({cut.folder})")
    return made, said


def _begin(state: Path, folder: Path) -> None:
    """Copy a state as that of another run, unless that has begun or ended."""
    if any((folder / name).exists() for name in (STATE, "record.json")):
        return
    tensors, about = load_tensors(state)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / STATE, tensors, about | {"run_id": folder.name.rpartition("-")[2]})
