"""`queries.safetensors`: a bit for each query of a record's results, whether it was answered right.

Two tensors a result: under its id, uint8 [A / 8], the first answer in the lowest bit of the first byte, the bits after the
last one zero; under `<id>/sizes`, int32 [E], the queries of each episode, or [1] where all have as many. A file of
safetensors is names, types and places in JSON, and plain numbers: nothing in it is executed. What is read has a bounded
size, and the share of right answers in each episode is its score.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import DataError
from fewshot_bench.inputs.strict_json import LONGEST_TEXT, read_bounded
from fewshot_bench.results.answers import Answers, answers_in
from fewshot_bench.text.printable import printable

Tensors = dict[str, npt.NDArray[Any]]

NAME = "queries.safetensors"
MOST_ANSWERS = 2**32
"""Of all results of a record: half a gigabyte of bits."""
SPARE_BYTES = 2**24
"""Of results that are in no `record.json`: an overwriting that was stopped leaves them."""
LARGEST = MOST_ANSWERS // 8 + SPARE_BYTES
"""Bytes of a file."""


def read_answers(folder: Path, result: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> Answers | None:
    """The answers of one of a record's results; None where none were kept. Raises `DataError` for a damaged file."""
    due = sum(answers_in(one) // 8 + 4 * one["test"]["episodes"] for one in results)
    try:
        content = read_bounded(folder / NAME, min(due + SPARE_BYTES, LARGEST))
    except FileNotFoundError:
        return None
    return unpacked(content, folder / NAME, result["id"], result["test"]["episodes"])


def unpacked(content: bytes, path: Path, result_id: str, episodes: int) -> Answers | None:
    """The answers of a result of so many episodes in the content of the file at `path`, None where there are none of it;
    raises `DataError` where they are damaged."""
    tensors = _tensors(content, path)
    bits, sizes = tensors.get(result_id), tensors.get(f"{result_id}/sizes")
    if bits is None:
        return None
    if sizes is None or sizes.dtype != np.int32 or sizes.shape not in ((1,), (episodes,)) or sizes.min() < 1:
        raise damaged(path, f"the sizes of the episodes of result {result_id} are missing, or none")
    sizes = np.broadcast_to(sizes.astype(np.int64), (episodes,))
    due = int(sizes.sum())
    if bits.dtype != np.uint8 or bits.shape != (-(-due // 8),) or (due % 8 and bits[-1] >> due % 8):
        raise damaged(path, f"the bits of result {result_id} are not those of {due:,} answers")
    return Answers(sizes, np.unpackbits(bits, count=due, bitorder="little").astype(bool))


def packed(answers: Mapping[str, Answers], others: Tensors | None = None) -> bytes:
    """The content of a file of answers by result, beside other tensors."""
    from safetensors.numpy import save

    tensors = dict(others or {})
    for result_id, one in answers.items():
        alike = len(one.sizes) > 0 and np.ptp(one.sizes) == 0
        tensors[result_id] = np.packbits(one.right, bitorder="little")
        tensors[f"{result_id}/sizes"] = one.sizes[: 1 if alike else None].astype(np.int32)
    return save(tensors)


def contents(
    folder: Path,
    new: Mapping[str, Answers | None],
    stays: Callable[[str], bool] = lambda result_id: True,
    *,
    afresh: bool = False,
) -> dict[str, bytes]:
    """The files of answers as they shall be, by name: what is there of results that stay, nothing where it is begun
    `afresh`, and new answers by the id of their result, where None drops what is there.

    Raises `DataError` where what is there is damaged.
    """
    present: Tensors = {}
    try:
        if not afresh:
            present = _tensors(read_bounded(folder / NAME, LARGEST), folder / NAME)
    except FileNotFoundError:
        pass
    kept = {name: one for name, one in present.items() if (owner := name.partition("/")[0]) not in new and stays(owner)}
    added = {result_id: one for result_id, one in new.items() if one is not None}
    return {NAME: packed(added, kept)} if present or added or afresh else {}


def renamed(folder: Path, ids: Mapping[str, str]) -> dict[str, bytes]:
    """The file of answers, by its name, whose results have new `ids` by the old ones, without any others."""
    try:
        present = _tensors(read_bounded(folder / NAME, LARGEST), folder / NAME)
    except FileNotFoundError:
        return {}
    parts = [(name, *name.partition("/")) for name in present]
    return {NAME: packed({}, {f"{ids[old]}{slash}{what}": present[name] for name, old, slash, what in parts if old in ids})}


def damaged(path: Path, reason: str) -> DataError:
    """The error for a file whose answers are none, or not those of its record."""
    return DataError(
        f"{printable(str(path), LONGEST_TEXT)} is damaged: {reason}.\n"
        "Put the record's own file back, or delete it: the scores do without."
    )


def _tensors(content: bytes, path: Path) -> Tensors:
    """The tensors of a file's content."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)  # checks that the header is whole, and that all it tells of is there
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise damaged(path, printable(str(error)).rstrip(".")) from None
