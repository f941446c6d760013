"""A run made again from its record alone: the same specifications, seed and execution plan, trained from the start.

On the same kind of processor, with the same torch and code, it ends bit for bit as before. Elsewhere it ends as another
seed would, so that only a difference between trainings can be told from none.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.request import TestRequest
from fewshot_bench.results.pairs import Pair, compare_pair
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.rerun_command import Places, run_request
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.provenance import environment
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.retest import resolve_result, resolve_trained

Outcome = Literal["bit for bit", "within the interval", "not reproduced"]


@dataclass(frozen=True)
class Reproduction:
    """A record, and what making it again came to."""

    record: Record
    again: Record
    outcome: Outcome
    pair: Pair
    """The new scores minus the old, on the same episodes."""
    unlike: list[str]
    """In what this machine, its versions or the code differ from the record's, in words."""

    @property
    def said(self) -> str:
        """The outcome in a sentence."""
        if self.outcome == "bit for bit":
            return f"the same in all {self.pair.episodes:,} episodes, bit for bit"
        moved = f"{self.pair.wins + self.pair.losses:,} of {self.pair.episodes:,} episodes differ"
        if self.pair.low is None or self.pair.high is None:
            return f"{moved}: {self.outcome}"
        half = (self.pair.high - self.pair.low) / 2
        return f"{moved}; new minus old {self.pair.difference:+.4f} ± {half:.4f}: {self.outcome}"


def reproduce_run(folder: Path, request: TestRequest, out: Path, listener: Listener) -> Reproduction:
    """Train and test the run in `folder` again below `out`, and compare its first result.

    `request` may name code that is not installed and the folders of the data, as for another test of the run. Raises
    `UsageError` where the record is not made for that, `DataError` where the data here are others.
    """
    record = load_record(folder)
    content, result = record.content, record.results[0]
    if "plan" not in content:
        raise DataError(f"{folder} cannot be made again alike: its record.json holds no plan.")
    command = ["fsbench", "reproduce", str(folder)]
    trained, names = resolve_trained(record, request, command, content["plan"]["device"])
    resolved = resolve_result(trained, names, record, result, request)
    if resolved.dataset.identity() != content["data"]["identity"]:
        raise DataError(f"The data here are not those of {record.run_id}: give --data-root the folder of the same images.")
    if (out / resolved.folder_name / "record.json").exists():  # a copy of the record itself would agree with it
        raise UsageError(f"{out} has a finished run of that name already: choose another folder with --into.")
    asked = replace(run_request(content, result, Places(request.data_root, request.test_data_root)), threads=None)
    again, new = execute(asked, resolved, out, "reuse", listener, Plan(**content["plan"]))
    scores, stated = again.scores(new), record.scores(result)
    pair = compare_pair(scores, stated, direction=result["direction"])
    weights = [one.content.get("weights_sha256") for one in (again, record)]
    exact = np.array_equal(scores, stated) and (None in weights or weights[0] == weights[1])
    return Reproduction(record, again, "bit for bit" if exact else _outcome(pair), pair, unlike(record, resolved))


def unlike(record: Record, resolved: Resolved) -> list[str]:
    """Versions, machine and code that differ from those of the record."""
    theirs, ours = record.content["provenance"], environment()
    versions, here = theirs.get("versions") or {}, ours["versions"]
    said = [f"{name} {versions[name]}, here {here.get(name)}" for name in versions if versions[name] != here.get(name)]
    for key, what in (("processor", "processor"), ("cpu_capability", "capability"), ("platform", "platform")):
        if theirs.get(key) not in (None, ours[key]):
            said.append(f"{what} {theirs[key]}, here {ours[key]}")
    if record.content["method"]["source_sha256"] != resolved.source_sha256:
        said.append(f"the source of {resolved.method.name} has changed")
    if record.content["engine"] != ENGINE:
        said.append(f"the core's numerics are number {ENGINE}, not {record.content['engine']}")
    return said


def _outcome(pair: Pair) -> Outcome:
    """Of scores that are not the same bit for bit."""
    if pair.low is None or pair.high is None:
        return "within the interval" if pair.test == "same scores" else "not reproduced"
    return "within the interval" if pair.low <= 0 <= pair.high else "not reproduced"
