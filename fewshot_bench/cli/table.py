"""`fsbench table`."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from fewshot_bench.errors import UsageError, unknown

FORMATS = ("text", "markdown", "csv", "latex", "json")


def table(
    records: Annotated[list[Path] | None, typer.Argument(help="Folders with records.", show_default="runs")] = None,
    style: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print tables of results with their intervals, one for each protocol, data set, ways and shots.

    Example: fsbench table runs leaderboard/results --format markdown
    """
    style = "json" if as_json else style
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    from fewshot_bench.records import find_records
    from fewshot_bench.results import results_tables
    from fewshot_bench.tables import render

    roots = records or [Path("runs")]
    found = find_records(roots)
    if not found:
        raise UsageError(f"No records in {', '.join(str(root) for root in roots)}. Make one: fsbench run --method maml")
    print(render(results_tables(found), cast(Literal["text", "markdown", "csv", "latex", "json"], style)).rstrip("\n"))
