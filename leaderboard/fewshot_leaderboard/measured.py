"""A measured result beside the published number that it is compared with, and whether they agree.

A number is `within` the published one where they differ by at most one point or their intervals overlap, else `outside`.
The two errors are independent, so the 95 % interval of measured minus published, which is shown, has the root of the sum of
both squared half-widths. Only a published number that was checked gives a verdict.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import MORE
from fewshot_bench.errors import FewshotError
from fewshot_bench.metrics import METRICS, is_regression
from fewshot_bench.plugins import registry
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.results.recipe_share import recipe_share, recipe_text, share_text
from fewshot_bench.results.rerun_command import request_of
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.results.tables import Board
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.specs import TRANSDUCTIVE_MODES, TrainSpec
from fewshot_bench.table import Cell
from fewshot_leaderboard.nearest import Chosen, Conditions, nearest
from fewshot_leaderboard.published import VARIANTS, Published, published, published_name

BAND = 0.01  # of shares of the queries: how far a measured number may lie from a printed one, whatever their intervals
ROUNDING = 1e-9
EARLIER = ", earlier version"
"""What stands behind the name of a recipe that this version would train otherwise."""

Benchmark = tuple[str, int | None, int]
"""Data set, ways (None for regression) and shots."""


def size(benchmark: Benchmark) -> str:
    """`omniglot, 5-way 1-shot`."""
    dataset, ways, shots = benchmark
    return f"{dataset}, {ways}-way {shots}-shot" if ways else f"{dataset}, {shots} points"


@dataclass(frozen=True)
class Measured:
    """One row of a table of results, and what stands behind it."""

    about: Mapping[str, Any]
    cells: Mapping[str, Cell]
    pooled: Pooled

    @property
    def content(self) -> Mapping[str, Any]:
        """Of the record of its first run."""
        return self.pooled.runs[0].record.content

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

    @cached_property
    def recipe(self) -> str:
        """Name of the recipe that the training was asked for by; its share of the recipe's updates where it was cut short;
        whether a setting of it was changed, and whether this version's recipe or method is another by now."""
        stored = StoredRequest.in_result(self.content["results"][0])
        told = {"updates", "train.updates"} if share_text(self.content) else set()
        settings = {name for name in stored.settings if (self.method, name) not in VARIANTS} - told
        earlier = EARLIER if made_by_another_version(self.content) else ""
        return recipe_text(self.content) + (", changed" if settings else "") + earlier

    @property
    def earlier(self) -> bool:
        """Whether this version's recipe or method is another by now."""
        return self.recipe.endswith(EARLIER)

    @property
    def images(self) -> int:
        """Training images, or points of functions, processed."""
        return int(self.cells["images"].value)

    @property
    def conditions(self) -> Conditions:
        """Those of the test that papers may state."""
        return Conditions.of(self.cells)

    @cached_property
    def chosen(self) -> Chosen | None:
        """The published number that it is compared with, and the others."""
        train_shots = self.content.get("train", {}).get("shots")
        return nearest(published(self.name, *self.benchmark, self.about["metric"], train_shots), self.conditions)

    @property
    def printed(self) -> Published | None:
        """The published number that it is compared with."""
        return self.chosen.printed if self.chosen else None

    @property
    def interval(self) -> tuple[float, float, float]:
        """Lower end, mean and upper end."""
        low, mean, high = (float(self.cells[key].value) for key in ("low", "mean", "high"))
        return low, mean, high

    @property
    def within(self) -> bool | None:
        """Whether it agrees with the published number; None where nothing says so, or other conditions were measured."""
        if recipe_share(self.content) is not None:  # the paper's training was longer
            return None
        if self.printed is None or (self.own_conditions and not self.measured_as_published(self.printed)):
            return None
        return compared(*self.interval, self.printed)[1]

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


def measured(found: Iterable[Board]) -> list[Measured]:
    """The rows of tables of results whose episodes are all of one size, as all that was published."""
    return [
        Measured(board.table.about, cells, pooled)
        for board in found
        if not MORE & board.table.about.keys()
        for cells, pooled in zip(board.table.rows, board.rows, strict=True)
    ]


def anything_published(found: Iterable[Board]) -> bool:
    """Whether a row has a published number beside it."""
    return any(row.chosen for row in measured(found))


def longest(rows: Iterable[Measured]) -> list[Measured]:
    """Of the results that a method has under the same conditions with one recipe, that of the longest training."""
    found: dict[tuple[Any, ...], Measured] = {}
    for row in rows:
        key = (row.label, row.benchmark, row.protocol, row.own_conditions, row.recipe, row.normalisation)
        if key not in found or row.images > found[key].images:
            found[key] = row
    return list(found.values())


def by_benchmark(row: Measured) -> tuple[Any, ...]:
    """Sorts rows by data set, ways, shots, conditions of test, method and recipe."""
    dataset, ways, shots = row.benchmark
    names = list(PROTOCOLS)
    place = names.index(row.protocol) if row.protocol in names else len(names)  # others last, by name
    return dataset, ways or 0, shots, place, row.protocol, row.own_conditions or (), row.label, row.recipe


def compared(low: float, mean: float, high: float, printed: Published) -> tuple[str, bool | None]:
    """Measured minus published in the unit of print with its interval (of the measured number alone, where the paper prints
    none), and whether they agree: they differ by at most one point, or their intervals overlap. None where nothing says so,
    or the published number was not checked."""
    scale = METRICS[printed.metric].scale
    difference, half = mean - printed.value, max(high - mean, mean - low)
    text = f"{difference * scale:+.2f}".replace("-", "−")
    points = METRICS[printed.metric].of_queries
    near = points and abs(difference) <= BAND + ROUNDING
    if printed.interval is None:
        return f"{text} ± {half * scale:.2f} (ours alone)", near if points and printed.verified else None
    text += f" ± {math.hypot(half, printed.interval) * scale:.2f}"
    overlap = low <= printed.value + printed.interval + ROUNDING and printed.value - printed.interval - ROUNDING <= high
    return text, near or overlap if printed.verified else None
