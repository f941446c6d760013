"""Results of several runs compared in pairs over the test episodes that they share.

Which episodes a result was tested on follows from its test split, the size of the episodes and their seed; a test of fewer
episodes is the beginning of a longer one. Results of other episodes are refused, or compared without pairs on demand.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot_bench import arguments
from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError, system_errors, unknown
from fewshot_bench.hashing import canonical_json
from fewshot_bench.metrics import is_regression
from fewshot_bench.request import TestRequest
from fewshot_bench.results.data_interval import OVERS, SAID, Over, data_parts, shared_drawn
from fewshot_bench.results.data_parts import NoDataInterval
from fewshot_bench.results.families import Family, Judged, all_pairs
from fewshot_bench.results.pairs import DataParts, Pair, compare_pair, compare_unpaired
from fewshot_bench.results.pooling import Pooled, pool
from fewshot_bench.results.records import Folder, Record, find_records
from fewshot_bench.results.score_files import Scores
from fewshot_bench.results.tables import data_text

if TYPE_CHECKING:
    from fewshot_bench.results.by_class import ByClass


@dataclass(frozen=True)
class Member:
    """One of the results that are compared."""

    label: str
    """The method, and the run's id where two have one method."""
    pooled: Pooled
    scores: Scores
    """[K, E] over the compared episodes."""

    @property
    def mean(self) -> float:
        """Over these episodes and all seeds."""
        return float(self.scores.mean())


@dataclass(frozen=True)
class Comparison:
    """Results on the same test episodes, best first, and every pair of them."""

    members: Sequence[Member]
    family: Family
    level: float
    paired: bool
    over: Over = "episodes"

    def estimand(self, pair: Pair) -> str:
        """What the difference of a pair speaks of."""
        who = "the methods, over their training seeds" if pair.of_methods else "these checkpoints"
        return f"{who}, on {SAID[self.over]}"

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.members[0].pooled.metric

    @property
    def direction(self) -> str:
        """`max` or `min`: which scores are better."""
        return self.members[0].pooled.direction

    @property
    def episodes(self) -> int:
        """How many episodes the shortest test has."""
        return min(len(member.scores[0]) for member in self.members)

    @property
    def longest(self) -> int:
        """How many episodes the longest test of them all had."""
        return max(int(member.pooled.test["episodes"]) for member in self.members)

    @property
    def of_methods(self) -> set[bool]:
        """Whether pairs speak of the methods, over several seeds of each, or of the checkpoints; both where some do."""
        return {one.pair.of_methods for one in self.family.judged.values()}

    @property
    def title(self) -> str:
        """What was compared on what."""
        test = self.members[0].pooled.test
        size = f"{test['shots']} points" if is_regression(self.metric) else EpisodeSize.of(test).text
        protocols = sorted({member.pooled.test["protocol"] for member in self.members})
        how = "in pairs" if self.paired else "without pairs"
        return f"{data_text(test)}, {size}, protocol {' and '.join(protocols)}, compared {how}"

    def pair(self, one: str, other: str) -> Judged:
        """The pair of two labels, the first minus the second; raises `UsageError` where one is not there."""
        labels = [member.label for member in self.members]
        for label in (one, other):
            if label not in labels:
                raise UsageError(f"No {label!r} was compared. There are: {', '.join(labels)}.")
        i, j = labels.index(one), labels.index(other)
        judged = self.family.judged[min(i, j), max(i, j)]
        return judged if i < j else replace(judged, pair=_swapped(judged.pair))

    def by_class(
        self,
        one: str | None = None,
        other: str | None = None,
        *,
        data_root: str | os.PathLike[str] | None = None,
        test_data_root: str | os.PathLike[str] | None = None,
        dataset: str | None = None,
    ) -> "ByClass":
        """Where the difference of two results comes from: their accuracies on each class of the test split.

        Args:
            one: the label of a member; None: the best.
            other: the label of another; None: the second of two.
            data_root: folder of the data, as for a run; the data set must be prepared.
            test_data_root: folder of the test's data, if elsewhere.
            dataset: `file.py:Class` of the data set, where it is not installed.

        Raises:
            UsageError: it was no comparison in pairs of two results of classification.
            DataError: a result that does not say which queries were answered right, or data that are not here.

        """
        from fewshot_bench.results.by_class import compare_classes  # needs torch

        labels = [member.label for member in self.members]
        if is_regression(self.metric):
            raise UsageError("--by class is of classification: a function has no classes.")
        if not self.paired:
            raise UsageError("--by class compares answers to the same queries: leave --unpaired out.")
        if len(labels) > 2 and (one is None or other is None):
            raise UsageError(
                f"--by class tells two results apart, and {len(labels)} were found: {', '.join(labels)}.\n"
                "Name the two runs, or their folders."
            )
        chosen = (one or labels[0], other or labels[1])
        self.pair(*chosen)  # both are there
        first, second = (self.members[labels.index(label)].pooled for label in chosen)
        root, test_root = (
            None if place is None else arguments.path(name, place)
            for name, place in (("data_root", data_root), ("test_data_root", test_data_root))
        )
        given = TestRequest(dataset=dataset, test_dataset=dataset, data_root=root, test_data_root=test_root)
        return compare_classes(first, second, chosen, self.episodes, self.level, given)


