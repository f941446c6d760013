"""Records to one static HTML page that needs nothing but itself: no network, no fonts, no scripts of others.

The same records give the same bytes, in whatever order they come and wherever they lie. All text of records is escaped
by Jinja2, and the page's Content-Security-Policy admits its own style and script alone.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import MORE
from fewshot_bench.errors import UsageError
from fewshot_bench.hashing import short_hash
from fewshot_bench.metrics import METRICS, extra_metrics
from fewshot_bench.results.pooling import Conflict
from fewshot_bench.results.records import Record
from fewshot_bench.results.tables import Board, boards
from fewshot_bench.storage import atomic
from fewshot_bench.table import EMPTY, Cell, Column, Table
from fewshot_bench.text.printable import LONGEST, printable
from fewshot_leaderboard.measured import anything_published
from fewshot_leaderboard.nearest import Chosen, Conditions, nearest
from fewshot_leaderboard.plot import MARGIN, WIDTH, Axis
from fewshot_leaderboard.published import Published, published, published_name

REPRODUCTION = "reproduction.html"
"""The page beside this one that says what the records reproduce of the papers (`reproduction_page`)."""

PLOT = Column(
    "plot",
    "95 % interval",
    "The mean (dot), its interval (line) and the published number (diamond) on one axis; a triangle is off its scale.",
)
PUBLISHED = Column(
    "published",
    "published",
    "The paper's number and the conditions under which the paper measured it; of several, the nearest in conditions first.",
)
DIFFERENCE = Column(
    "difference", "difference", "Measured minus published. Where the conditions differ, it includes their effect.", "right"
)


@dataclass(frozen=True)
class _Row:
    """One row for the template: the table's cells and what the page adds to them."""

    cells: dict[str, Cell]
    chosen: Chosen | None
    """The published number that it is compared with, and the others."""
    difference: float | None
    """Measured minus published, in the unit of print."""
    low: float
    mean: float
    high: float
    """In the unit of print."""

    @property
    def published(self) -> Published | None:
        """The published number that it is compared with."""
        return self.chosen.printed if self.chosen else None

    @property
    def printed(self) -> float:
        """The published number in the unit of print; the measured one where none is known."""
        return self.mean - (self.difference or 0.0)

    @property
    def setting(self) -> list[str]:
        """What was trained and how it is normalised, in short phrases."""
        parts = [("", "backbone"), ("trained ", "trained"), ("normalisation ", "normalisation")]
        texts = [(name, self.cells[key].text) for name, key in parts]
        texts += [("", setting) for setting in self.cells["settings"].text.split(", ")]
        return [name + text for name, text in texts if text not in EMPTY]  # each wraps as a whole


@dataclass(frozen=True)
class _Shown:
    """One table for the template."""

    id: str
    table: Table
    rows: list[_Row]
    axis: Axis
    csv: str
    """The table's values as a data URI."""

    @cached_property
    def columns(self) -> list[Column]:
        """The page's columns: some of the table's own, the plot and, where there is one, the published number."""
        own = {column.key: column for column in self.table.visible()}
        printed = [PUBLISHED, DIFFERENCE] if any(row.published for row in self.rows) else []
        first = [own[key] for key in ("rank", "method", "mean") if key in own]
        seen = [own["images"]] if "images" in own else []  # where the rows differ in them
        best = [own["best"]] if "best" in own else []  # where rows were compared
        extra = [own[name] for name in extra_metrics() if name in own]
        return [*first, *best, PLOT, *extra, *seen, own["episodes"], own["seeds"], *printed]


def write_page(html: str, folder: Path, name: str = "index.html") -> Path:
    """Write a page into `folder` (made where missing) and return its path; raises `FewshotError` where it refuses."""
    path = folder / name
    with atomic(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return path


def page(records: Sequence[Record]) -> str:
    """The page as HTML; raises `UsageError` where there is no result, `DataError` for damaged scores."""
    return page_of(*boards(records))


def page_of(found: Sequence[Board], conflicts: Sequence[Conflict]) -> str:
    """The page of some tables, and of records that stand in none; raises `UsageError` where there is no table."""
    shown = [_board(board.table) for board in sorted(found, key=lambda board: _order(board.table))]
    if not shown:
        raise UsageError("No records with results found. Make one: fsbench run --method maml --ways 5 --shots 1")
    by_protocol = groupby(shown, key=lambda board: str(board.table.about["protocol"]))
    style, script = asset("style.css"), asset("sort.js")
    return template("page.html").render(
        reproduction=REPRODUCTION if anything_published(found) else None,
        sections=[(name, _explained(name), list(group)) for name, group in by_protocol],
        definitions={c.header: c.definition for board in shown for c in board.columns},
        results=sum(len(board.rows) for board in shown),
        runs=len({run.run_id for board in found for pooled in board.rows for run in pooled.runs}),
        conflicts=[printable(conflict.text(whole=False), LONGEST) for conflict in conflicts],
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        plot_width=WIDTH,
        plot_margin=MARGIN,
    )


def _explained(protocol: str) -> str:
    """The sentence that explains a protocol."""
    summary = PROTOCOLS[protocol].summary if protocol in PROTOCOLS else "conditions of a plugin or an older version"
    return summary[:1].upper() + summary[1:].replace("`", "") + "."


def _order(table: Table) -> tuple[Any, ...]:
    about, names = table.about, list(PROTOCOLS)
    place = names.index(about["protocol"]) if about["protocol"] in names else len(names)  # others last, by name
    return place, about["protocol"], about["dataset"], about["ways"], about["shots"], about["metric"], table.title


def _board(table: Table) -> _Shown:
    scale = METRICS[table.about["metric"]].scale
    rows = [_row(dict(cells), table.about, scale) for cells in table.rows]
    axis = Axis.around([[row.mean, row.low, row.high, row.printed] for row in rows])
    csv = "data:text/csv;charset=utf-8," + quote(table.csv())
    return _Shown(f"table-{short_hash(dict(table.about))}", table, rows, axis, csv)


def _row(cells: dict[str, Cell], about: Any, scale: int) -> _Row:
    name = published_name(*(cells[key].value for key in ("method", "hparams", "normalisation")))
    one_size = not MORE & about.keys()  # as all that was published
    found = published(name, about["dataset"], about["ways"], about["shots"], about["metric"]) if one_size else ()
    chosen = nearest(found, Conditions.of(cells))
    low, mean, high = (cells[key].value * scale for key in ("low", "mean", "high"))
    return _Row(cells, chosen, mean - chosen.printed.value * scale if chosen else None, low, mean, high)


def template(name: str) -> Template:
    """A template of the pages, which escapes every text."""
    environment = Environment(
        loader=PackageLoader("fewshot_leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def asset(name: str) -> str:
    """A style or script of the pages."""
    return files("fewshot_leaderboard").joinpath("templates", name).read_text(encoding="utf-8")


def policy(style: str, script: str = "") -> str:
    """A Content-Security-Policy under which only this very style and script run, and nothing is fetched."""
    style_hash, script_hash = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    scripts = f"'sha256-{script_hash}'" if script else "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src {scripts}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
