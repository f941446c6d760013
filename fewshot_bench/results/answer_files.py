"""`queries.safetensors`: a bit for each query of a record's results, whether it was answered right; and where that was asked
for, `predictions.safetensors`: what was answered.

Under a result's id stand its bits, uint8 [A / 8], the first answer in the lowest bit of the first byte, the bits after the
last one zero; under `<id>/sizes`, int32 [E], the queries of each episode, or [1] where all have as many. Predictions are
`<id>/label`, uint8, uint16 or uint32 [A], and `<id>/confidence`, float64 [A].

A file of safetensors is names, types and places in JSON, and plain numbers: nothing in it is executed. What is read has a
bounded size, and the share of right answers in each episode is its score.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import DataError
from fewshot_bench.inputs.strict_json import LONGEST_TEXT, read_bounded
from fewshot_bench.results.answers import Answers, Predictions, answers_in
from fewshot_bench.text.printable import printable

Tensors = dict[str, npt.NDArray[Any]]

NAME, PREDICTIONS = "queries.safetensors", "predictions.safetensors"
MOST_ANSWERS = 2**32
"""Of all results of a record: half a gigabyte of bits."""
SPARE_BYTES = 2**24
"""Of results that are in no `record.json`: an overwriting that was stopped leaves them."""
LARGEST = {NAME: MOST_ANSWERS // 8 + SPARE_BYTES, PREDICTIONS: 2**28}
"""Bytes of each file."""
_OF_PREDICTIONS = ("label", "confidence")


def read_answers(folder: Path, result: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> Answers | None:
    """The answers of one of a record's results; None where none were kept. Raises `DataError` for a damaged file."""
    due = sum(answers_in(one) // 8 + 4 * one["test"]["episodes"] for one in results)
    try:
        content = read_bounded(folder / NAME, min(due + SPARE_BYTES, LARGEST[NAME]))
    except FileNotFoundError:
        return None
    return unpacked(content, folder / NAME, result["id"], result["test"]["episodes"])


def read_predictions(folder: Path, result: Mapping[str, Any]) -> Predictions | None:
    """The predictions of a result; None where none were kept. Raises `DataError` for a damaged file."""
    path = folder / PREDICTIONS
    try:
        tensors = _tensors(read_bounded(path, LARGEST[PREDICTIONS]), path)
    except FileNotFoundError:
        return None
    return _predictions(tensors, path, result["id"], answers_in(result))


def unpacked(content: bytes, path: Path, result_id: str, episodes: int) -> Answers | None:
    """The answers of a result of so many episodes in the content of the file at `path`, with predictions if they are there
    too; None where there are none of it. Raises `DataError` where they are damaged."""
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
    right = np.unpackbits(bits, count=due, bitorder="little").astype(bool)
    return Answers(sizes, right, _predictions(tensors, path, result_id, due))


def _predictions(tensors: Tensors, path: Path, result_id: str, due: int) -> Predictions | None:
    labels, confidence = (tensors.get(f"{result_id}/{name}") for name in _OF_PREDICTIONS)
    if labels is None and confidence is None:
        return None
    of_numbers = labels is not None and labels.dtype in (np.uint8, np.uint16, np.uint32) and labels.shape == (due,)
    if labels is None or not of_numbers:
        raise damaged(path, f"the labels of result {result_id} are not those of {due:,} answers")
    if confidence is None or confidence.dtype != np.float64 or confidence.shape != (due,):
        raise damaged(path, f"the confidences of result {result_id} are not those of {due:,} answers")
    return Predictions(labels.astype(np.int64), confidence)


def packed(answers: Mapping[str, Answers]) -> bytes:
    """The content of one file of answers by result, with their predictions."""
    return _bytes({name: one for result_id, each in answers.items() for name, one in _all_tensors(result_id, each).items()})


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
    added: Tensors = {}
    for result_id, answers in new.items():
        added |= {} if answers is None else _all_tensors(result_id, answers)
    found = {}
    for name in LARGEST:
        present = None if afresh else _present(folder / name)
        kept = {key: one for key, one in (present or {}).items() if (owner := _owner(key)) not in new and stays(owner)}
        mine = {key: one for key, one in added.items() if _file_of(key) == name}
        if mine or present or (afresh and (folder / name).exists()):
            found[name] = _bytes(kept | mine)
    return found


def renamed(folder: Path, ids: Mapping[str, str]) -> dict[str, bytes]:
    """The files of answers, by name, whose results have new `ids` by the old ones, without any others."""
    found = {}
    for name in LARGEST:
        if (present := _present(folder / name)) is not None:
            parts = [(key, *key.partition("/")) for key in present]
            found[name] = _bytes({f"{ids[old]}{end}{what}": present[key] for key, old, end, what in parts if old in ids})
    return found


def damaged(path: Path, reason: str) -> DataError:
    """The error for a file whose answers are none, or not those of its record."""
    return DataError(
        f"{printable(str(path), LONGEST_TEXT)} is damaged: {reason}.\n"
        "Put the record's own file back, or delete it: the scores do without."
    )


def bytes_of_predictions(answers: int, ways: int) -> int:
    """How many bytes the predictions of so many queries of at most so many ways take."""
    return answers * (8 + _of_labels(ways).itemsize)


def _of_labels(ways: int) -> np.dtype[Any]:
    return np.min_scalar_type(max(ways - 1, 0))


def _all_tensors(result_id: str, answers: Answers) -> Tensors:
    alike = len(answers.sizes) > 0 and np.ptp(answers.sizes) == 0
    sizes = answers.sizes[: 1 if alike else None].astype(np.int32)
    found: Tensors = {result_id: np.packbits(answers.right, bitorder="little"), f"{result_id}/sizes": sizes}
    if (said := answers.predictions) is not None:
        labels = said.labels.astype(_of_labels(int(said.labels.max(initial=0)) + 1))
        found |= {f"{result_id}/label": labels, f"{result_id}/confidence": said.confidence}
    return found


def _owner(key: str) -> str:
    return key.partition("/")[0]


def _file_of(key: str) -> str:
    return PREDICTIONS if key.partition("/")[2] in _OF_PREDICTIONS else NAME


def _present(path: Path) -> Tensors | None:
    try:
        return _tensors(read_bounded(path, LARGEST[path.name]), path)
    except FileNotFoundError:
        return None


def _bytes(tensors: Tensors) -> bytes:
    from safetensors.numpy import save

    return save(tensors)


def _tensors(content: bytes, path: Path) -> Tensors:
    """The tensors of a file's content."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)  # checks that the header is whole, and that all it tells of is there
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise damaged(path, printable(str(error)).rstrip(".")) from None
