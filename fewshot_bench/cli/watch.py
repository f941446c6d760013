"""`fsbench watch`."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli import interrupts
from fewshot_bench.cli.options import Json
from fewshot_bench.cli.paths import PATH, is_folder
from fewshot_bench.text.durations import duration
from fewshot_bench.text.printable import cleaned, printable

if TYPE_CHECKING:
    from fewshot_bench.runs.standings import Standing

LOOK_EVERY_S = 2.0
ORDER = ("running", "interrupted", "damaged", "finished")


def watch(
    out: Annotated[Path, typer.Argument(help="Folder of the runs.", **PATH)] = Path("runs"),
    as_json: Json = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Leave out finished runs.")] = False,
) -> int:
    """Show how the runs of a folder stand, again and again until Ctrl-C.

    Where stdout is no terminal it is shown once.

    Example: fsbench watch runs
    """
    is_folder(out)  # or nothing yet
    from fewshot_bench.runs.standings import standings

    def found() -> list["Standing"]:
        rows = [one for one in standings(out) if not (unfinished and one.state == "finished")]
        return sorted(rows, key=lambda one: ORDER.index(one.state))

    if as_json:
        print(json.dumps([row_of(one) for one in found()], indent=1))
    elif not sys.stdout.isatty():
        print(_text(found(), out, 80))
    else:
        _live(found, out)
    return 0


def _live(found: Callable[[], list["Standing"]], out: Path) -> None:
    """A table in the terminal that is drawn again."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        try:
            with interrupts.handled_by(interrupts.interrupted):
                while True:
                    live.update(Text(_text(found(), out, console.width)), refresh=True)
                    time.sleep(LOOK_EVERY_S)
        except KeyboardInterrupt:
            return


def _text(rows: list["Standing"], out: Path, width: int) -> str:
    from fewshot_bench.table import Column, Table

    if not rows:
        return f"No runs in {printable(str(out))}."
    columns = [
        Column("run", "run", "Its folder.", leads=True),
        Column("state", "state", "finished, running, interrupted or damaged.", leads=True),
        Column("updates", "updates", "Made, of all.", "right", leads=True),
        Column("loss", "loss", "Mean training loss at the last point of the learning curve.", "right"),
        Column("validation", "validation", "Score on validation episodes at that point.", "right"),
        Column("left", "left", "Time of training that is left.", "right"),
        Column("written", "written", "When its files last changed.", "right"),
    ]
    states = Counter(one.state for one in rows)
    title = f"{printable(str(out))}: " + ", ".join(f"{count} {state}" for state, count in states.items())
    table = Table(title, columns, [_cells(one) for one in rows], [], {})
    return table.text(width).rstrip("\n")


def _cells(one: "Standing") -> dict[str, Any]:
    from fewshot_bench.table import Cell

    texts = {
        "run": one.folder.name,
        "state": one.state,
        "updates": f"{one.update:,}" + (f"/{one.updates:,}" if one.updates else "") if one.update else "–",
        "loss": "–" if one.loss is None else f"{one.loss:.4g}",
        "validation": "–" if one.validation is None else f"{one.validation:.4f}",
        "left": "–" if one.left_s is None else duration(one.left_s),
        "written": f"{duration(one.age_s)} ago",
    }
    return {key: Cell(text, text) for key, text in texts.items()}


def row_of(one: "Standing") -> dict[str, Any]:
    """A run as JSON."""
    row: dict[str, Any] = {
        "run": one.folder.name,
        "folder": str(one.folder),
        "state": one.state,
        "update": one.update,
        "updates": one.updates,
        "loss": one.loss,
        "validation": one.validation,
        "left_s": one.left_s if one.left_s is None else round(one.left_s, 1),
        "age_s": round(one.age_s, 1),
        "bytes": one.size,
    }
    row |= {"reason": one.reason} if one.reason else {}
    return {key: cleaned(value) for key, value in row.items()}
