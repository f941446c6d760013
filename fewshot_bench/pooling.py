"""Records to comparable results: those that differ in the training seed alone become one, with its interval."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fewshot_bench.errors import DataError
from fewshot_bench.records import Record, Scores
from fewshot_bench.specs import canonical_json
from fewshot_bench.statistics import Interval, score_interval, trials_of


@dataclass(frozen=True)
class Run:
    """One training that stands behind a result."""

    run_id: str
    seed: int
    command: str


@dataclass(frozen=True)
class Pooled:
    """One experiment's result over all its training seeds. What differs between two of these is not the seed alone."""

    train: dict[str, Any]
    """The `TrainSpec` without its seed."""
    test: dict[str, Any]
    """The `TestSpec`."""
    source: str
    """Hash of the method's source."""
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
    conflicts: tuple[str, ...]
    """Run ids of which two records hold different scores; one of the two is counted."""

    @property
    def order(self) -> tuple[float, str]:
        """Sorts best first, and equal means by content, so that the order of records never shows."""
        sign = -1 if self.direction == "max" else 1
        return sign * self.interval.mean, canonical_json([self.train, self.test, self.source, self.data, self.digest])


@dataclass(frozen=True)
class _Entry:
    """One result of one record, with what decides where it belongs."""

    key: str
    run: Run
    fields: dict[str, Any]
    trials: float
    """Query predictions in one test episode."""
    scores: Scores


def pool(records: Iterable[Record]) -> list[Pooled]:
    """Pool the results that differ in nothing but the training seed; best first where they are comparable.

    Pooled are results of equal `TrainSpec` but for the seed, equal source of the method, data, `TestSpec`, metric and
    digest of the test episodes. A seed found twice counts once, whatever the ids of its runs: a record of an older schema
    has another id for the same training. Raises `DataError` where a record lacks a part.
    """
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for record in records:
        for entry in _entries(record):
            groups[entry.key].append(entry)
    return sorted((_pooled(group) for group in groups.values()), key=lambda pooled: pooled.order)


def _entries(record: Record) -> list[_Entry]:
    try:
        return [_entry(record, result) for result in record.results]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record.folder}: the record is incomplete or damaged: {type(error).__name__} {error}.") from None


def _entry(record: Record, result: dict[str, Any]) -> _Entry:
    content = record.content
    train = {name: value for name, value in content["train"].items() if name != "seed"}
    fields = {
        "train": train,
        "test": dict(result["test"]),
        "source": str(content["method"]["source_sha256"]),
        "data": " ".join([content["data"]["identity"], *([result["data"]["identity"]] if "data" in result else [])]),
        "metric": str(result["metric"]),
        "direction": str(result["direction"]),
        "digest": str(result["digest"]),
    }
    command = result.get("command", content["provenance"]["command"])
    run = Run(record.run_id, int(content["train"]["seed"]), str(command))
    return _Entry(canonical_json(fields), run, fields, trials_of(result), record.scores(result["id"]))


def _pooled(group: list[_Entry]) -> Pooled:
    # The scores are part of the order, so that of two records of one run the same one is counted whatever came first.
    group = sorted(group, key=lambda entry: (entry.run.seed, entry.run.run_id, entry.scores.tobytes(), entry.run.command))
    counted: dict[int, _Entry] = {}
    conflicts = set()
    for entry in group:
        first = counted.setdefault(entry.run.seed, entry)
        if first.scores.tobytes() != entry.scores.tobytes():
            conflicts.add(entry.run.run_id)
    entries = list(counted.values())
    fields = entries[0].fields
    interval = score_interval([entry.scores for entry in entries], trials=entries[0].trials, metric=fields["metric"])
    return Pooled(
        **fields, interval=interval, runs=tuple(entry.run for entry in entries), conflicts=tuple(sorted(conflicts))
    )
