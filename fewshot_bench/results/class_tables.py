"""Results by class as tables."""

from collections import Counter
from collections.abc import Sequence

from fewshot_bench.results.by_class import ByClass, ClassDifference
from fewshot_bench.results.comparison_tables import p_text
from fewshot_bench.results.statistics import Interval
from fewshot_bench.results.tables import interval_text
from fewshot_bench.table import Cell, Column, Table
from fewshot_bench.text.printable import printable

METRIC = "accuracy"


def by_class_table(found: ByClass, title: str, most: int | None = None) -> Table:
    """The classes, the largest difference first; `most`: only so many of them."""
    first, second = found.labels
    level = f"{found.level:.0%}"
    columns = [
        Column("class", "class", "True class of the queries.", leads=True),
        Column("first", "first", f"Accuracy of {first} on them, in percent in print.", "right", leads=True),
        Column("second", "second", f"Accuracy of {second} on them.", "right", leads=True),
        Column("difference", "difference", f"First minus second, with its own {level} interval.", "right", leads=True),
        Column("p_holm", "p (Holm)", "p-value after Holm's correction over all classes.", "right"),
        Column("episodes", "episodes", "Test episodes that show the class.", "right"),
        *(
            Column(key, key, said, "right", shown=False)
            for key, said in (
                ("low", "Lower end of the difference's own interval."),
                ("high", "Upper end of it."),
                ("p", "Two-sided p-value before the correction."),
                ("test", "The test that gave p."),
                ("queries", "Queries of the class."),
                ("contribution", "Part of the difference of the two results: these add up to it."),
            )
        ),
    ]
    shown = found.classes if most is None else found.classes[:most]
    about = {"part": "classes", "first_result": first, "second_result": second, "level": found.level}
    names = short_names([one.name for one in shown])
    rows = [_row(one, name) for one, name in zip(shown, names, strict=True)]
    return Table(f"{title}, by class", columns, rows, _notes(found, len(shown)), about)


def _row(one: ClassDifference, name: str) -> dict[str, Cell]:
    pair = one.pair
    low, high = (None, None) if pair is None else (pair.low, pair.high)
    return {
        "class": Cell(one.name, name),
        "first": Cell(one.first, f"{100 * one.first:.1f}"),
        "second": Cell(one.second, f"{100 * one.second:.1f}"),
        "difference": Cell(one.difference, _difference_text(one)),
        "p_holm": Cell(one.p_holm, "–" if one.p_holm is None else p_text(one.p_holm)),
        "episodes": Cell.of(one.episodes),
        "low": Cell.of(low),
        "high": Cell.of(high),
        "p": Cell.of(None if pair is None else pair.p),
        "test": Cell.of(None if pair is None else pair.test),
        "queries": Cell.of(one.queries),
        "contribution": Cell.of(one.contribution),
    }


def _difference_text(one: ClassDifference) -> str:
    if one.pair is None or one.pair.low is None or one.pair.high is None:
        return f"{100 * one.difference:+.2f}"
    text = interval_text(Interval(one.difference, one.pair.low, one.pair.high, ""), METRIC)
    return text if text.startswith("-") else f"+{text}"


def _notes(found: ByClass, shown: int) -> list[str]:
    first, second = found.labels
    pairs = [one.pair for one in found.classes if one.pair is not None]
    apart = sum(pair.low is not None and pair.high is not None and (pair.low > 0 or pair.high < 0) for pair in pairs)
    alpha = 1 - found.level
    corrected = sum(one.p_holm is not None and one.p_holm <= alpha for one in found.classes)
    whom = "the methods, over their training seeds" if all(pair.of_methods for pair in pairs) else "these checkpoints alone"
    said = [
        f"First: {first}. Second: {second}. Over all queries the difference is {100 * found.difference:+.2f}.",
        f"Speaks of {whom}, on more episodes of these images.",
        f"Of {len(pairs):,} classes {apart:,} have an interval without zero, where about {alpha * len(pairs):.0f} would by "
        f"chance alone; after Holm's correction {corrected:,} are separated.",
    ]
    if without := len(found.classes) - sum(pair.low is not None for pair in pairs):
        said.append(f"{without:,} have no interval: one episode shows them, or their differences are all the same.")
    if found.unseen:
        said.append(f"{found.unseen:,} classes of the test split are in none of the episodes.")
    if found.unnamed:
        said.append(f"Classes have numbers, by their order in the test split: {found.unnamed}")
    if shown < len(found.classes):
        said.append(f"The {shown:,} largest of {len(found.classes):,}: --classes 0 shows all, as JSON and CSV do.")
    return said


def short_names(names: Sequence[str], width: int = 26) -> list[str]:
    """Names for people: long ones without their middle, unless two would then be the same."""
    half = (width - 1) // 2
    short = [name if len(name) <= width else f"{name[: width - 1 - half]}…{name[-half:]}" for name in map(printable, names)]
    counts = Counter(short)
    return [one if counts[one] == 1 else name for one, name in zip(short, names, strict=True)]
