"""`fsbench leaderboard …`. Imported for every `--help`, so the work is imported where it is done."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make a leaderboard's pages from records.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make a leaderboard's pages from records."""  # keeps `build` a command of its own while it is the only one


@app.command()
def build(
    records: Annotated[list[Path] | None, typer.Argument(help="Folders with records.", show_default="runs")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("site"),
) -> None:
    """Write one self-contained page: tables with intervals, published numbers beside the measured ones.

    Example: fsbench leaderboard build leaderboard/results --out site
    """
    from fewshot_bench.records import find_records
    from fewshot_leaderboard.page import write_page

    print(write_page(find_records(records or [Path("runs")]), out))
