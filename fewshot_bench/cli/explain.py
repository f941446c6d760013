"""`fsbench explain`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from fewshot_bench.cli.numbers import NUMBER
from fewshot_bench.cli.options import DataRoot, DatasetHere, Out, TestDataRoot
from fewshot_bench.cli.paths import PATH
from fewshot_bench.cli.table import FORMATS
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.request import TestRequest

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record


def explain(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name, or the start of its id.")],
    result: Annotated[str | None, typer.Option(help="The start of a result's id, where the run has several.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Also write an HTML page with pictures of the hardest episodes.", **PATH)
    ] = None,
    classes: Annotated[int, typer.Option(help="How many classes and pairs are shown; 0 for all.", **NUMBER)] = 10,
    episodes: Annotated[int, typer.Option(help="How many episodes are shown.", **NUMBER)] = 5,
    out: Out = Path("runs"),
    style: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    data_root: DataRoot = None,
    test_data_root: TestDataRoot = None,
    dataset: DatasetHere = None,
) -> None:
    """Tell what a run gets wrong: its hardest classes and episodes, the classes that it confuses, its calibration.

    Confused classes and calibration need `--keep predictions` of fsbench run or test.

    Example: fsbench explain 3f2a9c --page hard.html
    """
    style = "json" if as_json else style
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    for option, count, least in (("classes", classes, 0), ("episodes", episodes, 1)):
        if count < least:
            raise UsageError(f"--{option} must be a whole number of at least {least}, got {count}.")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--page must name a .html, got {str(page)!r}.")
    from fewshot_bench.cli.test import find_run
    from fewshot_bench.results.explanation import explain as explained
    from fewshot_bench.results.explanation_tables import explanation_tables, title_of
    from fewshot_bench.results.records import load_record
    from fewshot_bench.table import render

    record = load_record(find_run(run, out))
    given = TestRequest(dataset=dataset, test_dataset=dataset, data_root=data_root, test_data_root=test_data_root)
    found = explained(record, _result(record, result), given)
    whole = style in ("json", "csv")
    most = (None, None) if whole else (classes or None, episodes)
    tables = explanation_tables(found, classes=most[0], episodes=most[1])
    if page is not None:
        from fewshot_bench.results.explanation_page import write_page

        shown = explanation_tables(found, classes=classes or None, episodes=episodes)[:-1]
        write_page(page, found, shown, episodes)
    text = render(tables, cast(Literal["text", "markdown", "csv", "latex", "json"], style)).rstrip("\n")
    if style == "json":
        about = {"title": title_of(found), "result": found.result["id"], "missing": found.missing}
        text = json.dumps(about | json.loads(text), indent=1)
    print(text if whole or style == "latex" else _framed(title_of(found), text, found.missing, page))


def _framed(title: str, text: str, missing: list[str], page: Path | None) -> str:
    """The tables below what they are of, and above what is missing."""
    import textwrap

    from fewshot_bench.text.printable import LONGEST, printable

    said = [printable(one, LONGEST) for one in missing] + ([f"Pictures: {printable(str(page), LONGEST)}"] if page else [])
    lines = [line for one in said for line in textwrap.wrap(one, 80, break_long_words=False, break_on_hyphens=False)]
    return "\n".join([*textwrap.wrap(printable(title, LONGEST), 80), "", text, *([""] if lines else []), *lines])


def _result(record: "Record", wanted: str | None) -> dict[str, Any]:
    """The result that is asked for, or the only one."""
    found = [one for one in record.results if one["id"].startswith(wanted or "")]
    if len(found) == 1:
        return found[0]
    there = "; ".join(
        f"{one['id']} ({one['test']['protocol']}, {one['test']['ways']}-way {one['test']['shots']}-shot)"
        for one in record.results[:6]
    )
    which = "Say which with --result" if wanted is None else f"--result {wanted!r} names {len(found)}"
    raise UsageError(
        f"{record.folder.name} holds {len(record.results)} result{'s' * (len(record.results) != 1)}. {which}: {there}."
    )
