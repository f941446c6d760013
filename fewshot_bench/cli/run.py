"""`fsbench run`."""

import json
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli.paths import PATH
from fewshot_bench.errors import UsageError

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record
    from fewshot_bench.runs.requests.resolve import Resolved

ADVANCED = "Advanced"
MOST_SEEDS = 1000
"""Of one command."""


def whole_number(text: str | int) -> int:
    """An option's value; raises what typer reports, with the value that was given."""
    if isinstance(text, int) or re.fullmatch(r"[-+]?[0-9]{1,100}", text):
        return int(text)
    raise typer.BadParameter(f"{_short(str(text))!r} is not a whole number{_meant(str(text))}.")


def _meant(text: str) -> str:
    """How a whole number that was written otherwise is written; "" where it is none."""
    with suppress(ValueError, OverflowError):
        if text.isascii() and (number := float(text.replace(",", ""))) == int(number) and abs(number) < 2**63:
            several = "; a run has one: for several give the command once for each" if "," in text else ""
            return f": write {int(number)}{several}"
    return ": a run has one; give the command once for each" if re.fullmatch(r"\d+(\s*[,-]\s*\d+)+", text) else ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


NUMBER: dict[str, Any] = {"parser": whole_number, "metavar": "<int>"}

Out = Annotated[Path, typer.Option(help="Folder of the records.", **PATH)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key (repeatable).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps …", rich_help_panel=ADVANCED)]
DataRoot = Annotated[Path | None, typer.Option(help="Folder or archive of the data (else FSBENCH_DATA).", **PATH)]
TestDataRoot = Annotated[
    Path | None, typer.Option(help="Folder or archive of the test's data, if elsewhere.", rich_help_panel=ADVANCED, **PATH)
]
TestDataset = Annotated[
    str | None, typer.Option(help="Test on another data set than it trains on.", rich_help_panel=ADVANCED)
]
Protocol = Annotated[
    str | None,
    typer.Option(help="Test conditions: standard, standard-transductive, standard-regression, snell, finn, ravi, custom."),
]
Queries = Annotated[
    int | None, typer.Option(help="Test queries a class (protocol custom).", rich_help_panel=ADVANCED, **NUMBER)
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads (else OMP_NUM_THREADS, else the cores).", rich_help_panel=ADVANCED, **NUMBER),
]
Episodes = Annotated[int | None, typer.Option(help="Test episodes (protocol custom).", rich_help_panel=ADVANCED, **NUMBER)]

Images = Annotated[
    int | None,
    typer.Option(help="Budget of training images, which decides the updates.", rich_help_panel=ADVANCED, **NUMBER),
]


def run(
    method: Annotated[str, typer.Option(help="A name of `fsbench list methods`, or file.py:Class.")],
    dataset: Annotated[str, typer.Option(help="A name of `fsbench list datasets`; a+b trains on both.")] = "glyphs",
    ways: Annotated[
        int | None, typer.Option(help="Classes in a test episode; functions have none.", show_default="5", **NUMBER)
    ] = None,
    shots: Annotated[int, typer.Option(help="Support images a class.", **NUMBER)] = 1,
    seeds: Annotated[str, typer.Option(help="Training seeds, a run each: 0, 0-4 or 0,2,5.")] = "0",
    recipe: Annotated[str | None, typer.Option(help="A recipe of the method's card (or NAME@DATASET), or my.yaml.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The embedding network (else the recipe's).", rich_help_panel=ADVANCED)
    ] = None,
    settings: Settings = None,
    protocol: Protocol = None,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; do nothing.")] = False,
    as_json: Json = False,
    test_dataset: TestDataset = None,
    test_data_root: TestDataRoot = None,
    device: Device = "auto",
    threads: Threads = None,
    queries: Queries = None,
    episodes: Episodes = None,
    images: Images = None,
    on_existing: Annotated[
        str, typer.Option(help="For a finished run: reuse, error or overwrite.", rich_help_panel=ADVANCED)
    ] = "reuse",
) -> int:
    """Train a method, test it on the protocol's episodes, and leave a record.

    A finished run is not run again; an interrupted one goes on where it was saved.

    Example: fsbench run --method maml --ways 5 --shots 1 --seeds 0-2
    """
    numbers = parse_seeds(seeds)
    from fewshot_bench.runs.requests.request import Request
    from fewshot_bench.runs.requests.resolve import resolve_seeds

    request = Request(
        method=method,
        dataset=dataset,
        ways=ways,
        shots=shots,
        protocol=protocol,
        queries=queries,
        episodes=episodes,
        recipe=recipe,
        settings=tuple(settings or ()),
        device=device,
        data_root=data_root,
        test_dataset=test_dataset,
        test_data_root=test_data_root,
        images=images,
        threads=threads,
        backbone=backbone,
    )
    runs = resolve_seeds(request, numbers)
    if dry_run:
        return _dry_run(runs, out, as_json)
    from fewshot_bench.backbone_section import weights_in
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.cli.summary import summary
    from fewshot_bench.results.rerun_command import Places
    from fewshot_bench.runs.execution import execute
    from fewshot_bench.runs.requests.reproduce import reproduce_command
    from fewshot_bench.runs.training import Interrupted

    made: list[tuple[Record, dict[str, Any]]] = []
    for done, (seed, resolved) in enumerate(zip(numbers, runs, strict=True)):
        with Bars(f"{method} seed {seed}") as bars:
            try:
                made.append(execute(replace(request, seed=seed), resolved, out, on_existing, bars))  # type: ignore[arg-type]
            except (Interrupted, KeyboardInterrupt) as stopped:
                at = (
                    f"Stopped after update {stopped.update:,}; saved."
                    if isinstance(stopped, Interrupted)
                    else "Interrupted."
                )
                left = seeds if on_existing == "reuse" else ",".join(map(str, numbers[done:]))  # not those again
                bars.note(f"{at} This goes on:\n{reproduce_command(request, left, out, on_existing)}")
                return 130
    if as_json:
        print(json.dumps([record.content for record, _ in made], indent=1))
    else:
        print(summary(made, Places(data_root, test_data_root, weights_in(settings or ()))))
    return 0


def parse_seeds(text: str) -> list[int]:
    """`3`, `0-4` or `0,2,5-7` as numbers; raises `UsageError`."""
    given, ranges = repr(_short(text)), []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)) or int(last or first) < int(first):
            raise UsageError(f"--seeds takes numbers from 0 up, such as 3, 0-4 or 0,2,5; got {given}.")
        ranges.append(range(int(first), int(last or first) + 1))
    if sum(map(len, ranges)) > MOST_SEEDS or any(numbers[-1] >= 2**32 for numbers in ranges):  # counted before it is built
        raise UsageError(f"--seeds takes at most {MOST_SEEDS:,} seeds below 2^32; got {given}.")
    seeds = [seed for numbers in ranges for seed in numbers]
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds names a seed twice: {given}.")
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


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
