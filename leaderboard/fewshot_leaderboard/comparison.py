"""Measured numbers beside the published ones: a table for each benchmark and conditions of test."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from fewshot_bench.plugins import registry
from fewshot_bench.results.records import Record
from fewshot_bench.results.tables import boards
from fewshot_bench.table import Cell, Column, Table
from fewshot_leaderboard.explained import explained
from fewshot_leaderboard.measured import Measured, by_benchmark, compared, longest, measured, size
from fewshot_leaderboard.nearest import Chosen
from fewshot_leaderboard.published import TRANSDUCTIVE, VARIANTS, all_published

COLUMNS = (
    Column("method", "method", "Name of the plugin.", leads=True),
    Column("published", "published", "The printed number.", leads=True),
    Column(
        "conditions",
        "measured there",
        "The paper's test conditions and the source of the number; of several the nearest, why, and the others.",
        links=True,
    ),
    Column("measured", "measured here", "Mean and 95 % interval.", leads=True),
    Column("normalisation", "norm", "Batch normalisation at test: whose statistics normalise support and queries."),
    Column("recipe", "recipe", "The recipe of the training."),
    Column("trained", "trained", "What an update saw."),
    Column("images", "images", "Training images processed.", "right"),
    Column("cost", "CPU-minutes", "Time of the training, on all cores together.", "right"),
    Column("difference", "measured − published", "With an interval from both.", "right"),
    Column(
        "verdict",
        "verdict",
        "Within one point, or with intervals that overlap; in your own conditions, if they are the paper's.",
    ),
)

POINTS = Column("images", "points", "Points of training functions processed.", "right")
"""What functions have in the place of images."""
UNMEASURED = (Column("benchmark", "benchmark", "Data set, ways and shots.", leads=True), *COLUMNS[:3])


def comparison_tables(records: Sequence[Record]) -> list[Table]:
    """A table for each benchmark and protocol that a record measures, and one of what no record stands beside yet. Where the
    protocol leaves the conditions of the test to the user, other conditions are another table. What was published has
    episodes of one size without unlabelled images, and so have these.

    Of results that a method has under one protocol with one recipe and one normalisation, that of the longest training is
    shown.
    """
    rows = sorted(longest(measured(boards(records)[0])), key=by_benchmark)
    groups = groupby(rows, key=lambda row: (row.benchmark, row.protocol, row.own_conditions))
    tables = [_table(list(group)) for _, group in groups]
    return [*tables, _unmeasured({(row.name, *row.benchmark) for row in rows if row.printed})]


def _table(rows: Sequence[Measured]) -> Table:
    title = f"{size(rows[0].benchmark)}, protocol {rows[0].protocol}{_own_conditions(rows[0])}"
    notes = [f"{row.label}, recipe {row.recipe}: {said}" for row in rows if (said := explained(row))]
    ways = rows[0].benchmark[1]
    columns = COLUMNS if ways else [POINTS if column.key == "images" else column for column in COLUMNS]
    return Table(title, columns, [_cells(row) for row in rows], notes)


def _own_conditions(row: Measured) -> str:
    if row.own_conditions is None:
        return ""
    episodes, queries, normalisation = row.own_conditions
    each = " a class" if row.benchmark[1] else ""
    return f": test episodes {episodes:,}, queries{each} {queries}, normalisation {normalisation}"


def _unmeasured(measured: set[tuple[Any, ...]]) -> Table:
    """The published numbers of registered methods that no record stands beside."""
    known = set(registry.registered("methods"))
    known |= {variant for (method, _), variant in VARIANTS.items() if method in known}
    known |= {name for method, name in TRANSDUCTIVE.items() if method in known}
    rows = [
        {"benchmark": Cell.of(size(key[1:])), **_printed(key[0], Chosen(printed, "", ()))}
        for key, rows in all_published().items()
        for printed in rows
        if key[0] in known and key not in measured
    ]
    rows.sort(key=lambda row: (row["benchmark"].text, row["method"].text))
    return Table("Published, not measured here", UNMEASURED, rows)


def _printed(label: str, chosen: Chosen | None) -> dict[str, Cell]:
    """The cells of a published number."""
    cells = {column.key: Cell.of(None) for column in COLUMNS} | {"method": Cell.of(label)}
    if chosen:
        printed = chosen.printed
        others = "; ".join(other.cited for other in chosen.others)
        said = [f"{printed.conditions}; {printed.origin}", chosen.why, f"others: {others}" if others else ""]
        cells |= {"published": Cell.of(printed.text), "conditions": Cell.of("; ".join(filter(None, said)))}
    return cells


def _cells(row: Measured) -> dict[str, Cell]:
    cells = _printed(row.label, row.chosen) | {
        "measured": row.cells["mean"],
        "normalisation": row.cells["normalisation"],
    }
    if row.images:
        cells |= {
            "recipe": Cell.of(row.recipe),
            "trained": row.cells["trained"],
            "images": Cell(row.images, f"{row.images:,}"),
            "cost": Cell.of(_cost(row.content)),
        }
    if row.printed:
        difference, _ = compared(*row.interval, row.printed)
        verdict = {True: "within", False: "outside", None: None}[row.within]
        cells |= {"difference": Cell.of(difference), "verdict": Cell.of(verdict)}
    return cells


def _cost(content: Mapping[str, Any]) -> str | None:
    """CPU-minutes of a record's training; minutes of an accelerator, and its name, where it was trained there."""
    if not ("plan" in content and "train_s" in content.get("cost", {})):
        return None
    plan, cost = content["plan"], content["cost"]
    if plan["device"] != "cpu":
        return f"{cost['train_s'] / 60:.1f} min on {plan['device']}"
    return f"{cost.get('train_cpu_s', cost['train_s'] * plan['threads']) / 60:.1f}"
