"""Records to comparable results: those that differ in the training seed alone become one, with its interval."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from fewshot_bench.hashing import canonical_json
from fewshot_bench.metrics import METRICS
from fewshot_bench.results.records import Record
from fewshot_bench.results.rerun_command import again
from fewshot_bench.results.score_files import Scores
from fewshot_bench.results.statistics import Interval, is_disjoint, score_interval, trials_of

TELLING = 100
"""Episodes over which two trainings do not come to the same score in each by chance."""
CLOSE = 0.95
"""The correlation of two seeds' accuracies from which a note names them. Two trainings find the same episodes hard: of five
seeds of prototypical networks on Omniglot (98 %) the closest two have 0.78. A copy with a few scores changed has 0.99."""
SHARED = 0.01
"""The share of equal scores from which a note names two seeds whose scores are no shares of queries. Errors of functions
correlate at 0.99 by nature, because the amplitude of a function decides them; that two are equal is no chance."""


@dataclass(frozen=True)
class Run:
    """One training that stands behind a result: its record, and the result in it."""

    record: Record
    result: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """First 12 hex digits that identify the training."""
        return self.record.run_id

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.record.content["train"]["seed"])

    @property
    def command(self) -> str:
        """What makes the result again."""
        return again(self.record.content, self.result)


@dataclass(frozen=True)
class Pooled:
    """One experiment's result over all its training seeds. What differs between two of these is not the seed alone."""

    train: dict[str, Any]
    """The `TrainSpec` without its seed."""
    test: dict[str, Any]
    """The `TestSpec` without its extra metrics, which change no other number."""
    source: str
    """Hash of the method's source in training."""
    engine: int
    """The core's numerics in training."""
    scored_by: str
    """Hash of the source and number of the engine that scored the test."""
    data: str
    """Identity of the data."""
    metric: str
    direction: str
    """`max` or `min`: which scores are better."""
    digest: str
    """Digest of the test episodes."""
    interval: Interval
    runs: tuple[Run, ...]
    """Sorted by seed."""
    extra: dict[str, Interval] = field(default_factory=dict)
    """By extra metric: those that every run has."""
    repeated: tuple[int, ...] = ()
    """Seeds that count for nothing, because their weights or scores are those of another: no two trainings end alike."""
    close: tuple[tuple[int, int], ...] = ()
    """Pairs of seeds that count, although their scores are closely alike."""

    @property
    def estimand(self) -> str:
        """What its interval speaks of."""
        who = f"the method, over {len(self.runs)} training seeds" if len(self.runs) > 1 else "this checkpoint"
        data = "new images of these classes" if self.test.get("sampling") == "disjoint" else "more episodes of these images"
        return f"{who}, on {data}"

    @cached_property
    def order(self) -> tuple[float, str]:
        """Sorts best first, and equal means by content, so that the order of records never shows."""
        sign = -1 if self.direction == "max" else 1
        return sign * self.interval.mean, canonical_json(
            [self.train, self.test, self.source, self.engine, self.scored_by, self.data, self.digest]
        )


@dataclass(frozen=True)
class Conflict:
    """Records that say different things of one run and test. None of them is counted: which of them lies, a person says."""

    runs: tuple[Run, ...]

    @property
    def ids(self) -> str:
        """The run, or the two ids that one training has."""
        return " and ".join(sorted({run.run_id for run in self.runs}))

    @property
    def key(self) -> str:
        """Sorts conflicts, wherever their records lie."""
        return canonical_json([self.ids, sorted(canonical_json(run.result) for run in self.runs)])

    def text(self, *, whole: bool) -> str:
        """What to do about it; `whole`: with the whole path of each folder."""
        folders = sorted({str(run.record.folder if whole else run.record.folder.name) for run in self.runs})
        if len(folders) == 1 and len({run.result["id"] for run in self.runs}) > 1:
            results = " and ".join(sorted({run.result["id"] for run in self.runs}))
            return f"Results {results} of {folders[0]} are of one test and have different scores; neither is counted."
        return (
            f"Run {self.ids} has records with different scores; none is counted until one is removed: {', '.join(folders)}."
        )


@dataclass(frozen=True)
class _Entry:
    """One result of one record, with what decides where it belongs."""

    key: str
    run: Run
    fields: dict[str, Any]
    trials: float
    """Query predictions in one test episode."""
    scores: Scores
    extra: dict[str, Scores]
    """By extra metric."""


def pool(records: Iterable[Record], *, bootstrap: bool = False) -> tuple[list[Pooled], list[Conflict]]:
    """Pool the results that differ in nothing but the training seed, best first where they are comparable; and the records
    that contradict each other, which count nowhere.

    Pooled are results of equal `TrainSpec` but for the seed, equal source of the method and engine, both in training and in
    the test, equal data, `TestSpec`, metric and digest of the test episodes. A seed found twice counts once, whatever the
    ids of its runs: a record of an older schema has another id for the same training. `bootstrap`: intervals of one seed are
    BCa. Raises `DataError` where a
    record's scores are damaged.
    """
    entries = _entries(records)
    conflicts = _conflicts(entries)
    disputed = {id(run) for conflict in conflicts for run in conflict.runs}
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        if id(entry.run) not in disputed:
            groups[entry.key].append(entry)
    return sorted(
        (_pooled(group, bootstrap=bootstrap) for group in groups.values()), key=lambda pooled: pooled.order
    ), conflicts


