"""The generated part of `methods/README.md`: what every installed method is, and its measured numbers beside the published.

It stands between two markers and comes from the methods' classes and cards, the committed records and the published numbers
alone, so that `fsbench leaderboard methods --check` can say whether it is up to date.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.results.records import Record
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.storage import atomic
from fewshot_bench.table import Cell, Column, Table
from fewshot_leaderboard.comparison import comparison_tables

START, END = "<!-- table -->", "<!-- /table -->"

SHAPE = (1, 28, 28)
NETWORK = "conv4-64"
COUNTED = (
    "parameters: Of the recipe controlled for Omniglot 5-way 1-shot, of default where there is none; the network is "
    f"{NETWORK} or stands in brackets. A head over all training classes is counted."
)
MODES = "A test whose normalisation is separate or joint is transductive, whatever the method."

COLUMNS = (
    Column("method", "method", "Name of the plugin.", leads=True),
    Column("paper", "paper", "Where it is from.", links=True),
    Column("learns", "learns from", "Episodes, batches of images of all training classes, or nothing.", leads=True),
    Column("transductive", "transductive", "Queries see each other, whatever the normalisation.", leads=True),
    Column("equivariant", "way-equivariant", "The names of the classes change no answer.", leads=True),
    Column("invariant", "order-invariant", "The order of the support changes no answer.", leads=True),
    Column("built", "built for", "What training and test must have in common.", leads=True),
    Column("regression", "regression", "It also learns functions.", leads=True),
    Column("parameters", "parameters", "Trained numbers.", "right", leads=True),
)


def write_readme(path: Path, records: Sequence[Record], check: bool = False) -> None:
    """Make the tables of a README anew, or only `check` that they are up to date: `FewshotError` where they are not.

    Raises `UsageError` where there is no such file or it has no markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from None
    fresh = renewed(text, records)
    if check and fresh != text:
        raise FewshotError(
            f"{path} is out of date. Make it again: fsbench leaderboard methods --out {shlex.quote(str(path))}"
        )
    if fresh != text:
        with atomic(path) as temporary:
            temporary.write_text(fresh, encoding="utf-8", newline="\n")


def renewed(text: str, records: Sequence[Record]) -> str:
    """A text with what is between its markers made anew; raises `UsageError` where it has no markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UsageError(f"There is nothing to write between: the text needs the lines {START} and {END}.")
    tables = [table.markdown().rstrip() for table in (methods_table(), *comparison_tables(records))]
    return "\n\n".join([before + START, *tables, END + after])


def methods_table() -> Table:
    """Every registered method, what it is and declares; one that cannot be imported by its name alone, with a note."""
    rows, notes = [], []
    for plugin in registry.registered("methods").values():
        empty = {column.key: Cell.of("") for column in COLUMNS} | {"method": Cell.of(plugin.name)}
        try:
            row = _declared(plugin, plugin.load())
            row["parameters"] = Cell.of(_parameters(plugin))
        except FewshotError as error:
            row = empty
            notes.append(str(error).partition("\n")[0])
        rows.append(row)
    definitions = [f"{column.header}: {column.definition}" for column in COLUMNS[2:-1]]
    return Table("What each method is", COLUMNS, rows, [*definitions, COUNTED, MODES, *notes])


def _declared(plugin: registry.Plugin, method: type[Method]) -> dict[str, Cell]:
    yes = {True: "yes", False: "no"}
    built = {"its ways": method.fixed_ways, "its largest support": method.fixed_support}
    texts = {
        "method": plugin.name,
        "paper": short_paper(str(plugin.card().get("paper", ""))),
        "learns": method.trains_on if method.trained else "nothing",
        "transductive": yes[method.transductive],
        "equivariant": yes[method.way_equivariant],
        "invariant": yes[method.support_order_invariant],
        "built": " and ".join(name for name, fixed in built.items() if fixed) or "any",
        "regression": yes["regression" in method.kinds],
    }
    return {key: Cell.of(text) for key, text in texts.items()}


def short_paper(paper: str) -> str:
    """`Snell, Swersky & Zemel 2017, Prototypical …, arXiv:1703.05175` is `Snell et al. 2017, https://arxiv.org/…`."""
    found = re.match(r"(?P<authors>.+?) \(?(?P<year>(?:19|20)\d\d)\b", paper)
    if found is None:
        return paper or "–"
    first, comma, _ = found["authors"].partition(",")
    number = re.search(r"arXiv:(\d{4}\.\d{4,5})", paper)
    address = re.search(r"https?://[^\s,;)]+", paper)
    link = f"https://arxiv.org/abs/{number[1]}" if number else address[0] if address else ""
    return ", ".join(filter(None, [f"{first}{' et al.' if comma else ''} {found['year']}", link]))


def _parameters(plugin: registry.Plugin) -> str:
    """How many parameters the method trains, and the network where it is another than NETWORK."""
    controlled = "controlled" in plugin.card().get("recipes", {})
    asked = Request(plugin.name, "omniglot", recipe="controlled") if controlled else Request(plugin.name, "glyphs")
    resolved = resolve(asked)
    count = sum(p.numel() for p in resolved.build_meta(SHAPE).parameters() if p.requires_grad)
    network = str(resolved.train.backbone) if resolved.train.backbone else None
    return f"{count:,}" + (f" ({network})" if network not in (None, NETWORK) else "")
