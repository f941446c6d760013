"""What a test measures, by kind of task: the metric's name, which way is better, and the score of each episode.

Legend: T tasks, Q query images or points in all, N ways, D size of a regression target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.losses import task_losses
from fewshot_bench.results.score_files import Scores
from fewshot_bench.specs import Kind


@dataclass(frozen=True)
class Metric:
    """The name that it has in a record, and the better direction."""

    name: str
    direction: Literal["max", "min"]

    def better(self, score: float, than: float) -> bool:
        """Whether `score` is better, not only as good."""
        return score > than if self.direction == "max" else score < than


METRICS: Mapping[Kind, Metric] = {"classification": Metric("accuracy", "max"), "regression": Metric("mse", "min")}


def episode_scores_of(outputs: Tensor, tasks: Tasks) -> Scores:
    """Score of each task [T] from its outputs [T, Q, N or D]: the accuracy, or the mean squared error; NaN where an output
    is no answer (`check_finite`). Raises `FewshotError` for outputs of another shape.

    No answer is NaN, an infinity, or for a query a score of -inf for every way; -inf for some of its ways rules them out.
    """
    expected = (*tasks.targets.shape, tasks.ways) if tasks.kind == "classification" else tuple(tasks.targets.shape)
    if tuple(outputs.shape) != expected:
        raise FewshotError(f"The method's outputs have shape {list(outputs.shape)}, where {list(expected)} was expected.")
    if tasks.kind == "regression":
        scores = task_losses(outputs, tasks.targets, "regression").double().cpu().numpy()
    else:
        scores = accuracies(outputs, tasks.targets)
    return np.where(_answered(outputs, tasks.kind).cpu().numpy() & np.isfinite(scores), scores, np.nan)


def accuracies(scores: Tensor, labels: Tensor) -> Scores:
    """Share of queries whose highest score [T, Q, N] is that of their label [T, Q]: [T]. A tie goes to the first way,
    which the shuffled labels make a random one."""
    return (scores.argmax(-1) == labels).double().mean(-1).cpu().numpy()


def check_finite(scores: Scores, what: str) -> None:
    """Refuse scores of `what` (the episodes of a test) of which some are no numbers; raises `FewshotError`."""
    if bad := int((~np.isfinite(scores)).sum()):
        raise FewshotError(
            f"In {bad:,} of {len(scores):,} {what} the method's outputs are NaN or infinite, or their errors are: "
            "no score is recorded.\n"
            "It has diverged (lower the learning rates, --set lr=...), or predict divides by zero."
        )


def _answered(outputs: Tensor, kind: Kind) -> Tensor:
    """Whether every output of a task is an answer [T]."""
    if kind == "regression":
        return outputs.isfinite().flatten(1).all(1)
    no_score = outputs.isnan() | (outputs == torch.inf)
    return ~no_score.flatten(1).any(1) & outputs.isfinite().any(-1).all(-1)
