"""What a test measures: a metric is one declaration here, and its function of outputs and targets beside it.

Everything else (records, their checks, intervals, tables, pages, the command line) asks the declaration, so that a new
metric is added in this file alone. Nothing here imports torch before a score is computed.

Legend: T tasks, Q query images or points in all, N ways, D size of a regression target, B bins.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["classification", "regression"]
"""What a task asks for: a class of each query, or the value of a function at it."""

LARGEST_SCORE = 1e150
"""Of a metric without an upper bound, so that the squares of many can be added."""
BINS = 15
"""Of the expected calibration error, as in Guo et al."""


@dataclass(frozen=True)
class Metric:
    """One metric, as it stands in records and in tables. Its scores are in its own unit: an accuracy lies in [0, 1]."""

    name: str
    kind: Kind
    direction: Literal["max", "min"]
    """Which scores are better."""
    score: "Callable[[Tensor, Tensor], Tensor]"
    """Outputs [T, Q, N or D] and targets [T, Q] or [T, Q, D] to the score of each task [T]."""
    about: str = ""
    """What it is, for the definition of its column, where its name does not say it."""
    low: float = 0.0
    high: float = math.inf
    label: str = ""
    """What people call it; the name unless it is given."""
    unit: str = ""
    """In print."""
    scale: int = 1
    """From its own unit to that of print."""
    digits: int = 2
    """Decimals in print of a mean without its interval."""
    of_queries: bool = False
    """Whether a score is a share of the episode's queries: a multiple of 1 / Q."""
    main: bool = False
    """Whether a test of its kind always has it. The others are computed where `test.extra_metrics` names them."""

    @property
    def title(self) -> str:
        """Its label and its unit."""
        return " ".join(filter(None, (self.label or self.name, self.unit)))

    @property
    def definition(self) -> str:
        """What its column shows."""
        better = "higher" if self.direction == "max" else "lower"
        return f"{self.about} Mean over test episodes and its confidence interval; {better} is better.".lstrip()

    def better(self, score: float, than: float) -> bool:
        """Whether `score` is better, not only as good."""
        return score > than if self.direction == "max" else score < than

    def holds(self, score: float) -> bool:
        """Whether a score of an episode, or their mean, may have this value."""
        return self.low <= score <= min(self.high, LARGEST_SCORE)

    def text(self, mean: float) -> str:
        """A mean in print, with its unit, or with its name where it has none: `95.34 %`, `mse 0.512`."""
        number = f"{self.scale * mean:.{self.digits}f}"
        return f"{number} {self.unit}" if self.unit else f"{self.name} {number}"


def accuracy(scores: "Tensor", labels: "Tensor") -> "Tensor":
    """Share of queries whose highest score [T, Q, N] is that of their label [T, Q]: [T]. A tie goes to the first way,
    which the shuffled labels make a random one."""
    return (scores.argmax(-1) == labels).double().mean(-1)


def squared_error(outputs: "Tensor", targets: "Tensor") -> "Tensor":
    """Mean squared difference of outputs and targets, both [T, Q, D]: [T]."""
    return (outputs - targets).square().mean((1, 2))


def macro_f1(scores: "Tensor", labels: "Tensor") -> "Tensor":
    """F1 of each way of the episode, averaged over its ways, from scores [T, Q, N] and labels [T, Q]: [T].

    F1 is 2 hits / (predicted + true), 0 for a way that is neither predicted nor true: scikit-learn's
    `f1_score(average="macro", labels=range(N), zero_division=0)`.
    """
    from torch.nn.functional import one_hot

    ways = scores.shape[-1]
    predicted, true = one_hot(scores.argmax(-1), ways).double(), one_hot(labels, ways).double()  # [T, Q, N]
    hits, both = (predicted * true).sum(1), (predicted + true).sum(1)  # [T, N]
    return (2 * hits / both.clamp(min=1)).mean(-1)


def calibration_error(scores: "Tensor", labels: "Tensor") -> "Tensor":
    """Expected calibration error of scores [T, Q, N], which are taken as logits, and labels [T, Q]: [T].

    The confidence of an answer is its softmax probability. Queries fall into `BINS` bins of equal width, (0, 1/15] to
    (14/15, 1]; the error is the sum over bins of |accuracy - mean confidence|, weighted by the bin's share of queries
    (Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3). An episode has few queries, so that its error
    is above zero even for calibrated answers: compare methods on the same episodes.
    """
    from torch.nn.functional import one_hot

    confidence = scores.double().softmax(-1).amax(-1)  # [T, Q]
    right = (scores.argmax(-1) == labels).double()  # [T, Q]
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # [T, Q]
    gaps = (one_hot(place, BINS) * (right - confidence).unsqueeze(-1)).sum(1)  # [T, B], times the queries of the bin
    return gaps.abs().sum(-1) / labels.shape[-1]


_ALL = (
    Metric(
        name="accuracy",
        kind="classification",
        direction="max",
        score=accuracy,
        high=1.0,
        unit="%",
        scale=100,
        of_queries=True,
        main=True,
    ),
    Metric(name="mse", kind="regression", direction="min", score=squared_error, digits=3, main=True),
    Metric(
        name="macro-f1",
        kind="classification",
        direction="max",
        score=macro_f1,
        about="F1 of each way of an episode, averaged over its ways.",
        high=1.0,
        label="macro-F1",
        unit="%",
        scale=100,
    ),
    Metric(
        name="ece",
        kind="classification",
        direction="min",
        score=calibration_error,
        about="Expected calibration error of the softmax of the scores.",
        high=1.0,
        label="ECE",
        unit="%",
        scale=100,
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by its name."""


def main_metric(kind: Kind) -> Metric:
    """What every test of a kind measures, and what ranks."""
    return next(metric for metric in METRICS.values() if metric.main and metric.kind == kind)


def extra_metrics(kind: Kind | None = None) -> list[str]:
    """The names of what a test (of a kind) may measure besides."""
    return [metric.name for metric in METRICS.values() if not metric.main and kind in (None, metric.kind)]


def is_regression(metric: str) -> bool:
    """Whether a metric of a record is one of functions, which have points in place of ways and shots."""
    return METRICS[metric].kind == "regression"
