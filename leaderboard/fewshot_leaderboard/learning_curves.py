"""Learning curves from records: accuracy on validation episodes against the training images seen, one curve a method.

Of a method's trainings the longest with a curve is taken, of several seeds the first. Where no training of it validates, its
test stands as one point.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.errors import DataError
from fewshot_bench.inputs.strict_json import parse_json, read_bounded
from fewshot_bench.metrics import METRICS
from fewshot_bench.results.tables import Board
from fewshot_bench.specs import TRANSDUCTIVE_MODES, TrainSpec
from fewshot_leaderboard.measured import Measured, measured

LARGEST = 2**20
"""Bytes of a `log.jsonl` that is read; a validation is a line of about a hundred."""
MOST = 2_000
"""Points of a curve."""


@dataclass(frozen=True)
class Curve:
    """What a method learned over one training."""

    label: str
    points: tuple[tuple[float, float], ...]
    """Training images seen, and the accuracy of a validation in percent."""
    test: tuple[float, float] | None = None
    """The same of the test, where there is no validation."""
    transductive: bool = False
    """Whether queries normalise each other in the validation."""

    @property
    def end(self) -> tuple[float, float]:
        """Its last point."""
        return self.points[-1] if self.points else self.test or (1.0, 0.0)


def learning_curves(found: Iterable[Board], dataset: str, ways: int, shots: int) -> list[Curve]:
    """The curve of each method that was trained on a data set and tested on it with so many ways and shots, by its label."""
    best: dict[str, tuple[tuple[Any, ...], Curve]] = {}
    for row in measured(found):
        train = row.content["train"]
        here = row.benchmark == (dataset, ways, shots) and train["dataset"] == dataset and row.about["metric"] == "accuracy"
        if not (here and row.images):
            continue
        curve = _curve(row, (ways, shots))
        ranks = row.protocol in PROTOCOLS and PROTOCOLS[row.protocol].ranks  # of two tests of one training the usual one
        order = (bool(curve.points), row.images, ranks, row.pooled.runs[0].run_id, row.protocol)
        if row.label not in best or order > best[row.label][0]:
            best[row.label] = (order, curve)
    return [best[label][1] for label in sorted(best)]


def _curve(row: Measured, size: tuple[int, int]) -> Curve:
    train, validation = row.content["train"], row.content["train"]["validation"]
    transductive = bool(validation) and validation["normalisation"] in TRANSDUCTIVE_MODES
    as_tested = bool(validation) and (validation["ways"], validation["shots"]) == size
    points = _points(row.pooled.runs[0].record.folder, train) if as_tested else ()
    scale = METRICS["accuracy"].scale
    test = None if points else (float(row.images), row.interval[1] * scale)
    return Curve(row.label, points, test, transductive and bool(points))


def _points(folder: Path, train: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """The validations of a `log.jsonl`; none where the file is missing, too large or damaged."""
    each, updates = TrainSpec.model_construct(**train).images_per_update, train["updates"]
    found = {}
    with suppress(DataError, FileNotFoundError):
        path = folder / "log.jsonl"
        for line in read_bounded(path, LARGEST).splitlines()[: 10 * MOST]:
            entry = parse_json(line, str(path))
            if not isinstance(entry, dict):
                continue
            update, score = entry.get("update"), entry.get("validation")
            if _is_number(update) and _is_number(score) and 1 <= update <= updates and 0 <= score <= 1:
                found[update * each] = 100.0 * score
        return tuple(sorted(found.items()))[:MOST]
    return ()


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
