"""The plan of a sweep: every run of a grid in a stable order, under the id that `fsbench run` gives it.

The plan is kept beside the records. It fixes the run ids, and with them the source of each method: what is edited meanwhile
is another run, and is not made under the plan.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.hashing import short_hash
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.inputs.strict_json import read_json
from fewshot_bench.request import Request, words
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.checks.memory_need import check_image
from fewshot_bench.runs.checks.rehearsal import Rehearsed, rehearse
from fewshot_bench.runs.inputs import check_data, ready_data
from fewshot_bench.runs.requests.resolve import Resolved, resolve
from fewshot_bench.runs.session import result_id
from fewshot_bench.storage import write_json
from fewshot_bench.sweeps.claims import FOLDER
from fewshot_bench.sweeps.grid import Combination, Grid

Stale = Literal["keep", "rerun"]
Note = Callable[[str], None]
LARGEST = 2**28
"""Bytes of a stored plan."""


@dataclass(frozen=True)
class Planned:
    """A run of the plan."""

    name: str
    request: Request
    run_id: str
    result_id: str
    folder: str
    """The name of the run's folder."""
    source: str
    """Hash of the source of its method."""
    resolved: Resolved
    """Of the same combination, under whichever seed."""
    kept: bool = False
    """Whether it is a finished run of another source or other data that was kept."""

    @property
    def identity(self) -> tuple[str, str]:
        """What two runs that are one have in common."""
        return self.folder, self.result_id

    def result(self, out: Path) -> dict[str, Any] | None:
        """Its result, where it is finished."""
        try:
            return load_record(out / self.folder).find(self.result_id)
        except DataError:
            return None

    def as_json(self) -> dict[str, Any]:
        """As it is stored and printed."""
        stored = {"name": self.name, "run_id": self.run_id, "result_id": self.result_id, "folder": self.folder}
        return stored | {"source_sha256": self.source} | ({"kept": True} if self.kept else {})


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, in their order."""

    runs: tuple[Planned, ...]
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Of the requests, however the grid is written; their data may lie anywhere."""
        return short_hash([words(replace(run.request, data_root=None, threads=None)) for run in self.runs])

    def path(self, out: Path) -> Path:
        """Where it is kept."""
        return out / FOLDER / f"plan-{self.id}.json"


def make_plan(grid: Grid, given: Request) -> Plan:
    """The plan of a grid, where what it does not say is as in the request that is `given`. Raises `UsageError` that names
    each combination which cannot be run, or `DataError`."""
    found: dict[tuple[str, str], Planned] = {}
    same: dict[tuple[str, str], int] = {}
    resolved: dict[Combination, Resolved] = {}
    refused: dict[Combination, UsageError] = {}
    for one in grid.combinations():
        request = request_of(one, grid, given)
        alike = replace(one, seed=0)
        if alike not in resolved and alike not in refused:
            try:
                resolved[alike] = resolve(request)
            except UsageError as error:
                refused[alike] = error
        if alike in refused:
            continue
        first = resolved[alike]
        of_seed = replace(first, train=first.train.model_copy(update={"seed": one.seed}))
        planned = Planned(
            name_of(one), request, of_seed.run_id, result_id(of_seed), of_seed.folder_name, first.source_sha256, first
        )
        found.setdefault(planned.identity, planned)
        same[planned.identity] = same.get(planned.identity, 0) + 1
    if refused:
        raise _refused(refused)
    notes = [f"{count} values are one run: {found[key].name}." for key, count in same.items() if count > 1]
    return Plan(tuple(found.values()), tuple(notes[:3] + ([f"… and {len(notes) - 3:,} more."] if notes[3:] else [])))


def request_of(one: Combination, grid: Grid, given: Request) -> Request:
    """The request that `fsbench run` would have."""
    named = {"method": one.method, "dataset": one.dataset, "ways": one.ways, "shots": one.shots, "recipe": one.recipe}
    return replace(given, **named, seed=one.seed, settings=one.settings, protocol=grid.protocol)  # type: ignore[arg-type]


def name_of(one: Combination, *, seed: bool = True) -> str:
    """A combination in words."""
    size = f"{one.shots}-shot" if one.ways is None else f"{one.ways}-way {one.shots}-shot"
    words_ = [one.method, one.dataset, size, *([one.recipe] if one.recipe else []), *one.settings]
    return " ".join([*words_, *([f"seed {one.seed}"] if seed else [])])


