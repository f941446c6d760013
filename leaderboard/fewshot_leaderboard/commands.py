"""`fsbench leaderboard …`. Imported for every `--help`, so the work is imported where it is done."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make a leaderboard's pages and tables from records.", no_args_is_help=True)


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


@app.command()
def methods(
    records: Annotated[
        list[Path] | None, typer.Argument(help="Folders with records.", show_default="leaderboard/results")
    ] = None,
    out: Annotated[Path, typer.Option(help="The text to write into, between two markers.")] = Path("methods/README.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where the text is out of date.")] = False,
) -> None:
    """Write the table of methods: what each declares, its published numbers beside the measured ones.

    Example: fsbench leaderboard methods leaderboard/results --out methods/README.md
    """
    from fewshot_bench.records import find_records
    from fewshot_leaderboard.methods_table import write_readme

    write_readme(out, find_records(records or [Path("leaderboard/results")]), check)
    print(out)
