"""Measured numbers beside the published ones: a table for each benchmark and conditions of test, and what a difference says.

The two errors are independent, so that the 95 % interval of measured minus published has the root of the sum of both squared
half-widths. Where the paper prints no interval, a band of one point stands for it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import MORE
from fewshot_bench.errors import FewshotError
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.metrics import METRICS, is_regression
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.results.recipe_share import recipe_share, recipe_text, share_text
from fewshot_bench.results.records import Record
from fewshot_bench.results.rerun_command import request_of
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.results.tables import boards
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.specs import TRANSDUCTIVE_MODES, TrainSpec
from fewshot_bench.table import Cell, Column, Table
from fewshot_leaderboard.published import TRANSDUCTIVE, VARIANTS, Published, all_published, published, published_name

BAND = 0.01  # of shares of the queries: how far a measured number may lie from a printed one that has no interval

COLUMNS = (
    Column("method", "method", "Name of the plugin.", leads=True),
    Column("published", "published", "The printed number.", leads=True),
    Column("conditions", "measured there", "The paper's test conditions and the source of the number.", links=True),
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
        "Whether zero lies in the interval, or the difference in the band; in your own conditions, if they are the paper's.",
    ),
)

POINTS = Column("images", "points", "Points of training functions processed.", "right")
"""What functions have in the place of images."""
UNMEASURED = (Column("benchmark", "benchmark", "Data set, ways and shots.", leads=True), *COLUMNS[:3])

Benchmark = tuple[str, int | None, int]
"""Data set, ways (None for regression) and shots."""


@dataclass(frozen=True)
class Measured:
    """One row of a table of results, and the content of the record of its first run."""

    about: Mapping[str, Any]
    cells: Mapping[str, Cell]
    content: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Name of the plugin."""
        return str(self.cells["method"].value)

    @property
    def name(self) -> str:
        """The name under which the method was published."""
        return published_name(self.method, self.cells["hparams"].value, self.cells["normalisation"].value)

    @property
    def label(self) -> str:
        """The method, and what makes it another one in the literature."""
        on = [key for key, value in self.cells["hparams"].value.items() if value is True and (self.method, key) in VARIANTS]
        return ", ".join([self.method, *(f"{key}: true" for key in on)])

    @property
    def benchmark(self) -> Benchmark:
        """What was measured."""
        ways = None if is_regression(self.about["metric"]) else self.about["ways"]
        return self.about["dataset"], ways, self.about["shots"]

    @property
    def protocol(self) -> str:
        """Name of the test's protocol."""
        return str(self.about["protocol"])

    @property
    def normalisation(self) -> str:
        """Whose statistics normalise support and queries at test."""
        return str(self.cells["normalisation"].value)

    @property
    def transductive(self) -> bool:
        """Whether queries normalise each other."""
        return self.normalisation in TRANSDUCTIVE_MODES

    @property
    def own_conditions(self) -> tuple[int, int, str] | None:
        """Test episodes, queries and normalisation, where the protocol does not say them."""
        if self.protocol in PROTOCOLS and PROTOCOLS[self.protocol].queries is not None:
            return None
        return self.cells["episodes"].value, self.cells["queries"].value, self.normalisation

    @property
    def recipe(self) -> str:
        """Name of the recipe that the training was asked for by; its share of the recipe's updates where it was cut short;
        whether a setting of it was changed, and whether this version's recipe or method is another by now."""
        stored = StoredRequest.in_result(self.content["results"][0])
        share = share_text(self.content)
        told = {"updates", "train.updates"} if share else set()
        settings = {name for name in stored.settings if (self.method, name) not in VARIANTS} - told
        earlier = ", earlier version" if made_by_another_version(self.content) else ""
        return recipe_text(self.content) + (", changed" if settings else "") + earlier

    @property
    def images(self) -> int:
        """Training images, or points of functions, processed."""
        return int(self.cells["images"].value)

    @property
    def printed(self) -> Published | None:
        """The published number."""
        return published(self.name, *self.benchmark, self.about["metric"], self.content.get("train", {}).get("shots"))

    @property
    def half_width(self) -> float:
        """Of its interval, the wider side."""
        low, mean, high = (self.cells[key].value for key in ("low", "mean", "high"))
        return float(max(high - mean, mean - low))

    @property
    def within(self) -> bool | None:
        """Whether it agrees with the published number; None where nothing says so, or other conditions were measured."""
        if recipe_share(self.content) is not None:  # the paper's training was longer
            return None
        if self.printed is None or (self.own_conditions and not self.measured_as_published(self.printed)):
            return None
        return compared(self.cells["mean"].value, self.half_width, self.printed)[1]

    def measured_as_published(self, printed: Published) -> bool:
        """Whether the test has each condition that the paper states."""
        stated = {"episodes": printed.test_episodes, "queries": printed.queries}
        same = all(value in (None, self.cells[key].value) for key, value in stated.items())
        return same and printed.transductive == self.transductive