def _refused(refused: dict[Combination, UsageError]) -> UsageError:
    """The first that cannot be run and why, and the names of the others."""
    (one, error), *others = refused.items()
    text = f"{name_of(one, seed=False)}: {str(error).splitlines()[0]}"
    if not others:
        return UsageError(f"A combination of the grid cannot be run, so nothing is:\n{text}\nLeave it out with exclude.")
    names = "; ".join(plain_yaml.clipped(name_of(other, seed=False)) for other, _ in others[:3])
    more = f" and {len(others) - 3:,} more" if others[3:] else ""
    return UsageError(
        f"{len(refused):,} combinations of the grid cannot be run, so nothing is. {text}\n"
        f"The others: {names}{more}.\nLeave them out with exclude."
    )


def combinations(runs: Iterable[Planned]) -> Iterator[tuple[Planned, Resolved]]:
    """One run of each combination, whatever its seed."""
    seen: set[int] = set()
    for run in runs:
        if id(run.resolved) not in seen:
            seen.add(id(run.resolved))
            yield run, run.resolved


def check_runs(runs: Iterable[Planned], note: Note) -> dict[int, Rehearsed]:
    """Try out each combination on noise, and compare it with its data where these are ready; raises `UsageError` that names
    the combination. Returns what was tried by the id of its `Resolved`."""
    rehearsed: dict[int, Rehearsed] = {}
    for run, resolved in combinations(runs):
        try:
            check_image(resolved)
            if (ready := ready_data(resolved)) is not None:
                fixed = resolved.method_class.fixed_ways
                check_data(ready[0], resolved.train, resolved.test, ready[1], note, fixed_ways=fixed)
            rehearsed[id(resolved)] = rehearse(resolved, resolved.training_classes())
        except UsageError as error:
            raise UsageError(f"{run.name}: {error}") from None
    return rehearsed


def fixed(plan: Plan, out: Path, stale: Stale | None) -> Plan:
    """The plan as it is kept in `out`, where that was begun with the same sources and data. Finished runs of others are kept
    or made anew, as `stale` says; raises `UsageError` where it says nothing."""
    before, kept = _stored(plan.path(out))
    changed = {run.name: before[run.name] for run in plan.runs if before.get(run.name, run.identity) != run.identity}
    old = {run.name: _of_old(run, *changed[run.name]) for run in plan.runs if run.name in changed}
    finished = {name: run for name, run in old.items() if run.result(out) is not None}
    if stale is None and set(finished) <= kept:  # as it was said before
        stale = "keep"
    if finished and stale is None:
        methods = ", ".join(sorted({run.request.method for run in finished.values()}))
        raise UsageError(
            f"{len(finished):,} finished runs of this grid are of another source or other data than now: {methods}.\n"
            "--stale keep counts them as they are, --stale rerun makes them anew; their records stay."
        )
    if not finished or stale == "rerun":
        return plan
    return replace(plan, runs=tuple(finished.get(run.name, run) for run in plan.runs))


def _of_old(run: Planned, folder: str, result: str) -> Planned:
    """The run as it was planned before."""
    return replace(run, folder=folder, result_id=result, run_id=folder.rpartition("-")[2], kept=True)


def is_stored(plan: Plan, out: Path) -> bool:
    """Whether this very plan is kept in `out`: it has been checked."""
    return _stored(plan.path(out))[0] == {run.name: run.identity for run in plan.runs}


def store(plan: Plan, out: Path) -> None:
    """Keep the plan beside the records; raises `FewshotError`."""
    write_json(plan.path(out), {"runs": [run.as_json() for run in plan.runs]})


def _stored(path: Path) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """The identity of each run of a stored plan by its name, and the names of those that were kept; none where no plan is
    stored."""
    try:
        runs = read_json(path, LARGEST)["runs"]
        return {one["name"]: (one["folder"], one["result_id"]) for one in runs}, {
            one["name"] for one in runs if "kept" in one
        }
    except FileNotFoundError:
        return {}, set()
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}. Delete it: the plan is made anew.") from None
