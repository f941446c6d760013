"""A run made again from its record alone: the same specifications, seed and execution plan, trained from the start.

On the same kind of processor, with the same torch and code, it ends bit for bit as before. Elsewhere it ends as another
seed would, so that only a difference between trainings can be told from none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fewshot_bench.data.choice import DataChoice
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
from fewshot_bench.runs.requests.resolve import Resolved, resolve_again
from fewshot_bench.runs.requests.trusted_names import names_of
from fewshot_bench.specs import TestSpec, TrainSpec

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
            return f"{moved}, all by {self.pair.difference:+.4f}"
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
    resolved = resolved_of(record, result, request)
    if resolved.dataset.identity() != content["data"]["identity"]:
        raise DataError(f"The data here are not those of {record.run_id}: give --data-root the folder of the same images.")
    if (out / resolved.folder_name).resolve() == folder.resolve():
        raise UsageError(f"{out} holds the record itself: choose another folder with --into.")
    asked = replace(run_request(content, result, Places(request.data_root, request.test_data_root)), threads=None)
    again, new = execute(asked, resolved, out, "reuse", listener, Plan(**content["plan"]))
    pair = compare_pair(again.scores(new), record.scores(result), direction=result["direction"])
    return Reproduction(record, again, _outcome(pair), pair, unlike(record, resolved))


def resolved_of(record: Record, result: Mapping[str, Any], request: TestRequest) -> Resolved:
    """The run of a record with the test of one of its results, on this machine."""
    train, spec = TrainSpec.model_validate(record.content["train"]), TestSpec.model_validate(result["test"])
    names = names_of(record, train, request, ["fsbench", "reproduce", str(record.folder)])
    resolved = resolve_again(names, train, spec, record.content["plan"]["device"], request.data_root)
    if "data" not in result:
        return resolved
    reference = names.tested_on or result["data"]["name"]
    roots = request.data_root, request.test_data_root
    on = DataChoice.of(reference).build_like(resolved.dataset, spec.data, *roots)
    return replace(resolved, test_data=on, test_reference=reference)


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
    if pair.test == "same scores":
        return "bit for bit"
    if pair.low is None or pair.high is None:
        return "not reproduced"
    return "within the interval" if pair.low <= 0 <= pair.high else "not reproduced"