def conflicts_of(records: Iterable[Record]) -> list[Conflict]:
    """The records that contradict each other."""
    return _conflicts(_entries(records))


def _entries(records: Iterable[Record]) -> list[_Entry]:
    return [_entry(record, result) for record in records for result in record.results]


def _entry(record: Record, result: dict[str, Any]) -> _Entry:
    content = record.content
    train = {name: value for name, value in content["train"].items() if name != "seed"}
    source = str(content["method"]["source_sha256"])
    fields = {
        "train": train,
        "test": {name: value for name, value in result["test"].items() if name != "extra_metrics"},
        "source": source,
        "engine": int(content["engine"]),
        "scored_by": f"{result.get('source_sha256', source)}-{result.get('engine', content['engine'])}",
        "data": " ".join([content["data"]["identity"], *([result["data"]["identity"]] if "data" in result else [])]),
        "metric": str(result["metric"]),
        "direction": str(result["direction"]),
        "digest": str(result["digest"]),
    }
    extra = {name: record.scores(result["id"], name) for name in result.get("extra", {})}
    scores = record.scores(result["id"])
    return _Entry(canonical_json(fields), Run(record, result), fields, trials_of(result), scores, extra)


def _conflicts(entries: Iterable[_Entry]) -> list[Conflict]:
    """The results of one training and test, or of one run and result by their ids, that are not the same."""
    alike: dict[Hashable, dict[int, _Entry]] = defaultdict(dict)
    for entry in entries:
        for claim in ((entry.key, entry.run.seed), (entry.run.run_id, entry.run.result["id"])):
            alike[claim][id(entry)] = entry
    found = {}
    for same in alike.values():
        if len(same) > 1 and _differ(same.values()):
            found[frozenset(same)] = Conflict(tuple(entry.run for entry in same.values()))
    return sorted(found.values(), key=lambda conflict: conflict.key)


def _differ(entries: Iterable[_Entry]) -> bool:
    """Whether they say different things: of scores by an extra metric those that have them."""
    said: dict[str, set[Hashable]] = defaultdict(set)
    for entry in entries:
        said[""].add((entry.key, entry.run.seed, entry.scores.tobytes()))
        for name, scores in entry.extra.items():
            said[name].add(scores.tobytes())
    return any(len(different) > 1 for different in said.values())


def _pooled(group: list[_Entry], *, bootstrap: bool) -> Pooled:
    seeds: dict[int, list[_Entry]] = defaultdict(list)
    for entry in group:
        seeds[entry.run.seed].append(entry)
    entries, repeated = _apart([_first(seeds[seed]) for seed in sorted(seeds)])
    fields = entries[0].fields
    about: dict[str, Any] = {"trials": entries[0].trials, "disjoint": is_disjoint(fields), "bootstrap": bootstrap}
    interval = score_interval([entry.scores for entry in entries], metric=fields["metric"], **about)
    extra = {
        name: score_interval([entry.extra[name] for entry in entries], metric=name, **about)
        for name in entries[0].extra
        if all(name in entry.extra for entry in entries)
    }
    runs = tuple(entry.run for entry in entries)
    close = tuple((a.run.seed, b.run.seed) for a, b in combinations(entries, 2) if _is_close(a, b))
    return Pooled(**fields, interval=interval, runs=runs, extra=extra, repeated=repeated, close=close)


def _apart(entries: list[_Entry]) -> tuple[list[_Entry], tuple[int, ...]]:
    """Those whose weights and scores no earlier one has, and the seeds of the others. What is not trained may be alike."""
    seen: set[Hashable] = set()
    kept = []
    for entry in entries:
        trained = entry.fields["train"]["updates"]
        telling = trained and np.ptp(entry.scores) and len(entry.scores) >= TELLING
        weights = entry.run.record.content.get("weights_sha256") if trained else None
        marks: set[Hashable] = {entry.scores.tobytes()} if telling else set()
        marks |= {weights} if weights else set()
        if not marks & seen:
            kept.append(entry)
        seen |= marks
    return kept, tuple(entry.run.seed for entry in entries if not any(entry is one for one in kept))


def _is_close(a: _Entry, b: _Entry) -> bool:
    """Whether the scores of two trainings are more alike than those of two that began apart."""
    if not a.fields["train"]["updates"] or len(a.scores) < TELLING or not (np.ptp(a.scores) and np.ptp(b.scores)):
        return False
    if not METRICS[a.fields["metric"]].of_queries:
        return float((a.scores == b.scores).mean()) >= SHARED
    return float(np.corrcoef(a.scores, b.scores)[0, 1]) >= CLOSE


def _first(copies: list[_Entry]) -> _Entry:
    """One of several records of the same, whatever came first: one with the most metrics."""
    if len(copies) == 1:
        return copies[0]
    return min(copies, key=lambda entry: (-len(entry.extra), entry.run.run_id, canonical_json(entry.run.record.content)))