def compare_records(
    records: Iterable[Record],
    *,
    level: float = 0.95,
    paired: bool = True,
    checkpoints: bool = False,
    protocol: str | None = None,
    over: Over = "episodes",
) -> list[Comparison]:
    """Compare the results of records, all that share test episodes with each other; one comparison for each protocol, data
    set, size of episodes and metric.

    Runs that differ in their seed alone are one member, unless `checkpoints` asks for each run by itself. Where no protocol
    has two members, results of different protocols on the same episodes are compared. `over`: what the intervals speak of
    (`data_interval`). Raises `UsageError` where no two results can be compared, with the reason.
    """
    if not 0 < level < 1:
        raise UsageError(f"--level must lie between 0 and 1, got {level}: write --level 0.95.")
    if over not in OVERS:
        raise unknown("--over", over, OVERS)
    if over != "episodes" and not paired:
        raise UsageError(f"--over {over} needs the test episodes that results share: leave out --unpaired.")
    results = _results(list(records), apart=checkpoints)
    if protocol not in (None, *PROTOCOLS, *(one.test["protocol"] for one in results)):
        raise unknown("--protocol", str(protocol), PROTOCOLS)
    found = [one for one in results if protocol in (None, one.test["protocol"])]
    if len(found) < 2:
        only = f" under protocol {protocol!r}" if protocol else ""
        raise UsageError(
            f"A comparison needs at least two results{only}, got {len(found)}.\n"
            "Runs that differ in the seed alone count as one; --checkpoints compares each by itself."
        )
    groups = _groups(found, _stream if paired else _table)
    if not groups:
        raise UsageError(_why_not(found[0], found[1], paired))
    try:
        return [_comparison(group, level, paired, over) for group in groups]
    except NoDataInterval as error:
        raise UsageError(f"{error}\nLeave --over {over} out to compare on more episodes of these images.") from None


def _results(records: Sequence[Record], *, apart: bool) -> list[Pooled]:
    if apart:
        by_run: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_run[record.run_id].append(record)
        return [pooled for copies in by_run.values() for pooled in pool(copies)[0]]
    return pool(records)[0]


def _groups(found: Sequence[Pooled], key: Callable[[Pooled], str]) -> list[list[Pooled]]:
    """Those that can be compared: of one protocol, or of several where no protocol has two."""
    by_protocol: dict[tuple[str, str], list[Pooled]] = defaultdict(list)
    across: dict[str, list[Pooled]] = defaultdict(list)
    for pooled in found:
        by_protocol[key(pooled), pooled.test["protocol"]].append(pooled)
        across[key(pooled)].append(pooled)
    several = [group for _, group in sorted(by_protocol.items()) if len(group) > 1]
    return several or [group for _, group in sorted(across.items()) if len(group) > 1]


def _table(pooled: Pooled) -> str:
    """What results must share to be compared at all."""
    test = pooled.test
    size = replace(EpisodeSize.of(test), queries=1)
    return canonical_json([data_text(test), vars(size), pooled.metric, pooled.direction])


def _stream(pooled: Pooled) -> str:
    """What decides the test episodes, but for their number."""
    record, result = pooled.runs[0].record, pooled.runs[0].result
    data = result.get("data", record.content["data"])
    structure = data.get("splits", {}).get("test", {}).get("structure_id", data["identity"])
    return canonical_json([_table(pooled), structure, pooled.test["queries"], pooled.test["seed"]])


def _comparison(group: Sequence[Pooled], level: float, paired: bool, over: Over) -> Comparison:
    if paired:
        _check_digests(group)
    count = min(int(pooled.test["episodes"]) for pooled in group) if paired else None
    members = [Member("", pooled, np.stack(_scores(pooled))[:, :count]) for pooled in group]
    sign = -1 if group[0].direction == "max" else 1
    members.sort(key=lambda member: (sign * member.mean, member.pooled.order))
    labelled = [replace(member, label=label) for member, label in zip(members, _labels(members), strict=True)]
    drawn = shared_drawn(group[0], over, members[0].scores.shape[1])
    data = None if drawn is None else partial(data_parts, drawn=drawn, over=over)
    pairs = {(i, j): _pair(members[i], members[j], level, paired, data) for i, j in all_pairs(len(members))}
    return Comparison(labelled, Family.of(pairs, len(members), level), level, paired, over)


