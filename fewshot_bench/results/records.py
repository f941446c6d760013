"""Records: what a run leaves behind. `record.json`, `episodes.parquet`, `queries.safetensors`, `log.jsonl`, and weights.

A record is written atomically (a temporary file, fsync, rename) and holds no pickle. `schema` counts its format; a reader
brings older ones up to date with `MIGRATIONS`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from fewshot_bench import arguments
from fewshot_bench.errors import DataError, FewshotError, UsageError, system_errors
from fewshot_bench.inputs.plain_files import kind_at
from fewshot_bench.inputs.strict_json import read_json
from fewshot_bench.metrics import METRICS, Metric, is_regression
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers, Predictions, unlike, unlikely
from fewshot_bench.results.record_checks import checked
from fewshot_bench.results.record_models import SCHEMA, scores_in
from fewshot_bench.results.score_files import Scores, group, groups, read_scores, write_scores
from fewshot_bench.results.statistics import is_disjoint, score_interval, trials_of
from fewshot_bench.text.printable import printable

LARGEST = 4 * 2**20
"""Bytes of a `record.json`; a thousand results have two million."""


def _with_precision(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 names the precision of the training, which had been the highest."""
    return content | {"schema": 2, "train": {**content["train"], "precision": "highest"}}


def _with_what_an_update_sees(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 names optimiser, schedule and batches, which had been Adam's, halvings alone, and episodes of fixed shots."""
    added: dict[str, Any] = {
        "max_shots": None,
        "batch_size": None,
        "optimiser": "adam",
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "lr_steps": [],
        "lr_linear": False,
        "gradient_norm_clip": None,
    }
    return content | {"schema": 3, "train": added | content["train"]}


def _with_engine(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 4 names the core's numerics, which had been those of number 1, the version of the source's hash, which had been
    1, and of the backbone more than its name."""
    train = content["train"]
    backbone = {"name": train["backbone"]} if isinstance(train["backbone"], str) else train["backbone"]
    return content | {
        "schema": 4,
        "engine": 1,
        "method": {"source_version": 1} | content["method"],
        "train": train | {"backbone": backbone},
        "results": [{"engine": 1} | result for result in content["results"]],
    }


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _with_precision,
    2: _with_what_an_update_sees,
    3: _with_engine,
}
"""From schema n to n + 1."""

Folder = str | os.PathLike[str]


@dataclass(frozen=True)
class Record:
    """One run's record: the content of `record.json`, checked (`record_checks`), and where it lies."""

    folder: Path
    content: dict[str, Any]
    asked: str | None = None
    """The id of the result that was asked for, in the record that `fewshot_bench.run` returns."""

    @property
    def run_id(self) -> str:
        """First 12 hex digits that identify the training."""
        return str(self.content["run_id"])

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results, one a test spec, in the order in which they were made."""
        return list(self.content["results"])

    @property
    def result(self) -> dict[str, Any]:
        """The result that was asked for; of a record that was loaded, its only one. Raises `UsageError` where such a record
        has several."""
        asked = self.results if self.asked is None else [one for one in self.results if one["id"] == self.asked]
        if len(asked) != 1:
            raise UsageError(
                f"{_named(self.folder)} holds {len(asked)} results, and which one is meant was not said.\n"
                "Choose one of record.results by its `test`; the record that fewshot_bench.run returns knows its own."
            )
        return asked[0]

    def find(self, result_id: str) -> dict[str, Any] | None:
        """The result of that id, if it is there."""
        return next((result for result in self.results if result["id"] == result_id), None)

    def scores(self, result: str | Mapping[str, Any], metric: str | None = None) -> Scores:
        """Score of each test episode [episodes] of a result, or of the result of that id: accuracy in [0, 1], or mean
        squared error; or by one of its extra metrics. Raises `UsageError` for an id or a metric that is not there,
        `DataError` where scores are missing or damaged, or not what the result says."""
        found = self._of(result)
        if (wanted := metric or found["metric"]) not in (has := measured(found)):
            raise UsageError(f"Result {found['id']} has no {arguments.shown(wanted)}. It has: {', '.join(has)}.")
        scores = self._scores.get(name := group(found["id"], wanted), np.empty(0))
        if wrong := _unlike(scores, found, METRICS[wanted]):
            raise DataError(f"{_named(self.folder)}: the scores of result {name} are damaged: {wrong}.")
        return scores

    def answers(self, result: str | Mapping[str, Any]) -> Answers | None:
        """Which queries of a result, or of the result of that id, were answered right, in the order of its episodes; None
        for a result of regression, and for one of a version that kept no answers.

        Raises `UsageError` for an id that is not there, `DataError` where answers are damaged, or are not those of the
        scores.
        """
        found = self._of(result)
        if is_regression(found["metric"]):
            return None
        answers = answer_files.read_answers(self.folder, found, self.results)
        if answers is not None and (wrong := unlike(answers, found, self.scores(found))):
            raise answer_files.damaged(self.folder / answer_files.NAME, f"result {found['id']}: {wrong}")
        return answers

    def predictions(self, result: str | Mapping[str, Any]) -> Predictions | None:
        """What the queries of a result were answered, in the same order: labels within their episodes and confidences; None
        where `--keep predictions` did not ask for them. Raises as `answers` does."""
        found = self._of(result)
        if (predictions := answer_files.read_predictions(self.folder, found)) is None:
            return None
        answers, path = self.answers(found), self.folder / answer_files.PREDICTIONS
        wrong = "right or wrong is not kept beside it"
        if answers is None or (wrong := unlikely(predictions, answers, found["test"]["queries"])):
            raise answer_files.damaged(path, f"result {found['id']}: {wrong}")
        return predictions

    def _of(self, result: str | Mapping[str, Any]) -> dict[str, Any]:
        """The result in this record; raises `UsageError` for one that is not there."""
        wanted = result.get("id") if isinstance(result, Mapping) else result
        found = self.find(wanted) if isinstance(wanted, str) else None
        if found is None:
            there = ", ".join(one["id"] for one in self.results)
            raise UsageError(f"No result {arguments.shown(wanted)} in {_named(self.folder)}. There are: {there}.")
        return found

    @cached_property
    def _scores(self) -> dict[str, Scores]:
        return read_scores(self.folder, sum(scores_in(result["test"]) for result in self.results))


def measured(result: Mapping[str, Any]) -> list[str]:
    """The metrics of a result: the main one, then the extra ones by name."""
    return [result["metric"], *sorted(result.get("extra", {}))]


def _unlike(scores: Scores, result: dict[str, Any], metric: Metric) -> str:
    """In what scores are not those that a result states for one of its metrics; empty where they may be."""
    if len(scores) != (stated := result["test"]["episodes"]):
        return f"{len(scores):,} in place of {stated:,} episodes"
    if not np.isfinite(scores).all():
        return "one is not finite"
    if not (metric.holds(scores.min()) and metric.holds(scores.max())):
        return f"one is no {metric.name}"
    if metric.of_queries and result["test"].get("max_ways") is None:
        right = scores * trials_of(result)
        if np.abs(right - right.round()).max() > 1e-6:
            return "one is no share of the queries of an episode"
    said = result if metric.main else result["extra"][metric.name]
    due = score_interval(
        [scores], trials=trials_of(result), metric=metric.name, level=said["level"], disjoint=is_disjoint(result)
    )
    for name, found in (("mean", due.mean), ("low", due.low), ("high", due.high)):
        if abs(said[name] - found) > (1e-9 if name == "mean" else 1e-7) * max(1.0, abs(found)):  # a bound: of scipy too
            return f"their {name} is {found:.6g}, where the record says {said[name]:.6g}"
    if said["interval"].partition(";")[0] != due.method.partition(";")[0]:  # what follows is a remark
        return f"their interval is a {due.method.partition(';')[0]}, where the record says {said['interval'][:60]!r}"
    return ""


def load_record(folder: str | os.PathLike[str]) -> Record:
    """Read one record, of its folder or its `record.json`; raises `DataError` when it is missing, damaged or of a newer
    schema."""
    folder = arguments.path("The folder of a record", folder)
    folder = folder.parent if folder.name == "record.json" else folder
    path = folder / "record.json"
    try:
        content = read_json(path, LARGEST)
    except FileNotFoundError:
        raise DataError(f"No record in {_named(folder)}: record.json is missing (is the run finished?).") from None
    return Record(folder, _present(content, path))


def _present(read: Any, path: Path) -> dict[str, Any]:
    """The content of a record, brought to the present schema and checked; raises `DataError`."""
    content: dict[str, Any] = read if isinstance(read, dict) else {}
    schema = content.get("schema")
    if type(schema) is not int:
        raise DataError(f"{_named(path)} is not a record: it has no schema.")
    ids = schema == SCHEMA
    try:
        while schema in MIGRATIONS:
            content = MIGRATIONS[schema](content)
            schema = content["schema"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{_named(path)} is damaged: {type(error).__name__} {printable(str(error))}.") from None
    if schema != SCHEMA:
        raise DataError(
            f"{_named(path)} has schema {schema}; this version of fewshot-bench reads up to {SCHEMA}. Upgrade it."
        )
    try:
        return checked(content, ids=ids)
    except ValueError as error:
        raise DataError(f"{_named(path)} is damaged: {error}.") from None


def _refuse(error: DataError) -> None:
    raise error


@system_errors()
def find_records(roots: Folder | Iterable[Folder], leave_out: Callable[[DataError], None] = _refuse) -> list[Record]:
    """Every record in or below `roots`, one folder or several, sorted by folder, its scores checked.

    Raises `UsageError` for a root that does not exist, `DataError` for a damaged record unless `leave_out` takes the error.
    """
    folders: set[Path] = set()
    for root in arguments.paths("The folders of records", roots):
        if not root.is_dir():
            if (kind := kind_at(root)) is not None:
                raise UsageError(f"{_named(root)} is {kind}, not a folder of records.")
            raise UsageError(f"No such folder of records: {_named(root)}.")
        os.scandir(root).close()  # what may not be read is no empty folder
        folders.update(path.parent for path in root.rglob("record.json"))
    records = []
    for folder in sorted(folders):
        try:
            check_scores(record := load_record(folder))
        except DataError as error:
            leave_out(error)
        else:
            records.append(record)
    return records


def _named(path: Path) -> str:
    return printable(str(path), 1000)


def check_scores(record: Record) -> None:
    """Raises `DataError` where scores of a record are missing or damaged."""
    for result in record.results:
        for metric in measured(result):
            record.scores(result, metric)


def check_whole(record: Record) -> None:
    """Raises `DataError` where the scores or the answers of a record are damaged."""
    check_scores(record)
    for result in record.results:
        record.answers(result)
        record.predictions(result)


def add_answers(record: Record, result_id: str, answers: Answers) -> Record:
    """Put answers in the place of those of a result that stays as it is."""
    with locked(record.folder):
        write_scores(
            record.folder,
            read_scores(record.folder),
            with_files=answer_files.contents(record.folder, {result_id: answers}),
        )
    return load_record(record.folder)


def add_result(
    record: Record,
    result: dict[str, Any],
    scores: Mapping[str, Scores],
    answers: Answers | None = None,
    *,
    replace: bool = False,
) -> Record:
    """Add a result, its scores by metric and its answers, to a record on disk, beside those that others added since it was
    read; twice is once, or with `replace` the new one in place of the old one.

    Raises `FewshotError` where the run was made again since: the result is of weights that are gone.
    """
    with locked(record.folder):
        present = load_record(record.folder)
        if present.content["provenance"] != record.content["provenance"]:
            raise FewshotError(f"{record.folder} was made again meanwhile: the result of its old weights is not added.")
        if replace or present.find(result["id"]) is None:
            others = [result if one["id"] == result["id"] else one for one in present.results]
            results = others if present.find(result["id"]) else [*others, result]
            new = "record.json", present.content | {"results": results}
            files = answer_files.contents(record.folder, {result["id"]: answers})
            all_scores = read_scores(record.folder) | groups(result["id"], scores)
            write_scores(record.folder, all_scores, with_json=new, with_files=files)
    remove_parts(record.folder, result["id"])
    return load_record(record.folder)


def part_files(folder: Path, result_id: str) -> list[Path]:
    """The parts of a result that is computed in shards: they lie beside the record until they are merged."""
    return sorted(folder.glob(f"shard-{result_id}-*-of-*.parquet"))


def remove_parts(folder: Path, result_id: str) -> None:
    """Delete the parts of a result, which the record holds whole."""
    for path in [*part_files(folder, result_id), *folder.glob(f"shard-{result_id}-*-of-*.safetensors")]:
        with suppress(OSError):  # deleted by another, or another's: one that stays is never read again
            path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process of any machine from replacing the record of `folder` meanwhile, if there is one.

    The lock is on `record.json` itself: no file stays behind, and the lock ends with its process, however that ends.
    """
    path = folder / "record.json"
    file = _lock(path)
    while file is not None and not _is_at(file, path):  # replaced by whom this process waited for
        file.close()
        file = _lock(path)
    try:
        yield
    finally:
        if file is not None:
            file.close()


def _lock(path: Path) -> IO[bytes] | None:
    try:
        file = path.open("rb+" if os.access(path, os.W_OK) else "rb")  # NFS locks only what is open for writing
    except OSError:  # no record; one that cannot be read is reported by who reads it
        return None
    with suppress(ImportError, OSError):  # no such locks on Windows, none at all on some clusters' file systems
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
