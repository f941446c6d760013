"""Shards: one test in k parts, computed by as many processes or machines, merged into the very result of the whole.

A part holds whole batches of the test's episodes, each batch computed as in the whole. It lies in the run's folder as
`shard-<result id>-<i>-of-<k>.parquet`: the score of each of its episodes, and in the metadata what they were computed
from. The answers to their queries lie beside it as `.safetensors`, whose hash the metadata hold. A part of anything else is
never merged. Whoever finds all k parts merges them; two who do so at once write the same.

Bits may still differ between processors of different kinds, as they do for whole tests.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.inputs.strict_json import parse_json, read_bounded
from fewshot_bench.metrics import METRICS
from fewshot_bench.plugins import registry
from fewshot_bench.request import TestRequest
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers, joined
from fewshot_bench.results.records import Record, add_result, load_record, part_files, remove_parts
from fewshot_bench.results.score_files import read_columns
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.runs.checkpoint import weights_sha256
from fewshot_bench.runs.checks.inductive import is_inductive
from fewshot_bench.runs.inputs import write_splits
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.retest import check_writable_test, lacks_predictions, reopen, resolve_test, with_command
from fewshot_bench.runs.scores import Scored
from fewshot_bench.runs.session import Session, result_id
from fewshot_bench.specs import TestSpec
from fewshot_bench.storage import atomic
from fewshot_bench.text.printable import printable
from fewshot_bench.threads import one_thread_at_a_time

ANSWERS = ".safetensors"
"""The end of the name of a part's answers."""


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` parts, from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `i/k` names; raises `UsageError`."""
        if found := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text):
            index, count = map(int, found.groups())
            if 1 <= index <= count:
                return cls(index, count)
        raise UsageError(f"--shard takes i/k with i from 1 to k, such as 1/4; got {text!r}.")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def part(self, episodes: int, batch: int) -> range:
        """Its part of `episodes` that are computed `batch` at a time: whole batches, as many as any other's or one less.

        Raises `UsageError` where there are fewer batches than shards.
        """
        batches = -(-episodes // batch)
        if self.count > batches:
            several = f"{batches} batch{'es' if batches > 1 else ''} of up to {batch}"
            raise UsageError(
                f"The {episodes:,} episodes are computed in {several}: at most --shard 1/{batches}, got {self}."
            )
        first, last = batches * (self.index - 1) // self.count, batches * self.index // self.count
        return range(first * batch, min(last * batch, episodes))


@dataclass(frozen=True)
class Standing:
    """How far a sharded test is: the numbers of its parts that are `missing`; once none is, `record` holds the result."""

    record: Record
    result_id: str
    missing: list[int]


@dataclass(frozen=True)
class Parts:
    """The parts of one test on disk: `count` of them, each computed from `origin`."""

    folder: Path
    result_id: str
    origin: dict[str, Any]
    episodes: int
    batch: int
    count: int
    metrics: Sequence[str]
    """The main one first."""

    @property
    def columns(self) -> dict[str, str]:
        """The column of each metric."""
        return {name: "score" if METRICS[name].main else name for name in self.metrics}

    def path(self, index: int) -> Path:
        """Where part `index` lies."""
        return self.folder / f"shard-{self.result_id}-{index}-of-{self.count}.parquet"

    def about(self, index: int) -> dict[str, Any]:
        """What part `index` must say of itself."""
        shard = Shard(index, self.count)
        part = shard.part(self.episodes, self.batch)
        return self.origin | {"shard": str(shard), "episodes": [part.start, part.stop]}

    def write(self, index: int, part: Scored) -> None:
        """Put part `index` in its place, in one atomic step: answers without their scores are never read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = self.about(index) | {"test_s": part.test_s}
        if part.answers is not None:
            content = answer_files.packed({self.result_id: part.answers})
            about["answers"] = hashlib.sha256(content).hexdigest()
            with atomic(self.path(index).with_suffix(ANSWERS)) as temporary:
                temporary.write_bytes(content)
        episodes = np.arange(*about["episodes"], dtype=np.int32)
        scores = {column: part.scores[metric] for metric, column in self.columns.items()}
        table = pa.table({"episode": episodes, **scores}, metadata={"about": json.dumps(about)})
        with atomic(self.path(index)) as temporary, temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")

    def read(self, index: int) -> Scored | None:
        """Part `index`, or None where it is not there; raises `DataError` for one that is damaged or not of this test."""
        path, wanted = self.path(index), self.about(index)
        try:
            table = read_columns(path, ["episode", *self.columns.values()], self.episodes)
            about = dict(parse_json((table.schema.metadata or {})[b"about"], path.name))
            scores = {metric: np.asarray(table[column], np.float64) for metric, column in self.columns.items()}
            test_s = float(about["test_s"])
        except FileNotFoundError:
            return None
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path.name} cannot be read ({str(error).rstrip('.')})") from None
        for key, ours in wanted.items():
            if (theirs := about.get(key)) != ours:
                raise DataError(
                    f"{path.name} was computed from something else ({key} {printable(str(theirs))}, here {ours})"
                )
        if table.num_rows != wanted["episodes"][1] - wanted["episodes"][0]:
            raise DataError(f"{path.name} has {table.num_rows} scores for episodes {wanted['episodes']}")
        return Scored(scores, self._answers(path.with_suffix(ANSWERS), about, table.num_rows), test_s)

    def _answers(self, path: Path, about: dict[str, Any], episodes: int) -> Answers | None:
        """The answers that belong to a part; None for regression. Raises `DataError` where they are another's."""
        if METRICS[self.metrics[0]].kind == "regression":
            return None
        try:
            content = read_bounded(path, sum(answer_files.LARGEST.values()))
        except FileNotFoundError:
            raise DataError(f"{path.name} is missing") from None
        if hashlib.sha256(content).hexdigest() != about.get("answers"):
            raise DataError(f"{path.name} is of other scores")
        return answer_files.unpacked(content, path, self.result_id, episodes)


@one_thread_at_a_time()
def test_shard(folder: Path, request: TestRequest, listener: Listener) -> Standing:
    """Compute one shard of a test of a finished run, unless it is there, and merge the parts once none is missing."""
    shard = Shard.parse(str(request.shard))
    record, resolved, spec = resolve_test(folder, request)
    wanted = result_id(resolved)
    if record.find(wanted) is not None:
        listener.note(f"Already done: {folder} holds this result.")
        remove_parts(folder, wanted)
        if lacks_predictions(record, resolved, request.keep):
            raise UsageError(f"{folder} holds this result without predictions: --keep adds them without --shard.")
        return Standing(record, wanted, [])
    session = reopen(record, resolved, spec, listener, request.threads, keep=request.keep)
    check_writable_test(folder, spec, request.keep)
    batch = session.batch_size(spec)
    episodes = shard.part(spec.episodes, batch)
    metrics = [session.metric.name, *spec.extra_metrics]
    origin = _origin(session, spec, record) | ({} if request.keep is None else {"keep": request.keep})
    parts = Parts(folder, wanted, origin, spec.episodes, batch, shard.count, metrics)
    if _read(parts, shard.index, lambda reason: listener.note(f"Computed again: {reason}.")) is not None:
        listener.note(f"Already there: part {shard}.")
    else:
        parts.write(shard.index, session.score(spec, episodes, listener, predictions=request.keep is not None))
    return _merge(session, spec, parts, record, StoredRequest.of(request), listener)


def _merge(
    session: Session, spec: TestSpec, parts: Parts, record: Record, stored: StoredRequest, listener: Listener
) -> Standing:
    """Add the result to the record if every part is there; another process may do the same at this moment."""
    found = {i: _read(parts, i, lambda reason: listener.note(f"Ignored: {reason}.")) for i in range(1, parts.count + 1)}
    there = [part for part in found.values() if part is not None]
    if len(there) < parts.count:
        record = load_record(parts.folder)  # after the parts: who merged them wrote it before deleting them
        merged = record.find(parts.result_id) is not None
        _note_others(parts, listener)
        return Standing(record, parts.result_id, [] if merged else [i for i, part in found.items() if part is None])
    scores = {metric: np.concatenate([part.scores[metric] for part in there]) for metric in parts.metrics}
    answers = joined([part.answers for part in there if part.answers is not None])
    result = with_command(record.content, session.result(spec, scores, sum(part.test_s for part in there)), stored)
    write_splits(parts.folder, session.resolved)
    return Standing(add_result(record, result, scores, answers), parts.result_id, [])


def _read(parts: Parts, index: int, note: Callable[[str], None]) -> Scored | None:
    try:
        return parts.read(index)
    except DataError as error:
        note(str(error))
        return None


def _note_others(parts: Parts, listener: Listener) -> None:
    ours = {parts.path(index) for index in range(1, parts.count + 1)}
    if others := [path.name for path in part_files(parts.folder, parts.result_id) if path not in ours]:
        listener.note(f"Not used, as they are no parts of {parts.count}: {', '.join(others)}.")


def _origin(session: Session, spec: TestSpec, record: Record) -> dict[str, Any]:
    """All that the scores depend on."""
    return {
        "run": record.run_id,
        "result": result_id(session.resolved),
        "digest": session.test_source(spec).sampler.digest(spec.episodes),
        "checked": is_inductive(spec, type(session.method)),
        "source_sha256": session.resolved.source_sha256,
        "engine": ENGINE,
        "weights": weights_sha256(session.method.state_dict()),
        "pixels": session.tested.fingerprint,
        "plan": session.plan.as_json(),
        "software": f"fewshot-bench {registry.version()}, torch {torch.__version__}",
    }
