"""The reproduction report as Markdown, which reads well as it stands in 80 columns, and its figures.

It comes from the records, the cards, the published numbers and `explanations.yaml` alone: the same ones give the same bytes,
so that `fsbench leaderboard reproduction --check` can say whether it is up to date. All text of records
is escaped.
"""

import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.tables import Board
from fewshot_bench.storage import atomic
from fewshot_bench.text.escapes import in_markdown
from fewshot_bench.text.printable import LONGEST, printable
from fewshot_leaderboard.curves import FIGURES, description, figure
from fewshot_leaderboard.learning_curves import learning_curves
from fewshot_leaderboard.reproduction import CURVES, HOW, NONE, Reproduction, Row

COLUMNS = 80
FOLDER = "assets"
"""Where the figures lie, beside the report."""
COMMAND = "fsbench leaderboard reproduction leaderboard/results --out docs/reproduction.md"
_BEGINS_A_BLOCK = re.compile(r"^(?=[#+=>-])|^(\d+)(?=[.)])")


def write_report(path: Path, found: Sequence[Board], check: bool = False) -> None:
    """Write the report and its figures, or only `check` that they are up to date: `FewshotError` where they are not."""
    for file, text in files_of(path, found).items():
        if check and (not file.is_file() or file.read_bytes() != text.encode()):
            raise FewshotError(
                f"{file} is out of date. Make it again: fsbench leaderboard reproduction --out {shlex.quote(str(path))}"
            )
        if not check:
            with atomic(file) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")


def files_of(path: Path, found: Sequence[Board]) -> dict[Path, str]:
    """The text of the report and of each figure that has a curve, by the file."""
    curves = {dataset: learning_curves(found, dataset, 5, 1) for dataset in FIGURES}
    drawn = {dataset: own for dataset, own in curves.items() if own}
    texts = {path: report(Reproduction.of(found), {name: description(own) for name, own in drawn.items()})}
    return texts | {path.parent / _place(name): figure(FIGURES[name], own) for name, own in drawn.items()}


def report(found: Reproduction, figures: dict[str, str]) -> str:
    """The report; `figures` are the descriptions of those that there are, by data set."""
    full = [_row(row, named=True) for row in found.full] or ["No training of a paper's recipe has ended yet."]
    others = [part for group in found.others for part in (f"### {_safe(group.title)}", *map(_row, group.rows))]
    shown = [part for name, text in figures.items() for part in _figure(name, text)]
    parts = [
        "# Reproduction of published results",
        _wrapped(f"**{found.headline}**"),
        *map(_wrapped, HOW),
        _wrapped(f"The command `{COMMAND}` writes this page."),
        "## At full length",
        *full,
        "## Shorter trainings and other tests",
        *(others or ["There are none."]),
        *(["## Learning curves", _wrapped(CURVES), *shown] if shown else []),
    ]
    return "\n\n".join(parts) + "\n"


def _row(row: Row, named: bool = False) -> str:
    """One row: its name, a list of facts, and below a verdict `outside` what was tried."""
    setting = f", {_safe(row.setting)}" if named else ""
    verdict = f": {row.verdict}" if row.verdict != NONE else ""
    name = _wrapped(f"**{_safe(row.measured.label)}**{setting}, recipe {_safe(row.recipe)}{verdict}")
    facts = [f"Published: {_safe(row.chosen.printed.cited)}"]
    facts += [f"Also published: {_safe(other.cited)}" for other in row.chosen.others]
    if row.chosen.why:
        facts.append(f"Compared with the first: {_safe(row.chosen.why)}")
    facts += [
        f"Measured: {_safe(row.measured.cells['mean'].text)}, {row.seeds} ({_safe(row.test)})",
        f"Difference: {_safe(row.difference)}" + (f" ({_safe(row.unlike)})" if row.unlike else ""),
        f"Length: {_safe(row.length_text)}",
        f"Verdict: {_verdict(row)}",
    ]
    facts += [f"Experiment: {_safe(one.text)}" for one in row.experiments]
    return "\n".join([name, "", *(_wrapped(fact, "- ") for fact in facts)])


def _verdict(row: Row) -> str:
    if row.verdict == NONE:
        return f"none; {row.without}"
    said = " ".join(filter(None, [row.reason, row.remark]))
    return f"**{row.verdict}**. {_safe(said)}".rstrip(". ") + "."


def _safe(text: str) -> str:
    """A text escaped; what is shown as code stays in one line, as a line of it could begin a block of HTML."""
    escaped = in_markdown(printable(text, LONGEST))
    return escaped.replace(" ", "\N{NO-BREAK SPACE}") if escaped.startswith("`") else escaped


def _place(dataset: str) -> str:
    return f"{FOLDER}/curves-{dataset}.svg"


def _figure(dataset: str, description: str) -> tuple[str, str, str]:
    """A figure below its title, and in words the ends of its curves."""
    title = _safe(FIGURES[dataset])
    return f"### {title}", f"![Learning curves, {title}]({_place(dataset)})", _wrapped(_safe(f"The ends: {description}"))


def _wrapped(text: str, bullet: str = "") -> str:
    """A paragraph, or a point of a list, in lines of at most 80 characters, none of which begins a block of its own."""
    width = COLUMNS - len(bullet)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    safe = [lines[0], *(_BEGINS_A_BLOCK.sub(lambda found: f"{found[1] or ''}\\", line) for line in lines[1:])]
    return bullet + f"\n{' ' * len(bullet)}".join(safe)
