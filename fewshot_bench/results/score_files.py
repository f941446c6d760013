"""`episodes.parquet`: the score of each test episode of a record's results, a row an episode.

The scores of an extra metric are rows of their own, under a name that is made of the result's id (`group`). A Parquet file
of a few kilobytes can hold millions of rows: what it says of itself is checked before anything is unpacked.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import DataError
from fewshot_bench.inputs.strict_json import LONGEST_TEXT, read_bounded
from fewshot_bench.metrics import METRICS, extra_metrics
from fewshot_bench.results.parquet_sizes import column_chunks, unpacked_bytes
from fewshot_bench.results.record_models import MOST_RESULTS, MOST_SCORES
from fewshot_bench.storage import atomic, json_text, not_written
from fewshot_bench.text.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Scores = npt.NDArray[np.float64]

NAME = "episodes.parquet"
BYTES_A_ROW = 64
SPARE_BYTES = 2**20
SPARE_ROWS = 200_000
"""Of results that are in no `record.json`: an overwriting that was stopped leaves them."""
MOST_GROUPS = MOST_RESULTS * (1 + len(extra_metrics()))
_PLAIN = {"result": "BYTE_ARRAY", "episode": "INT32", "score": "DOUBLE"}
_TYPES = _PLAIN | dict.fromkeys(extra_metrics(), "DOUBLE")
"""The physical type of each column, and of those that a part of a test has besides."""


def group(result_id: str, metric: str) -> str:
    """The name under which the scores of a result stand: its id, and for those of an extra metric `<id>/<metric>`."""
    return result_id if METRICS[metric].main else f"{result_id}/{metric}"


def groups(result_id: str, scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """The scores of a result by the name of their group, from those by metric."""
    return {group(result_id, metric): one for metric, one in scores.items()}


def read_scores(folder: Path, due: int | None = None) -> dict[str, Scores]:
    """Every result's episode scores, by `group`; raises `DataError` where the file is missing or damaged, or has far more
    rows than are `due` (None: than any record)."""
    path = folder / NAME
    most = MOST_SCORES if due is None else min(due + SPARE_ROWS, MOST_SCORES)
    try:
        table = read_columns(path, list(_PLAIN), most)
    except FileNotFoundError:
        raise DataError(f"{_shown(path)} is missing: it holds the score of each test episode.") from None
    episode, score = table["episode"].to_numpy(), table["score"].to_numpy()
    found: dict[str, Scores] = {}
    for name, here in _by_result(path, table["result"]).items():
        if not np.array_equal(episode[here], np.arange(len(score[here]))):
            raise DataError(f"{_shown(path)} is damaged: the episodes of result {printable(name)} are not in order.")
        found[name] = score[here]
    return found


def _by_result(path: Path, column: "pa.ChunkedArray") -> dict[str, Any]:
    """What selects the rows of each result."""
    encoded: Any = column.combine_chunks()
    try:
        names = [str(name) for name in encoded.dictionary[: MOST_GROUPS + 1].to_pylist()]
        places = np.asarray(encoded.indices)
    except (AttributeError, ValueError) as error:  # no dictionary of texts
        raise DataError(f"{_shown(path)} is damaged: column result: {printable(str(error))}.") from None
    if len(names) > MOST_GROUPS or len(set(names)) < len(names):
        raise DataError(f"{_shown(path)} is damaged: its results are too many, or not told apart.")
    return {name: places == place if len(names) > 1 else slice(None) for place, name in enumerate(names)}


def write_scores(
    folder: Path,
    scores: Mapping[str, Scores],
    *,
    with_json: tuple[str, dict[str, Any]] | None = None,
    with_files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write `episodes.parquet`: a row an episode (result, episode, score), of scores by `group`.

    `with_json`, the name and the content of a JSON file, and `with_files`, contents by name, are written too, and no file is
    replaced before all are on disk: a disk that is full leaves them as they were. The JSON is replaced last.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "result": pa.array(np.repeat(list(scores), [len(s) for s in scores.values()])),
            "episode": pa.array(np.concatenate([np.arange(len(s), dtype=np.int32) for s in scores.values()])),
            "score": pa.array(np.concatenate(list(scores.values()))),
        }
    )
    with ExitStack() as replaced_at_the_end:
        name, content = with_json or ("", {})
        beside = replaced_at_the_end.enter_context(atomic(folder / name)) if name else None
        temporary = replaced_at_the_end.enter_context(atomic(folder / NAME))
        with temporary.open("wb") as file:  # pyarrow would read `~` and `exp:1/` in a path
            pq.write_table(table, file, compression="zstd")
        for other, data in with_files.items():
            written = replaced_at_the_end.enter_context(atomic(folder / other))
            try:
                written.write_bytes(data)
            except OSError as error:
                raise not_written(folder / other, error) from error
        if beside is not None:
            try:
                beside.write_text(json_text(content), encoding="utf-8")
            except OSError as error:
                raise not_written(folder / name, error) from error


def read_columns(path: Path, columns: list[str], most: int) -> "pa.Table":
    """Columns of a Parquet file of at most `most` rows, texts as dictionaries, the file's metadata with them. Raises
    `FileNotFoundError`, or `DataError` for a file that is damaged, has more rows, or other columns than we write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_bounded(path, SPARE_BYTES + BYTES_A_ROW * most)
    # As a buffer: one of pyarrow's threads reads a file of Python's, and aborts the process if that ends meanwhile.
    try:
        texts = [name for name in columns if _TYPES[name] == "BYTE_ARRAY"]
        metadata = pq.ParquetFile(pa.BufferReader(content), **_LIMITS).metadata
        _check_metadata(path, content, metadata, columns, most)
        file = pq.ParquetFile(pa.BufferReader(content), metadata=metadata, read_dictionary=texts, **_LIMITS)
        table = file.read(columns=columns, use_threads=False)
        if any(table[name].null_count for name in columns):
            raise DataError(f"{_shown(path)} is damaged: a value is missing.")
    except (OSError, ValueError, MemoryError, OverflowError, pa.ArrowException) as error:
        raise DataError(f"{_shown(path)} is damaged: {printable(str(error).partition(chr(10))[0]).rstrip('.')}.") from None
    if table.num_rows != metadata.num_rows:
        raise DataError(f"{_shown(path)} is damaged: it has {table.num_rows:,} rows and says {metadata.num_rows:,}.")
    return table


