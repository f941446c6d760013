"""Columns of a table with the intervals on new images and new classes."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from fewshot_bench.metrics import METRICS
from fewshot_bench.results.data_interval import SAID, Over, data_interval
from fewshot_bench.results.data_parts import NoDataInterval
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.results.statistics import Interval
from fewshot_bench.table import Cell, Column, Table


def with_data_intervals(table: Table, results: Sequence[Pooled], over: Collection[Over]) -> Table:
    """A table with a column for each question of `over` behind that of the mean, and the reasons of what is missing in its
    notes."""
    columns, rows, notes = list(table.columns), [dict(row) for row in table.rows], list(table.notes)
    at = next(place for place, column in enumerate(columns) if column.key == "mean") + 1
    for question in over:
        columns[at:at] = _columns(question)
        at += len(_columns(question))
        missing: dict[str, list[str]] = defaultdict(list)
        for row, pooled in zip(rows, results, strict=True):
            try:
                row |= _cells(question, data_interval(pooled, question), pooled.metric)
            except NoDataInterval as error:
                missing[str(error)].append(str(pooled.train["method"]))
                row |= _cells(question, None, pooled.metric)
        notes.append(f"± {question}: the 95% interval of the mean on {SAID[question]}.")
        for reason, methods in missing.items():
            whose = "" if len(methods) == len(rows) else f" for {', '.join(dict.fromkeys(methods))}"
            notes.append(f"No ± {question}{whose}: {reason[0].lower()}{reason[1:]}")
    return replace(table, columns=columns, rows=rows, notes=notes)


def _columns(question: Over) -> list[Column]:
    ends = [
        Column(
            f"over-{question}-{end}", f"{question} {end}", f"{said} end of the interval on {SAID[question]}.", shown=False
        )
        for end, said in (("low", "Lower"), ("high", "Upper"))
    ]
    about = Column(f"over-{question}-interval", f"{question} interval", "How that interval was computed.", shown=False)
    return [Column(f"over-{question}", f"± {question}", f"Interval on {SAID[question]}.", "right", leads=True), *ends, about]


def _cells(question: Over, interval: Interval | None, metric: str) -> dict[str, Cell]:
    name = f"over-{question}"
    cells = {name: Cell.of(None)}
    if interval is not None:
        half = (interval.high - interval.low) / 2 * METRICS[metric].scale
        cells = {name: Cell(half / METRICS[metric].scale, f"{half:.2f}")}
    ends = {f"{name}-{end}": Cell.of(getattr(interval, end, None)) for end in ("low", "high")}
    return {**cells, **ends, f"{name}-interval": Cell.of(None if interval is None else interval.method)}