def made_by_another_version(content: Mapping[str, Any]) -> bool:
    """Whether a record's recipe would train otherwise now, or with other code; False where that cannot be said. Nothing is
    imported but what is installed under the names that the record says."""
    with suppress(FewshotError, KeyError, ValueError), registry.only_installed():
        now = resolve(replace(request_of(content), device="cpu"))
        then = TrainSpec.model_validate(content["train"])
        same_code = now.source_sha256 == content["method"]["source_sha256"]
        return not same_code or now.train != then.model_copy(update={"device": "cpu"})
    return False


def comparison_tables(records: Sequence[Record]) -> list[Table]:
    """A table for each benchmark and protocol that a record measures, and one of what no record stands beside yet. Where the
    protocol leaves the conditions of the test to the user, other conditions are another table. What was published has
    episodes of one size without unlabelled images, and so have these.

    Of results that a method has under one protocol with one recipe and one normalisation, that of the longest training is
    shown.
    """
    rows = sorted(_longest(_measured(records)), key=_order)
    groups = groupby(rows, key=lambda row: (row.benchmark, row.protocol, row.own_conditions))
    tables = [_table(list(group)) for _, group in groups]
    return [*tables, _unmeasured({(row.name, *row.benchmark) for row in rows if row.printed})]


def _measured(records: Sequence[Record]) -> list[Measured]:
    found = [board for board in boards(records)[0] if not MORE & board.table.about.keys()]
    return [
        Measured(board.table.about, cells, pooled.runs[0].record.content)
        for board in found
        for cells, pooled in zip(board.table.rows, board.rows, strict=True)
    ]


def _longest(rows: Iterable[Measured]) -> list[Measured]:
    found: dict[tuple[Any, ...], Measured] = {}
    for row in rows:
        key = (row.label, row.benchmark, row.protocol, row.own_conditions, row.recipe, row.normalisation)
        if key not in found or row.images > found[key].images:
            found[key] = row
    return list(found.values())


def _order(row: Measured) -> tuple[Any, ...]:
    dataset, ways, shots = row.benchmark
    names = list(PROTOCOLS)
    place = names.index(row.protocol) if row.protocol in names else len(names)  # others last, by name
    return dataset, ways or 0, shots, place, row.protocol, row.own_conditions or (), row.label, row.recipe


def _size(benchmark: Benchmark) -> str:
    dataset, ways, shots = benchmark
    return f"{dataset}, {ways}-way {shots}-shot" if ways else f"{dataset}, {shots} points"


def _table(rows: Sequence[Measured]) -> Table:
    title = f"{_size(rows[0].benchmark)}, protocol {rows[0].protocol}{_own_conditions(rows[0])}"
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
        {"benchmark": Cell.of(_size(key[1:])), **_printed(key[0], printed)}
        for key, printed in all_published().items()
        if key[0] in known and key not in measured
    ]
    rows.sort(key=lambda row: (row["benchmark"].text, row["method"].text))
    return Table("Published, not measured here", UNMEASURED, rows)


