"""`fsbench run`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.arguments import parse_seeds
from fewshot_bench.cli.options import ADVANCED, Json, Out, asks
from fewshot_bench.errors import UsageError
from fewshot_bench.request import Request, line, words

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record
    from fewshot_bench.runs.requests.resolve import Resolved


@asks(Request)
def run(
    asked: Request,
    seeds: str,
    out: Out = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; do nothing.")] = False,
    as_json: Json = False,
    on_existing: Annotated[
        str,
        typer.Option(
            help="For a finished run: reuse, error or overwrite (trains again; other tests stay if weights are the same).",
            rich_help_panel=ADVANCED,
        ),
    ] = "reuse",
    expect: Annotated[
        str | None,
        typer.Option(
            help="Refuse any run but the one of this id: as where the method was edited since.",
            metavar="RUN_ID",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
) -> int:
    """Train a method, test it on the protocol's episodes, and leave a record.

    A finished run is not run again; an interrupted one goes on where it was saved.

    Example: fsbench run --method maml --ways 5 --shots 1 --seeds 0-2
    """
    numbers = parse_seeds(seeds)
    from fewshot_bench.runs.requests.resolve import resolve_seeds

    runs = resolve_seeds(asked, numbers)
    if other := [resolved.run_id for resolved in runs if expect not in (None, resolved.run_id)]:
        raise UsageError(f"This is run {other[0]}, not {expect}: the method's source, or the data, are not what they were.")
    if dry_run:
        return _dry_run(runs, out, as_json)
    from fewshot_bench.backbone_section import weights_in
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.cli.summary import summary
    from fewshot_bench.results.rerun_command import Places
    from fewshot_bench.runs.execution import execute
    from fewshot_bench.runs.training import Interrupted

    made: list[tuple[Record, dict[str, Any]]] = []
    for done, (seed, resolved) in enumerate(zip(numbers, runs, strict=True)):
        with Bars(f"{asked.method} seed {seed}") as bars:
            try:
                made.append(execute(replace(asked, seed=seed), resolved, out, on_existing, bars))  # type: ignore[arg-type]
            except (Interrupted, KeyboardInterrupt) as stopped:
                at = (
                    f"Stopped after update {stopped.update:,}; saved."
                    if isinstance(stopped, Interrupted)
                    else "Interrupted."
                )
                left = seeds if on_existing == "reuse" else ",".join(map(str, numbers[done:]))  # not those again
                more = {} if on_existing == "reuse" else {"on_existing": on_existing}
                bars.note(f"{at} This goes on:\n{line(words(asked, seeds=left, out=out, **more))}")
                return 130
    if as_json:
        print(json.dumps([{"asked": result["id"], **record.content} for record, result in made], indent=1))
    else:
        print(summary(made, Places(asked.data_root, asked.test_data_root, weights_in(asked.settings))))
    return 0


def _dry_run(runs: list["Resolved"], out: Path, as_json: bool) -> int:
    from fewshot_bench.episodes.size import EpisodeSize
    from fewshot_bench.runs.checks.memory_need import check_image
    from fewshot_bench.runs.checks.rehearsal import rehearse
    from fewshot_bench.runs.checks.run_time import long_work
    from fewshot_bench.runs.inputs import check_data, ready_data
    from fewshot_bench.runs.plan import choose_plan

    first = runs[0]  # the others differ from it in their seed
    check_image(first)
    ready = ready_data(first)
    if ready is not None:
        told = first.method_class.fixed_ways, lambda text: print(text, file=sys.stderr)
        check_data(ready[0], first.train, first.test, ready[1], told[1], fixed_ways=told[0])
    rehearsed = rehearse(first, first.training_classes())
    trial = choose_plan("cpu", EpisodeSize.of(first.test).images)
    if long := long_work(rehearsed, first.train, first.test, rehearsed.method, trial):
        print(f"fsbench: {long}", file=sys.stderr)
    plans: list[dict[str, Any]] = []
    for resolved in runs:
        plans.append(
            {
                "run_id": resolved.run_id,
                "folder": str(out / resolved.folder_name),
                "prepared": ready is not None,
                "parameters": sum(p.numel() for p in rehearsed.method.parameters()),
                "train": resolved.train.model_dump(),
                "test": resolved.test.model_dump(),
                **({"budget": resolved.budget} if resolved.budget else {}),
            }
        )
    if as_json:
        print(json.dumps(plans, indent=1))
        return 0
    import yaml

    for plan in plans:
        print(yaml.safe_dump(plan, sort_keys=False).rstrip())
    print("# Nothing was run. --set section.key=value sets a key (section method, train, validation, data or test).")
    return 0