_LIMITS: dict[str, Any] = {"thrift_string_size_limit": 2**20, "thrift_container_size_limit": 10_000}
"""For what a file says of itself."""


def _check_metadata(path: Path, content: bytes, metadata: "pq.FileMetaData", columns: list[str], most: int) -> None:
    """Refuse what is not as we write it, before any of it is unpacked; raises `DataError`."""
    if not 0 <= metadata.num_rows <= most:
        raise DataError(f"{_shown(path)} is not read: it has {metadata.num_rows:,} rows, at most {most:,} are due.")
    schema = metadata.schema
    names = [schema.column(i).path for i in range(min(metadata.num_columns, len(_TYPES) + 1))]
    for name in columns:
        if names.count(name) != 1:
            raise DataError(f"{_shown(path)} is damaged: it has no column {name}.")
        column = schema.column(names.index(name))
        if column.physical_type != _TYPES[name] or column.max_repetition_level or column.max_definition_level > 1:
            raise DataError(f"{_shown(path)} is damaged: column {name} is not of {_TYPES[name]}.")
    room = SPARE_BYTES + BYTES_A_ROW * metadata.num_rows
    for chunks in column_chunks(content):
        if len(chunks) != metadata.num_columns:
            raise DataError(f"{_shown(path)} is damaged: a group of rows has {len(chunks)} columns.")
        for name in columns:
            chunk = chunks[names.index(name)]
            room -= unpacked_bytes(content, chunk.start, chunk.length, metadata.num_rows)
            if room < 0:
                raise DataError(f"{_shown(path)} is not read: its pages say that they unpack to far more than its rows.")


def _shown(path: Path) -> str:
    return printable(str(path), LONGEST_TEXT)
