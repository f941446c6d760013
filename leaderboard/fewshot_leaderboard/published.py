"""The numbers that papers printed, each with the conditions under which it was measured; every row was checked."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One printed number. A fact that the paper does not state is None."""

    value: float
    """In the metric's unit, accuracies in [0, 1]."""
    text: str
    """As printed, accuracies in percent: `98.7 ± 0.4`."""
    metric: str
    test_episodes: int | None
    queries: int | None
    """Query images a class."""
    backbone: str
    transductive: bool
    source: str

    @property
    def conditions(self) -> str:
        """The paper's test conditions in one phrase."""
        episodes = f"{self.test_episodes} test episodes" if self.test_episodes else "test episodes not stated"
        queries = {None: "queries not stated", 1: "1 query a class"}.get(self.queries, f"{self.queries} queries a class")
        kind = "transductive" if self.transductive else "inductive"
        return ", ".join(part for part in (episodes, queries, kind, self.backbone) if part)


def published(method: str, dataset: str, ways: int | None, shots: int) -> Published | None:
    """The number that was printed for a method on a data set, or None where no checked one is known."""
    return _published().get((method, dataset, str(ways or ""), str(shots)))


@cache
def _published() -> dict[tuple[str, str, str, str], Published]:
    text = files("fewshot_leaderboard").joinpath("published_results.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {(row["method"], row["dataset"], row["ways"], row["shots"]): _read(row) for row in rows}


def _read(row: dict[str, str]) -> Published:
    return Published(
        value=float(row["value"]) / (100 if row["metric"] == "accuracy" else 1),
        text=row["value"] + (f" ± {row['ci95']}" if row["ci95"] else ""),
        metric=row["metric"],
        test_episodes=int(row["test_episodes"]) if row["test_episodes"] else None,
        queries=int(row["queries_per_class"]) if row["queries_per_class"] else None,
        backbone=row["backbone"],
        transductive=row["transductive"] == "yes",
        source=row["source"],
    )
