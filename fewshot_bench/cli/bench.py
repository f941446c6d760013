"""`fsbench bench`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fewshot_bench.cli.options import DataRoot, Device, Json
from fewshot_bench.cli.paths import PATH
from fewshot_bench.errors import FewshotError, UsageError


def bench(
    work: Annotated[
        list[str] | None, typer.Option(help="Measure this work only (repeatable): maml-training.", show_default="all")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="omniglot or glyphs.", show_default="omniglot where it is at hand")
    ] = None,
    data_root: DataRoot = None,
    short: Annotated[bool, typer.Option("--short", help="Fewer rounds: a minute or two.")] = False,
    no_peer: Annotated[bool, typer.Option("--no-peer", help="Leave learn2learn out.")] = False,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", **PATH)] = None,
    device: Device = "auto",
) -> int:
    """Measure how fast this machine trains and tests, against its own limit and against learn2learn.

    It says at its end whether the installation looks healthy. Takes about three minutes on 2 cores.

    Example: fsbench bench --short
    """
    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other; --out FILE writes JSON beside the table.")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"--out takes a file in a folder that exists, got {out}.")
    from fewshot_bench.bench.works import chosen

    works = chosen(work)
    from fewshot_bench.bench.run import Wanted, run_bench

    report = run_bench(Wanted(works, dataset, data_root, device, short, with_peer=not no_peer), _say)
    content = json.dumps(report.as_json(), indent=1) + "\n"
    print((content if as_json else report.table().markdown() if markdown else report.text()).rstrip("\n"), flush=True)
    if out is not None:
        _write(out, content)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(out: Path, content: str) -> None:
    try:
        out.write_text(content, encoding="utf-8")
    except OSError as error:
        raise FewshotError(f"Cannot write {out}: {error.strerror}.") from error
