"""What a result's answers tell: its hardest classes and episodes, the classes that it confuses, its calibration.

Scores suffice for the hardest episodes. The hardest classes also need to know which queries were answered right and the data
set, which tells the episodes; confusion and calibration need the predictions. What is missing is said with the command that
mends it.

Legend: E episodes, A answers.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.metrics import is_regression
from fewshot_bench.request import TestRequest
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers, Predictions
from fewshot_bench.results.by_class import of_classes
from fewshot_bench.results.calibration import Calibration, calibration
from fewshot_bench.results.drawn_queries import DrawnQueries, draw_queries, no_answers
from fewshot_bench.results.records import Record
from fewshot_bench.results.rerun_command import keeping
from fewshot_bench.results.score_files import Scores
from fewshot_bench.results.statistics import Interval, score_interval


@dataclass(frozen=True)
class ClassAccuracy:
    """A class of the test split."""

    name: str
    interval: Interval | None
    """Of its accuracy over the episodes that show it; None for a single one."""
    accuracy: float
    episodes: int
    queries: int


@dataclass(frozen=True)
class Confusion:
    """Queries of one class that were answered by another."""

    true: str
    said: str
    times: int
    chances: int
    """Queries of the true class in the episodes that also show the other."""
    episodes: int
    """That show both."""


@dataclass(frozen=True)
class HardEpisode:
    """An episode of few right answers."""

    number: int
    right: int
    queries: int
    classes: tuple[str, ...]
    """In the order of their labels; none where they are not known."""


@dataclass(frozen=True)
class Explanation:
    """All that can be told of a result here."""

    record: Record
    result: Mapping[str, Any]
    answers: Answers | None
    predictions: Predictions | None
    drawn: DrawnQueries | None
    hardest: Sequence[HardEpisode]
    """All episodes, the one of the fewest right answers first."""
    classes: Sequence[ClassAccuracy] = ()
    """The class of the lowest accuracy first."""
    confusions: Sequence[Confusion] = ()
    """The pair that was confused most often first."""
    calibration: Calibration | None = None
    missing: list[str] = field(default_factory=list)
    """What cannot be told, and what mends it."""


def explain(record: Record, result: Mapping[str, Any], given: TestRequest, level: float = 0.95) -> Explanation:
    """Explain a result of classification. `given` may name a data set that is not installed, and the folders of data.

    Raises `UsageError` for regression, `DataError` for damaged scores or answers.
    """
    if is_regression(result["metric"]):
        raise UsageError(f"Result {result['id']} is of regression: fsbench explain tells of answers that name a class.")
    answers, predictions, drawn = record.answers(result), record.predictions(result), None
    missing = []
    if predictions is None:
        command = keeping(record.folder, record.content, result)
        missing.append(f"Confused classes and calibration need the predictions. Add them: {command}")
    try:
        if answers is None:
            raise no_answers(record, result)
        drawn = draw_queries(record, result, given)
    except FewshotError as error:
        missing.append(f"Hardest classes, confused classes and pictures are left out: {' '.join(str(error).split())}")
    if drawn is not None and drawn.unnamed:
        missing.append(f"Names of classes and pictures need the data set. {drawn.unnamed}")
    if drawn is not None and predictions is not None and answers is not None:
        _check_labels(record, drawn, answers, predictions)
    return Explanation(
        record,
        result,
        answers,
        predictions,
        drawn,
        hardest_episodes(record.scores(result), answers, drawn, result["test"]),
        hardest_classes(drawn, answers, level) if drawn and answers else (),
        confusions(drawn, answers, predictions) if drawn and answers and predictions else (),
        calibration(answers, predictions, level) if answers and predictions else None,
        missing,
    )


def hardest_episodes(
    scores: Scores, answers: Answers | None, drawn: DrawnQueries | None, test: Mapping[str, Any]
) -> list[HardEpisode]:
    """The episodes of a test by their scores [E], the lowest first, equal ones in the order of the stream."""
    sizes = answers.sizes if answers is not None else np.full(len(scores), test["ways"] * test["queries"])
    found = []
    for number in np.argsort(scores, kind="stable"):
        names = () if drawn is None else tuple(drawn.names[place] for place in drawn.by_label[number])
        found.append(HardEpisode(int(number), round(scores[number] * sizes[number]), int(sizes[number]), names))
    return found


def hardest_classes(drawn: DrawnQueries, answers: Answers, level: float = 0.95) -> list[ClassAccuracy]:
    """The classes by their accuracy, the lowest first."""
    found = []
    for one in of_classes(drawn.classes, answers.episodes, answers.right[None]):
        shares = one.shares[0]
        interval = None
        if len(shares) > 1:
            interval = score_interval([shares], trials=one.queries / len(shares), metric="accuracy", level=level)
        accuracy = float(shares.mean())
        found.append(ClassAccuracy(drawn.names[one.place], interval, accuracy, len(shares), one.queries))
    return sorted(found, key=lambda one: (one.accuracy, one.name))


def confusions(drawn: DrawnQueries, answers: Answers, predictions: Predictions) -> list[Confusion]:
    """The pairs of a true class and another that was said, the most frequent first."""
    said = classes_said(drawn, answers, predictions)
    wrong = np.flatnonzero(~answers.right)
    codes, times = np.unique(drawn.classes[wrong] * len(drawn.names) + said[wrong], return_counts=True)
    shown: dict[int, dict[int, int]] = defaultdict(dict)  # queries of a class by episode
    classes, counts = np.unique(np.stack([drawn.classes, answers.episodes]), axis=1, return_counts=True)
    for (place, episode), count in zip(classes.T.tolist(), counts.tolist(), strict=True):
        shown[place][episode] = count
    found = []
    for code, count in zip(codes.tolist(), times.tolist(), strict=True):
        true, other = divmod(code, len(drawn.names))
        both = shown[true].keys() & shown[other].keys()
        chances = sum(shown[true][episode] for episode in both)
        found.append(Confusion(drawn.names[true], drawn.names[other], count, chances, len(both)))
    return sorted(found, key=lambda one: (-one.times, one.chances, one.true, one.said))


def classes_said(drawn: DrawnQueries, answers: Answers, predictions: Predictions) -> np.typing.NDArray[np.int64]:
    """The class of the test split that each answer names [A]."""
    ways = np.array([len(one) for one in drawn.by_label])  # [E]
    first = np.cumsum(ways) - ways
    flat: np.typing.NDArray[np.int64] = np.concatenate(drawn.by_label)
    return flat[np.repeat(first, answers.sizes) + predictions.labels]


def _check_labels(record: Record, drawn: DrawnQueries, answers: Answers, predictions: Predictions) -> None:
    """Raises `DataError` where a right answer names another class than that of its query, or a wrong one the same."""
    if len(wrong := np.flatnonzero((classes_said(drawn, answers, predictions) == drawn.classes) != answers.right)):
        reason = f"answer {int(wrong[0]):,} is right in one file and wrong in the other"
        raise answer_files.damaged(record.folder / answer_files.PREDICTIONS, reason)
