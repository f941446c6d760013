"""`fsbench table`."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from fewshot_bench.cli.paths import PATH
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.text.printable import printable

INTERVALS = ("t", "bca")
FORMATS = ("text", "markdown", "csv", "latex", "json")


def table(
    records: Annotated[list[Path] | None, typer.Argument(help="Folders with records.", show_default="runs", **PATH)] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(help="Also the interval on new images or new classes (repeatable).", metavar="images|classes"),
    ] = None,
    interval: Annotated[str, typer.Option(help="Of one seed: t, or bca, a bootstrap.", metavar="t|bca")] = "t",
    style: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print tables of results with their intervals, one for each protocol, data set, ways and shots.

    Example: fsbench table runs leaderboard/results --format markdown

    On new classes too: fsbench table runs --over classes
    """
    style = "json" if as_json else style
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    from fewshot_bench.results.data_interval import OVERS
    from fewshot_bench.results.record_folders import Reading
    from fewshot_bench.results.tables import boards
    from fewshot_bench.table import render

    if interval not in INTERVALS:
        raise unknown("--interval", interval, INTERVALS)
    for question in over or []:
        if question not in OVERS[1:]:
            raise unknown("--over", question, OVERS[1:])
    roots = records or [Path("runs")]
    reading = Reading.of(roots)
    if not reading.records:
        named = ", ".join(printable(str(root)) for root in roots)
        raise UsageError(f"No records in {named}. Make one: fsbench run --method maml")
    found, conflicts = boards(
        reading.records,
        cast(list[Literal["images", "classes"]], list(dict.fromkeys(over or []))),
        bootstrap=interval == "bca",
    )
    tables = [board.table for board in found]
    if tables:
        print(render(tables, cast(Literal["text", "markdown", "csv", "latex", "json"], style)).rstrip("\n"))
    reading.end(conflicts)
