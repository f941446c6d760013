"""Records: what a run leaves behind. `record.json`, `episodes.parquet`, `log.jsonl`, `checkpoint.safetensors`.

A record is written atomically (a temporary file, fsync, rename) and holds no pickle. `schema` counts its format; a reader
brings older ones up to date with `MIGRATIONS`.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import DataError, FewshotError, UsageError, system_errors
from fewshot_bench.writing import atomic, write_json

SCHEMA = 3


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


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _with_precision, 2: _with_what_an_update_sees}
"""From schema n to n + 1."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """One run's record: the content of `record.json` and where it lies."""

    folder: Path
    content: dict[str, Any]

    @property
    def run_id(self) -> str:
        """First 12 hex digits that identify the training."""
        return str(self.content["run_id"])

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results, one a test spec, in the order in which they were made."""
        return list(self.content["results"])

    def find(self, result_id: str) -> dict[str, Any] | None:
        """The result of that id, if it is there."""
        return next((result for result in self.results if result["id"] == result_id), None)

    def scores(self, result_id: str) -> Scores:
        """Score of each test episode [episodes] of one result: accuracy in [0, 1], or mean squared error."""
        return read_scores(self.folder)[result_id]


def load_record(folder: Path) -> Record:
    """Read one record; raises `DataError` when it is missing, damaged or of a newer schema."""
    path = folder / "record.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    except FileNotFoundError:
        raise DataError(f"No record in {folder}: record.json is missing (is the run finished?).") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a record: {error}.") from None
    while schema in MIGRATIONS:
        content = MIGRATIONS[schema](content)
        schema = content["schema"]
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema}; this version of fewshot-bench reads up to {SCHEMA}. Upgrade it.")
    return Record(folder, content)


@system_errors()
def find_records(roots: Iterable[Path]) -> list[Record]:
    """Every record in or below `roots`, sorted by folder; a root that does not exist raises `UsageError`."""
    folders: set[Path] = set()
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"No such folder of records: {root}.")
        folders.update(path.parent for path in root.rglob("record.json"))
    return [load_record(folder) for folder in sorted(folders)]


def read_scores(folder: Path) -> dict[str, Scores]:
    """Every result's episode scores, by result id; raises `DataError` where the file is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "episodes.parquet"
    try:
        with path.open("rb") as file:  # pyarrow would read `exp:1/…` as an address
            table = pq.read_table(file, columns=["result", "score"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}".split("\n")[0]) from None
    results = np.asarray(table["result"].to_pylist())
    scores = table["score"].to_numpy()
    return {str(name): scores[results == name] for name in np.unique(results)}


def write_scores(folder: Path, scores: dict[str, Scores]) -> None:
    """Write `episodes.parquet`: a row an episode (result, episode, score)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "result": pa.array(np.repeat(list(scores), [len(s) for s in scores.values()])),
            "episode": pa.array(np.concatenate([np.arange(len(s), dtype=np.int32) for s in scores.values()])),
            "score": pa.array(np.concatenate(list(scores.values()))),
        }
    )
    with atomic(folder / "episodes.parquet") as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")


def add_result(record: Record, result: dict[str, Any], scores: Scores) -> Record:
    """Add a result to a record on disk, beside those that others added since it was read; twice is once.

    Raises `FewshotError` where the run was made again since: the result is of weights that are gone.
    """
    with locked(record.folder):
        present = load_record(record.folder)
        if present.content["provenance"] != record.content["provenance"]:
            raise FewshotError(f"{record.folder} was made again meanwhile: the result of its old weights is not added.")
        if present.find(result["id"]) is None:
            write_scores(record.folder, read_scores(record.folder) | {result["id"]: scores})
            write_json(record.folder / "record.json", present.content | {"results": [*present.results, result]})
    remove_parts(record.folder, result["id"])
    return load_record(record.folder)


def part_files(folder: Path, result_id: str) -> list[Path]:
    """The parts of a result that is computed in shards: they lie beside the record until they are merged."""
    return sorted(folder.glob(f"shard-{result_id}-*-of-*.parquet"))


def remove_parts(folder: Path, result_id: str) -> None:
    """Delete the parts of a result, which the record holds whole."""
    for path in part_files(folder, result_id):
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
