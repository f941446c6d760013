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
    """Write a self-contained page: tables with intervals, published numbers beside the measured ones. Where there are any, a
    second page, reproduction.html, says what the records reproduce of the papers.

    Example: fsbench leaderboard build leaderboard/results --out site
    """
    from fewshot_bench.results.record_folders import Reading
    from fewshot_bench.results.tables import boards
    from fewshot_leaderboard.measured import anything_published
    from fewshot_leaderboard.page import REPRODUCTION, page_of, write_page
    from fewshot_leaderboard.reproduction_page import reproduction_page

    reading = Reading.of(records or [Path("runs")])
    found, conflicts = boards(reading.records)
    if not found:
        reading.end(conflicts)
    html = page_of(found, conflicts)
    if anything_published(found):
        write_page(reproduction_page(found), out, REPRODUCTION)
    print(write_page(html, out))
    reading.end(conflicts)


@app.command()
def reproduction(
    records: Annotated[
        list[Path] | None, typer.Argument(help="Folders with records.", show_default="leaderboard/results")
    ] = None,
    out: Annotated[Path, typer.Option(help="The report; its figures go to the folder assets beside it.")] = Path(
        "docs/reproduction.md"
    ),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where the report is out of date.")] = False,
) -> None:
    """Write the report of what the records reproduce of the papers, with learning curves.

    Example: fsbench leaderboard reproduction leaderboard/results
    """
    from fewshot_bench.results.record_folders import Reading
    from fewshot_bench.results.tables import boards
    from fewshot_leaderboard.report import write_report

    reading = Reading.of(records or [Path("leaderboard/results")])
    found, conflicts = boards(reading.records)
    if check:  # without what is left out the text would be another
        reading.end(conflicts)
    write_report(out, found, check)
    print(out)
    reading.end(conflicts)


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
    from fewshot_bench.results.pooling import conflicts_of
    from fewshot_bench.results.record_folders import Reading
    from fewshot_leaderboard.methods_table import write_readme

    reading = Reading.of(records or [Path("leaderboard/results")])
    conflicts = conflicts_of(reading.records)
    if check:  # without what is left out the text would be another
        reading.end(conflicts)
    write_readme(out, reading.records, check)
    print(out)
    reading.end(conflicts)


@app.command()
def check(
    records: Annotated[list[Path], typer.Argument(help="Folders of records, or folders with such folders.")],
    published: Annotated[
        Path | None, typer.Option(help="Records that are published already: none of their scores may change.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder or archive of the data (else FSBENCH_DATA).")] = None,
) -> None:
    """Check records by the rules of the leaderboard before they are published. Nothing that they bring is imported.

    Ends with 4 where a record breaks a rule, and with 70 where the check itself fails.

    Example: fsbench leaderboard check runs/maml-glyphs-8a46bd8e6f2d --published leaderboard/results
    """
    from fewshot_bench.errors import UsageError
    from fewshot_bench.request import TestRequest
    from fewshot_bench.runs.listener import Listener
    from fewshot_bench.text.printable import LONGEST, printable
    from fewshot_leaderboard.gate import Refused, checked, submitted

    if published is not None and not published.is_dir():
        raise UsageError(f"--published {published} is no folder.")
    folders = submitted(records)
    refused = 0
    for folder in folders:
        broken = checked(folder, published, TestRequest(data_root=data_root), Listener())
        refused += bool(broken)
        print(printable(f"{folder.name}: {'refused' if broken else 'keeps every rule'}", LONGEST))
        for one in broken:
            print(printable(f"  {one.rule}: {one.said}", LONGEST))
    if refused:
        raise Refused(f"{refused} of {len(folders)} records break a rule. docs/how-to/submit.md has the rules.")