def _scores(pooled: Pooled) -> list[Scores]:
    return [run.record.scores(run.result) for run in pooled.runs]


def _pair(one: Member, other: Member, level: float, paired: bool, data: DataParts | None) -> Pair:
    if paired:
        return compare_pair(one.scores, other.scores, direction=one.pooled.direction, level=level, data=data)
    return compare_unpaired(one.scores, other.scores, level=level)


def _check_digests(group: Sequence[Pooled]) -> None:
    """Tests that say the same of their episodes had the same; raises `UsageError`."""
    digests: dict[int, Pooled] = {}
    for pooled in group:
        first = digests.setdefault(int(pooled.test["episodes"]), pooled)
        if first.digest != pooled.digest:
            raise UsageError(
                f"{_named(first)} and {_named(pooled)} state the same test, but the digests of their episodes differ:\n"
                f"{first.digest[:12]} and {pooled.digest[:12]}. --unpaired compares them without pairs."
            )


def _labels(members: Sequence[Member]) -> list[str]:
    """The method's name, with the run's id where two have it."""
    names = [str(member.pooled.train["method"]) for member in members]
    counts = Counter(names)
    ids = Counter((name, member.pooled.runs[0].run_id) for name, member in zip(names, members, strict=True))
    labels = []
    for name, member in zip(names, members, strict=True):
        run_id, protocol = member.pooled.runs[0].run_id, member.pooled.test["protocol"]
        twice = f" {protocol}" if ids[name, run_id] > 1 else ""
        labels.append(f"{name} {run_id[:6]}{twice}" if counts[name] > 1 else name)
    return labels


def _why_not(one: Pooled, other: Pooled, paired: bool) -> str:
    """In what the tests of two results differ."""
    said: list[tuple[str, Any, Any]] = [
        ("data sets", data_text(one.test), data_text(other.test)),
        ("metrics", one.metric, other.metric),
    ]
    keys = (
        "ways",
        "shots",
        "queries",
        "seed",
        "max_ways",
        "max_shots",
        "imbalanced",
        "unlabelled",
        "distractors",
        "sampling",
    )
    said += [(f"test.{key}", one.test.get(key), other.test.get(key)) for key in keys]
    differ = [f"{name} {first} and {second}" for name, first, second in said if first != second]
    reason = "; ".join(differ) or "the images of the test split differ"
    if one.runs[0].run_id == other.runs[0].run_id:
        return f"A comparison needs two runs, got one: {_named(one)}, whose tests differ: {reason}.\nName another run."
    mend = "Test one of them as the other: fsbench test RUN --help."
    mend += " Or compare them without pairs: --unpaired." if paired and _table(one) == _table(other) else ""
    return f"{_named(one)} and {_named(other)} have no test episodes in common: {reason}.\n{mend}"


def _named(pooled: Pooled) -> str:
    return f"{pooled.train['method']} {pooled.runs[0].run_id[:6]}"


def _swapped(pair: Pair) -> Pair:
    ends = (None, None) if pair.low is None or pair.high is None else (-pair.high, -pair.low)
    seeds = pair.seeds[::-1]
    return replace(
        pair, difference=-pair.difference, low=ends[0], high=ends[1], wins=pair.losses, losses=pair.wins, seeds=seeds
    )


@system_errors()
def compare(
    runs: Folder | Record | Sequence[Folder | Record],
    *,
    level: float = 0.95,
    paired: bool = True,
    checkpoints: bool = False,
    protocol: str | None = None,
    over: Over = "episodes",
) -> list[Comparison]:
    """Compare runs in pairs over the test episodes that they share, as `fsbench compare` does.

    Args:
        runs: records, or folders of runs.
        level: confidence level in (0, 1); the error rate of Holm's correction is 1 less it.
        paired: False compares results of other test episodes, without pairs.
        checkpoints: True compares each run by itself; else runs that differ in their seed alone are one result.
        protocol: name of the protocol whose results are compared; None: of each.
        over: what intervals and p-values speak of: more `episodes` of these images, new `images` of these classes, or new
            `classes`.

    Returns:
        One comparison for each protocol, data set, size of episodes and metric, its members best first. `pair(a, b)` of one
        is the difference of two labels in the metric's unit (accuracies in [0, 1]); `by_class()` says which classes it comes
        from.

    Raises:
        UsageError: no two results have test episodes in common; the message says in what they differ.
        DataError: a damaged record.

    """
    given = [runs] if isinstance(runs, str | os.PathLike | Record) else list(runs)
    records = [one for one in given if isinstance(one, Record)]
    records += find_records([one for one in given if not isinstance(one, Record)])
    return compare_records(records, level=level, paired=paired, checkpoints=checkpoints, protocol=protocol, over=over)