def _printed(label: str, printed: Published | None) -> dict[str, Cell]:
    """The cells of a published number."""
    cells = {column.key: Cell.of(None) for column in COLUMNS} | {"method": Cell.of(label)}
    if printed:
        cells |= {"published": Cell.of(printed.text), "conditions": Cell.of(f"{printed.conditions}; {printed.source}")}
    return cells


def _cells(row: Measured) -> dict[str, Cell]:
    cells = _printed(row.label, row.printed) | {
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
        difference, _ = compared(row.cells["mean"].value, row.half_width, row.printed)
        verdict = {True: "within", False: "outside", None: None}[row.within]
        cells |= {"difference": Cell.of(difference), "verdict": Cell.of(verdict)}
    return cells


def _cost(content: Mapping[str, Any]) -> str | None:
    """CPU-minutes of a record's training; minutes of an accelerator, and its name, where it was trained there."""
    if not ("plan" in content and "train_s" in content.get("cost", {})):
        return None
    plan, minutes = content["plan"], content["cost"]["train_s"] / 60
    return f"{minutes * plan['threads']:.1f}" if plan["device"] == "cpu" else f"{minutes:.1f} min on {plan['device']}"


def compared(mean: float, half_width: float, printed: Published) -> tuple[str, bool | None]:
    """Measured minus published in the unit of print, and whether they agree; None where nothing says so."""
    scale = METRICS[printed.metric].scale
    difference = mean - printed.value
    text = f"{difference * scale:+.2f}".replace("-", "−")
    if printed.interval is not None:
        both = math.hypot(half_width, printed.interval)
        return f"{text} ± {both * scale:.2f}", abs(difference) <= both
    if not METRICS[printed.metric].of_queries:
        return text, None
    return f"{text} (band ± {BAND * scale:.0f})", abs(difference) <= BAND


def explained(row: Measured) -> str:
    """What is known to differ from the paper, and the experiment that would explain a number outside; empty where neither
    is to be said."""
    kinds = {True: "transductive", False: "inductive"}
    known = ""
    if row.printed and row.printed.transductive != row.transductive:
        known = f"the paper's test is {kinds[row.printed.transductive]}, this one {kinds[row.transductive]}"
    if row.within is not False:
        return known and f"{known}."
    experiment = _said(row) or _paper_recipe(row) or "not explained yet."
    return f"{known}; {experiment}" if known else experiment


def _said(row: Measured) -> str:
    """What `explanations.yaml` or the method's card says."""
    dataset, ways, shots = row.benchmark
    about = {"method": row.method, "protocol": row.protocol, "recipe": row.recipe}
    about |= {"dataset": dataset, "ways": ways, "shots": shots}  # type: ignore[dict-item]
    for entry in _explanations():
        if all(about[key] == value for key, value in entry["for"].items()):
            return str(entry["text"])
    plugin = registry.registered("methods").get(row.method)
    return str(plugin.card().get("notes", {}).get("outside", "")) if plugin else ""


def _paper_recipe(row: Measured) -> str:
    """That the recipe `paper` would tell, and how much longer it trains."""
    dataset, ways, shots = row.benchmark
    if row.recipe == "paper":
        return ""
    with suppress(FewshotError), registry.only_installed():  # the card has no such recipe
        images = resolve(Request(row.method, dataset, ways, shots, recipe="paper")).train.images
        seen = "training images" if ways else "points in training"
        return f"to be run: the recipe paper, which sees {images:,} {seen} where this run saw {row.images:,}."
    return ""


@cache
def _explanations() -> list[dict[str, Any]]:
    text = files("fewshot_leaderboard").joinpath("explanations.yaml").read_text(encoding="utf-8")
    return plain_yaml.read(text, "explanations.yaml") or []
