"""`fsbench sweep`."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import typer

from fewshot_bench.cli import INTERRUPTED, interrupts
from fewshot_bench.cli.numbers import NUMBER
from fewshot_bench.cli.options import ADVANCED, DataRoot, Device, Json, Out
from fewshot_bench.cli.paths import PATH, is_folder
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.request import AUTO, Request, checked
from fewshot_bench.text.durations import duration
from fewshot_bench.text.printable import LONGEST, printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from fewshot_bench.sweeps.carry_out import Ended, Standing
    from fewshot_bench.sweeps.estimate import Estimate
    from fewshot_bench.sweeps.plan import Planned

STALE = ("keep", "rerun")
LINE_EVERY_S = 10.0


def sweep(
    grid: Annotated[Path, typer.Argument(help="A YAML file of methods, data sets, seeds …", show_default=False, **PATH)],
    out: Out = Path("runs"),
    jobs: Annotated[
        int | None, typer.Option(help="Runs at once.", show_default="the cores by --threads; 1 on an accelerator", **NUMBER)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, its time and memory; run nothing.")] = False,
    as_json: Json = False,
    shard: Annotated[str | None, typer.Option(help="One part of N of the plan, from 0.", metavar="I/N")] = None,
    print_slurm: Annotated[bool, typer.Option("--print-slurm", help="Print a script for SLURM; run nothing.")] = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Fix the plan and prepare the data; run nothing.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what has died three times.")] = False,
    stale: Annotated[
        str | None, typer.Option(help="Finished runs of another source: keep or rerun.", metavar="keep|rerun")
    ] = None,
    data_root: DataRoot = None,
    device: Device = AUTO,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of a run (else OMP_NUM_THREADS, else 1).", rich_help_panel=ADVANCED, **NUMBER),
    ] = None,
) -> int:
    """Make every run of a grid: a process each, a few at once.

    What is finished is not made again, what was interrupted goes on. Several
    sweeps of one grid share the work.

    Example: fsbench sweep grid.yaml --jobs 2
    """
    if stale not in (None, *STALE):
        raise unknown("--stale", str(stale), STALE)
    if jobs is not None and not 1 <= jobs <= 1024:
        raise UsageError(f"--jobs must be a whole number from 1 to 1,024, got {jobs}.")
    if sum([dry_run, print_slurm, prepare]) > 1 or (shard is not None and (print_slurm or prepare)):
        raise UsageError("--dry-run, --print-slurm, --prepare and --shard exclude each other, but for a dry run of a shard.")
    is_folder(out)  # or nothing yet
    from fewshot_bench.sweeps.grid import read_grid
    from fewshot_bench.sweeps.plan import check_runs, fixed, is_stored, make_plan, store
    from fewshot_bench.sweeps.shard import Shard
    from fewshot_bench.threads import cores, told, use

    part = Shard.parse(shard) if shard is not None else None
    asked = checked(Request, {"method": "maml", "data_root": data_root, "device": device, "threads": threads})
    plan = make_plan(read_grid(grid), asked)
    for note in plan.notes:
        _note(note)
    each = told(threads) or 1
    on_cpu = plan.runs[0].resolved.device == "cpu"
    at_once = jobs or (max(1, cores() // each) if on_cpu else 1)
    if print_slurm:
        from fewshot_bench.sweeps.slurm import max_array_size, script

        wanted = {"jobs": jobs or 1, "threads": threads, "stale": stale, "data-root": data_root}
        wanted["device"] = plan.runs[0].resolved.device if device == AUTO else device  # nodes may have other ones
        given = [word for name, value in wanted.items() if value is not None for word in (f"--{name}", str(value))]
        command = ["fsbench", "sweep", str(grid), "--out", str(out), *given]
        print(script(command, len(plan.runs), out, each * (jobs or 1), max_array_size()), end="")
        return 0
    plan = fixed(plan, out, cast(Any, stale))
    runs = part.of(plan.runs) if part else plan.runs
    if dry_run:
        use(each)  # a trial takes as long as a run does
        return _dry_run(runs, out, at_once, as_json)
    from fewshot_bench.storage import check_writable

    check_writable(out, {"record.json": 1})
    if not is_stored(plan, out):
        check_runs(plan.runs, _note)
        store(plan, out)
    _prepare([run for run in (plan.runs if prepare else runs) if prepare or run.result(out) is None])
    if prepare:
        _note(f"{len(plan.runs):,} runs are planned, and their data are ready.")
        return 0
    if not runs:
        print("[]" if as_json else "Nothing to do: this shard of the plan is empty.")
        return 0
    return _carry_out(runs, out, at_once, each, as_json, retry)


def _dry_run(runs: Sequence["Planned"], out: Path, jobs: int, as_json: bool) -> int:
    from fewshot_bench.sweeps.estimate import Estimates
    from fewshot_bench.sweeps.plan import check_runs

    estimates = Estimates(out, check_runs(runs, _note))
    known: dict[int, Estimate] = {}
    missing = [run for run in runs if run.result(out) is None]
    for run in missing:
        known.setdefault(id(run.resolved), estimates.of(run.resolved))
    each = [known[id(run.resolved)] for run in missing]
    seconds, mib = sum(one.seconds for one in each) / jobs, max((one.mib or 0.0 for one in each), default=0.0) * jobs
    left = {run.identity for run in missing}
    if as_json:
        states = [run.as_json() | {"finished": run.identity not in left} for run in runs]
        print(
            json.dumps({"runs": states, "estimate": {"jobs": jobs, "seconds": round(seconds), "mib": round(mib)}}, indent=1)
        )
        return 0
    for run in runs:
        print(f"{run.run_id}  {'to run  ' if run.identity in left else 'finished'}  {printable(run.name, 300)}")
    print(f"# Runs: {len(runs):,}, to run: {len(missing):,}. Nothing was run.")
    for run in {id(run.resolved): run for run in missing}.values():
        one = known[id(run.resolved)]
        need = "" if one.mib is None else f", {one.mib:,.0f} MiB"
        _note(f"{run.name.rpartition(' seed ')[0]}: about {duration(one.seconds)} a run{need} (by {one.source})")
    _note(f"In all about {duration(seconds)} with --jobs {jobs}, and {mib:,.0f} MiB of memory.")
    return 0


def _prepare(runs: Sequence["Planned"]) -> None:
    """Have all data ready before the first run, which would each prepare them or wait."""
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.runs.inputs import open_data
    from fewshot_bench.sweeps.plan import combinations

    with Bars("data") as bars:
        for _, resolved in combinations(runs):
            open_data(resolved, bars)


def _carry_out(runs: Sequence["Planned"], out: Path, jobs: int, threads: int, as_json: bool, retry: bool) -> int:
    from fewshot_bench.sweeps.carry_out import Sweep, summary

    shown = Shown(len(runs))
    sweep = Sweep(runs, out, jobs, threads, shown, retry=retry)
    try:
        with interrupts.handled_by(interrupts.interrupted), shown:
            at = sweep.carry_out()
    except KeyboardInterrupt:
        _note(f"Stopped: {sweep.at.left:,} of {sweep.at.runs:,} runs are left, states are saved. The same command goes on.")
        return INTERRUPTED
    if as_json:
        print(json.dumps([_as_json(one) for one in at.ended], indent=1))
    else:
        print(summary(at, out))
    return 1 if at.failed else 0


def _as_json(one: "Ended") -> dict[str, Any]:
    state = {"state": "failed" if one.failed else "finished"}
    why = {"reason": one.failed, "log": str(one.log)} if one.failed else {"result": one.result}
    return one.planned.as_json() | state | why | {"seconds": None if one.seconds is None else round(one.seconds, 1)}


class Shown:
    """Progress on stderr: a line for each run; for the whole a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, runs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.bar: TaskID = self.bars.add_task("runs", total=runs)
        self.line_at = time.monotonic()

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def ended(self, run: "Ended", at: "Standing") -> None:
        """A line for a run that has ended here; those that were finished before are counted."""
        if run.failed:
            text = f"failed: {run.failed} (log: {run.log})"
        elif run.seconds is None or run.result is None:
            return
        else:
            text = f"{run.result['metric']} {run.result['mean']:.4f}, {duration(run.seconds)}"
        self.note(f"[{len(at.ended)}/{at.runs}] {run.planned.name}: {text}")
        self._whole(at, now=not at.left)

    def note(self, text: str) -> None:
        """A line above the bar."""
        if self.bars.disable:
            _note(text)
        else:
            self.bars.console.print(printable(text, LONGEST), markup=False, highlight=False, soft_wrap=True)

    def tick(self, at: "Standing") -> None:
        """The bar, and elsewhere a line of the whole."""
        self.bars.update(self.bar, completed=len(at.ended), description=self._text(at))
        self._whole(at, now=False)

    def _whole(self, at: "Standing", *, now: bool) -> None:
        if self.bars.disable and (now or time.monotonic() - self.line_at > LINE_EVERY_S):
            self.line_at = time.monotonic()
            _note(self._text(at))

    def _text(self, at: "Standing") -> str:
        left = "" if at.left_s is None or not at.left else f", about {duration(at.left_s)} left"
        failed = f", {len(at.failed)} failed" if at.failed else ""
        return f"{len(at.ended)} of {at.runs} runs ended{failed}, {at.running} running{left}"


def _note(text: str) -> None:
    print(printable(text, LONGEST), file=sys.stderr, flush=True)
