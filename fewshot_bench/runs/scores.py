"""The score of each episode from a method's outputs, which queries were answered right, and what is no answer at all.

Legend: T tasks, Q query images or points in all, N ways, D size of a regression target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.sources import Source
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.metrics import METRICS, Kind, main_metric
from fewshot_bench.results.answers import Answers, Predictions, joined
from fewshot_bench.results.score_files import Scores


def episode_scores_of(outputs: Tensor, tasks: Tasks) -> Scores:
    """Score of each task [T] from its outputs [T, Q, N or D]: by the main metric of their kind; NaN where an output
    is no answer (`check_finite`). Raises `FewshotError` for outputs of another shape.

    No answer is NaN, an infinity, or for a query a score of -inf for every way; -inf for some of its ways rules them out.
    """
    expected = (*tasks.targets.shape, tasks.ways) if tasks.kind == "classification" else tuple(tasks.targets.shape)
    if tuple(outputs.shape) != expected:
        raise FewshotError(f"The method's outputs have shape {list(outputs.shape)}, where {list(expected)} was expected.")
    scores = main_metric(tasks.kind).score(outputs, tasks.targets).double().cpu().numpy()
    return np.where(answered(outputs, tasks.kind).cpu().numpy() & np.isfinite(scores), scores, np.nan)


@dataclass(frozen=True)
class Scored:
    """What a test, or a part of one, came to."""

    scores: dict[str, Scores]
    """By metric, the main one first."""
    answers: Answers | None
    """None for regression."""
    test_s: float


class ExtraScores:
    """Collects the scores of extra metrics over the blocks of a test (`testing.Watch`)."""

    def __init__(self, names: Sequence[str]) -> None:
        self.blocks: dict[str, list[Scores]] = {name: [] for name in names}

    def __call__(self, source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        """Score a block whose outputs are answers."""
        for name, blocks in self.blocks.items():
            blocks.append(METRICS[name].score(outputs, tasks.targets).double().cpu().numpy())

    def found(self) -> dict[str, Scores]:
        """The score of each episode [episodes], by metric."""
        return {name: np.concatenate(blocks) for name, blocks in self.blocks.items()}


class KeptAnswers:
    """Collects which queries were answered right over the blocks of a test of classification (`testing.Watch`), and with
    `predictions` also what was answered."""

    def __init__(self, *, predictions: bool) -> None:
        self.blocks: list[Answers] = []
        self.predictions = predictions

    def __call__(self, source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        """Keep the answers of a block, by the rule of the metric `accuracy`."""
        if tasks.kind == "classification":
            labels = outputs.argmax(-1)  # [T, Q]
            right = (labels == tasks.targets).cpu().numpy()  # [T, Q]
            said = None
            if self.predictions:
                confidence = outputs.cpu().double().softmax(-1).amax(-1)  # [T, Q], as in `metrics.calibration_error`
                said = Predictions(labels.cpu().numpy().reshape(-1), confidence.numpy().reshape(-1))
            self.blocks.append(Answers(np.full(len(right), right.shape[1]), right.reshape(-1), said))

    def found(self) -> Answers | None:
        """All of them; None where there were none."""
        return joined(self.blocks)


class NotFinite(FewshotError):
    """A method has no answer where a score is to be."""


def check_finite(scores: Scores, what: str) -> None:
    """Refuse scores of `what` (the episodes of a test) of which some are no numbers; raises `NotFinite`."""
    if bad := int((~np.isfinite(scores)).sum()):
        raise NotFinite(
            f"In {bad:,} of {len(scores):,} {what} the method's outputs are NaN or infinite, or their errors are: "
            "no score is recorded.\n"
            "It has diverged (lower the learning rates, --set lr=...), or predict divides by zero."
        )


def answered(outputs: Tensor, kind: Kind) -> Tensor:
    """Whether every output of a task is an answer [T]."""
    if kind == "regression":
        return outputs.isfinite().flatten(1).all(1)
    no_score = outputs.isnan() | (outputs == torch.inf)
    return ~no_score.flatten(1).any(1) & outputs.isfinite().any(-1).all(-1)
