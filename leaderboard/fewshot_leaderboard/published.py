"""The numbers that papers printed, each with its source and the conditions under which it was measured.

A row that was not checked (`verified` is `no`) is shown as quoted second-hand, and no verdict rests on it.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fewshot_bench.metrics import METRICS, is_regression
from fewshot_bench.specs import TRANSDUCTIVE_MODES

VARIANTS = {("maml", "first_order"): "fomaml", ("matching-networks", "fce"): "matching-networks-fce"}
"""Hyper-parameters that make a method another one in the literature, and its published name."""

SAME = {"l2l-maml": "maml", "l2l-meta-sgd": "meta-sgd", "l2l-prototypical-networks": "prototypical-networks"}
"""Other implementations of a published method."""

TRANSDUCTIVE = {"reptile": "reptile-transductive"}
"""Methods whose paper prints transductive results beside inductive ones, and the name of the former."""


@dataclass(frozen=True)
class Published:
    """One printed number. A fact that the paper does not state is None."""

    value: float
    """In the metric's unit, accuracies in [0, 1]."""
    text: str
    """As printed, accuracies in percent: `98.7 ± 0.4`."""
    interval: float | None
    """Half-width of the 95 % interval, in the metric's unit."""
    metric: str
    test_episodes: int | None
    queries: int | None
    """Query images a class."""
    backbone: str
    transductive: bool
    train_shots: int | None
    """Shots of its training, where the paper tests one training with several."""
    source: str
    verified: bool = True
    """Whether it was checked; what was not is quoted second-hand and gives no verdict."""

    @property
    def conditions(self) -> str:
        """The paper's test conditions in one phrase."""
        episodes = f"{self.test_episodes} test episodes" if self.test_episodes else "test episodes not stated"
        queries = {None: "queries not stated", 1: "1 query a class"}.get(self.queries, f"{self.queries} queries a class")
        kind = "transductive" if self.transductive else "inductive"
        return ", ".join(part for part in (episodes, queries, kind, self.backbone) if part)

    @property
    def origin(self) -> str:
        """Its source, and that it was not checked where it was not."""
        return self.source + ("" if self.verified else "; quoted second-hand")

    @property
    def cited(self) -> str:
        """The number, its conditions and its source in one phrase."""
        return f"{self.text} ({self.conditions}; {self.origin})"


def published_name(method: str, hparams: Mapping[str, Any], normalisation: str) -> str:
    """The name under which a measured method was published, with these hyper-parameters and this normalisation at test."""
    name = next((VARIANTS[method, key] for key, on in hparams.items() if on is True and (method, key) in VARIANTS), method)
    name = SAME.get(name, name)
    return TRANSDUCTIVE.get(name, name) if normalisation in TRANSDUCTIVE_MODES else name


def published(
    method: str, dataset: str, ways: int | None, shots: int, metric: str = "accuracy", train_shots: int | None = None
) -> tuple[Published, ...]:
    """The numbers that were printed for a method on a data set, in the order of the file; empty where none is known.

    `method` is the published name; `ways` do not matter for regression. A number printed of a training with so many shots
    stands beside no other training. `nearest.nearest` says which of them a measured number is compared with.
    """
    found = all_published().get((method, dataset, None if is_regression(metric) else ways, shots), ())
    return tuple(one for one in found if one.metric == metric and one.train_shots in (None, train_shots))


@cache
def all_published() -> dict[tuple[str, str, int | None, int], tuple[Published, ...]]:
    """Every printed number by method, data set, ways (None for regression) and shots."""
    text = files("fewshot_leaderboard").joinpath("published_results.csv").read_text(encoding="utf-8")
    found = defaultdict(list)
    for row in csv.DictReader(text.splitlines()):
        ways = int(row["ways"]) if row["ways"] else None
        found[row["method"], row["dataset"], ways, int(row["shots"])].append(_read(row))
    return {key: tuple(rows) for key, rows in found.items()}


def _read(row: dict[str, str]) -> Published:
    unit = METRICS[row["metric"]].scale
    return Published(
        value=float(row["value"]) / unit,
        text=row["value"] + (f" ± {row['ci95']}" if row["ci95"] else ""),
        interval=float(row["ci95"]) / unit if row["ci95"] else None,
        metric=row["metric"],
        test_episodes=int(row["test_episodes"]) if row["test_episodes"] else None,
        queries=int(row["queries_per_class"]) if row["queries_per_class"] else None,
        backbone=row["backbone"],
        transductive=row["transductive"] == "yes",
        train_shots=int(row["train_shots"]) if row["train_shots"] else None,
        source=row["source"],
        verified=row["verified"] == "yes",
    )
