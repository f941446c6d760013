"""How long the runs of a plan take and how much memory, before anything runs: from records of the same, or by a trial."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import DataError
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.runs.checks.rehearsal import Rehearsed
from fewshot_bench.runs.checks.run_time import tried_s
from fewshot_bench.runs.plan import choose_plan
from fewshot_bench.runs.requests.resolve import Resolved

SIZES = ("ways", "shots", "queries", "max_ways", "max_shots", "meta_batch_size", "batch_size", "backbone", "dtype")
"""What decides how long an update takes, beside the method and the data."""


START_S = 3.0
"""What a process takes to start, import torch and open the data, on the machine of the first measurements."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of a run, its peak in MiB, and where both come from."""

    seconds: float
    mib: float | None
    source: str


class Estimates:
    """Estimates from the records in a folder, and from trials."""

    def __init__(self, out: Path, rehearsed: dict[int, Rehearsed]) -> None:
        self.records = list(_records(out))
        self.rehearsed = rehearsed

    def of(self, resolved: Resolved) -> Estimate:
        """Of one combination: the mean of records of the same method, data and sizes by update and by test episode; without
        any, by a trial on noise on the CPU."""
        alike = [one for one in self.records if _kind(one.content["train"]) == _kind(resolved.train.model_dump(mode="json"))]
        if alike:
            seconds = sum(_scaled(one, resolved) for one in alike) / len(alike)
            peaks = [peak for one in alike if (peak := one.content["cost"].get("peak_mib")) is not None]
            return Estimate(
                START_S + seconds, max(peaks, default=None), f"{len(alike)} record{'s' if len(alike) > 1 else ''}"
            )
        plan = choose_plan("cpu", EpisodeSize.of(resolved.test).images)
        parts = tried_s(self.rehearsed[id(resolved)].method, resolved.train, resolved.test, plan)
        return Estimate(START_S + sum(parts.values()), peak_mib(), "a trial")


def peak_mib() -> float | None:
    """The most memory that this process, which has tried the methods, has had."""
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    return None


def _records(out: Path) -> Iterable[Record]:
    for path in sorted(out.glob("*/record.json")):
        with suppress(DataError):
            yield load_record(path.parent)


def _kind(train: dict[str, Any]) -> tuple[Any, ...]:
    return train["method"], train["dataset"], train["data"], train["device"], *(train.get(key) for key in SIZES)


def _scaled(record: Record, resolved: Resolved) -> float:
    """Seconds that a record tells of a run with other numbers of updates and of test episodes."""
    content = record.content
    updates, result = content["train"]["updates"], content["results"][0]
    train = content["cost"]["train_s"] * (resolved.train.updates / updates if updates else 1.0)
    test = result["cost"]["test_s"] * resolved.test.episodes / result["test"]["episodes"]
    return float(train + test)
