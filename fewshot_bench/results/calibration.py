"""How sure answers are and how often they are right: a reliability table and the expected calibration error.

Legend: A answers, E episodes, B bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot_bench.metrics import BINS
from fewshot_bench.results.answers import Answers, Predictions
from fewshot_bench.results.error_parts import Part, half_width
from fewshot_bench.results.statistics import Interval, score_interval

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]."""

    low: float
    high: float
    answers: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    interval: Interval | None
    """The accuracy's, over episodes; None where one episode has them all, or no spread."""


@dataclass(frozen=True)
class Calibration:
    """The bins that have answers, and two expected calibration errors (Guo et al. 2017, equation 3)."""

    bins: Sequence[Bin]
    error: float
    """Over all answers at once: the sum over bins of |accuracy - mean confidence|, weighted by the bin's part of them."""
    by_episode: Interval
    """The mean of the errors of single episodes, as the metric `ece` measures it. An episode has few answers in a bin, so
    that its error is above zero even for calibrated answers."""
    surplus: float
    """Mean confidence less accuracy: above zero where answers are too sure."""


def calibration(answers: Answers, predictions: Predictions, level: float = 0.95) -> Calibration:
    """The calibration of a test's answers, in the bins of `metrics.calibration_error`."""
    place = np.clip(np.ceil(predictions.confidence * BINS).astype(int), 1, BINS) - 1  # [A]
    summed = (None, predictions.confidence, answers.right)
    counts, sure, right = (_by_episode(answers, place, one) for one in summed)  # [E, B]
    gaps = np.abs(right - sure)
    errors = gaps.sum(1) / answers.sizes  # [E]
    total, all_gaps = counts.sum(0), np.abs(right.sum(0) - sure.sum(0))  # [B]
    bins = [
        Bin(
            b / BINS,
            (b + 1) / BINS,
            int(total[b]),
            float(sure[:, b].sum() / total[b]),
            float(right[:, b].sum() / total[b]),
            _share_interval(right[:, b], counts[:, b], level),
        )
        for b in np.flatnonzero(total)
    ]
    surplus = float(predictions.confidence.mean() - answers.right.mean())
    interval = score_interval([errors], trials=0, metric="ece", level=level)
    return Calibration(bins, float(all_gaps.sum() / total.sum()), interval, surplus)


def _by_episode(answers: Answers, place: npt.NDArray[np.int64], what: npt.NDArray[np.generic] | None) -> Numbers:
    """The sum of `what`, or the number, of the answers of each episode in each bin [E, B]."""
    episodes = len(answers.sizes)
    weights = None if what is None else what.astype(np.float64)
    return np.bincount(answers.episodes * BINS + place, weights, episodes * BINS).reshape(episodes, BINS).astype(np.float64)


def _share_interval(right: Numbers, counts: Numbers, level: float) -> Interval | None:
    """The interval of a share whose answers come in episodes [E]: a ratio of sums (Cochran 1977, Sampling Techniques,
    section 6.4), whose episodes are independent and whose answers within one are not. Clipped to [0, 1]."""
    some = counts > 0
    if (episodes := int(some.sum())) < 2:
        return None
    share = float(right.sum() / counts.sum())
    residual = right[some] - share * counts[some]
    variance = float((residual**2).sum()) * episodes / (episodes - 1) / float(counts.sum()) ** 2
    if not variance:
        return None
    half = half_width([Part(variance, episodes - 1)], level)
    said = f"ratio of sums, t, {level:.0%}, over {episodes:,} episodes"
    return Interval(share, max(share - half, 0.0), min(share + half, 1.0), said, level)
