"""`fsbench compare`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from fewshot_bench.cli.numbers import NUMBER
from fewshot_bench.cli.options import DataRoot, DatasetHere, Out, TestDataRoot
from fewshot_bench.cli.table import FORMATS
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.text.printable import printable

if TYPE_CHECKING:
    from fewshot_bench.results.record_folders import Reading


def compare(
    runs: Annotated[list[str], typer.Argument(help="Runs: folders, names or starts of ids; or folders of runs.")],
    out: Out = Path("runs"),
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    protocol: Annotated[str | None, typer.Option(help="Only results under this protocol.")] = None,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Each run by itself; seeds are not pooled.")] = False,
    over: Annotated[
        str, typer.Option(help="What intervals speak of: more episodes, new images, or new classes.")
    ] = "episodes",
    by: Annotated[str | None, typer.Option(help="class: where the difference of two results comes from.")] = None,
    classes: Annotated[int, typer.Option(help="With --by class: how many are shown; 0 for all.", **NUMBER)] = 20,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Without pairs, for results of other test episodes.")] = False,
    style: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    data_root: DataRoot = None,
    test_data_root: TestDataRoot = None,
    dataset: DatasetHere = None,
) -> None:
    """Compare runs episode by episode: differences, intervals, p-values after Holm's correction, ties.

    Example: fsbench compare runs

    Two runs, by class: fsbench compare 3f2a9c 90de6c --by class

    On new classes: fsbench compare runs --over classes
    """
    style = "json" if as_json else style
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    if by not in (None, "class"):
        raise unknown("--by", by, ["class"])
    if by and over != "episodes":
        raise UsageError(f"The differences by class are over episodes: leave --over {over} out, or --by class.")
    if classes < 0:
        raise UsageError(f"--classes must be a whole number of at least 0, got {classes}.")
    from fewshot_bench.results.class_tables import by_class_table
    from fewshot_bench.results.comparison import compare_records
    from fewshot_bench.results.comparison_tables import comparison_tables
    from fewshot_bench.results.pooling import conflicts_of
    from fewshot_bench.table import render

    reading = records_of(runs, out)
    found = compare_records(
        reading.records,
        level=level,
        paired=not unpaired,
        checkpoints=checkpoints,
        protocol=protocol,
        over=cast(Literal["episodes", "images", "classes"], over),
    )
    if by:
        most = None if style in ("json", "csv") or not classes else classes
        tables = [
            by_class_table(
                one.by_class(data_root=data_root, test_data_root=test_data_root, dataset=dataset), one.title, most
            )
            for one in found
        ]
    else:
        tables = [table for one in found for table in comparison_tables(one)]
    print(render(tables, cast(Literal["text", "markdown", "csv", "latex", "json"], style)).rstrip("\n"))
    reading.end(conflicts_of(reading.records))


def records_of(runs: list[str], out: Path) -> "Reading":
    """The records of runs, named as for `fsbench test`, and those in folders; each once."""
    from fewshot_bench.results.record_folders import Reading

    return Reading.of(_roots(runs, out))


def folders_of(runs: list[str], out: Path) -> list[Path]:
    """The folders of runs, named as for `fsbench test`, and of those in folders; each once."""
    roots = _roots(runs, out)
    for root in roots:
        os.scandir(root).close()  # what may not be read is no empty folder
    found = {path.parent for root in roots for path in root.rglob("record.json")}
    if not found:
        raise UsageError(f"No records in {', '.join(printable(run) for run in runs)}. See: fsbench list runs")
    return sorted(found)


def _roots(runs: list[str], out: Path) -> list[Path]:
    from fewshot_bench.cli.test import find_run

    return list(dict.fromkeys(Path(run) if run and Path(run).is_dir() else find_run(run, out) for run in runs))
