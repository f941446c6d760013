"""What a test measures, by kind of task: the metric's name, which way is better, and the score of each episode.

Legend: T tasks, Q query images or points in all, N ways, D size of a regression target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fewshot_bench.errors import FewshotError
from fewshot_bench.losses import task_losses
from fewshot_bench.score_files import Scores
from fewshot_bench.specs import Kind
from fewshot_bench.tasks import Tasks


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
    """Score of each task [T] from its outputs [T, Q, N or D]: the accuracy, or the mean squared error.

    Raises `FewshotError` for outputs of another shape, and where not one of them is a number.
    """
    expected = (*tasks.targets.shape, tasks.ways) if tasks.kind == "classification" else tuple(tasks.targets.shape)
    if tuple(outputs.shape) != expected:
        raise FewshotError(f"The method's outputs have shape {list(outputs.shape)}, where {list(expected)} was expected.")
    if outputs.isnan().all():
        raise FewshotError("None of the method's outputs is a number: it has diverged, or divides by zero.")
    if tasks.kind == "regression":
        return task_losses(outputs, tasks.targets, "regression").double().cpu().numpy()
    return accuracies(outputs, tasks.targets)


def accuracies(scores: Tensor, labels: Tensor) -> Scores:
    """Share of queries whose highest score [T, Q, N] is that of their label [T, Q]: [T]. A tie goes to the first way,
    which the shuffled labels make a random one; a query with a score that is not a number is answered wrongly."""
    right = (scores.argmax(-1) == labels) & ~scores.isnan().any(-1)
    return right.double().mean(-1).cpu().numpy()
