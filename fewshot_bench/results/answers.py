"""What the queries of a test were answered: right or wrong, and where that was asked for, which label how surely.

Legend: E episodes, A answers: the queries of all episodes, episode by episode, as the test's episode stream has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What was answered."""

    labels: Counts  # [A] label within the episode: the way of the highest score, the first of equal ones
    confidence: Scores  # [A] softmax probability of that way, of scores that are taken as logits


@dataclass(frozen=True)
class Answers:
    """The answers of a test of classification."""

    sizes: Counts  # [E] queries of each episode
    right: Bits  # [A]
    predictions: Predictions | None = None

    @property
    def starts(self) -> Counts:
        """The place of the first answer of each episode [E]."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def episodes(self) -> Counts:
        """The episode of each answer [A]."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def shares(self) -> Scores:
        """The share of the queries of each episode that was answered right [E]: its accuracy."""
        return np.add.reduceat(self.right, self.starts, dtype=np.int64) / self.sizes


def joined(parts: Sequence[Answers]) -> Answers | None:
    """The answers of parts of a test, one after another; None of no parts."""
    if not parts:
        return None
    sizes, right = np.concatenate([one.sizes for one in parts]), np.concatenate([one.right for one in parts])
    said = [one.predictions for one in parts if one.predictions is not None]
    if len(said) < len(parts):
        return Answers(sizes, right)
    each = np.concatenate([one.labels for one in said]), np.concatenate([one.confidence for one in said])
    return Answers(sizes, right, Predictions(*each))


def answers_in(result: Mapping[str, Any]) -> int:
    """How many queries a result in a record answered."""
    test = result["test"]
    return int(result.get("predictions") or test["episodes"] * test["ways"] * test["queries"])


def unlikely(predictions: Predictions, answers: Answers, queries: int) -> str:
    """In what predictions are none of so many queries a class; empty where they may be."""
    ways = np.repeat(answers.sizes // queries, answers.sizes)  # [A]
    if (predictions.labels >= ways).any():
        return "a label is none of its episode"
    if not ((predictions.confidence > (1 - 1e-9) / ways) & (predictions.confidence <= 1)).all():
        return "a confidence is no probability of the likeliest class"
    return ""


def unlike(answers: Answers, result: Mapping[str, Any], scores: Scores) -> str:
    """In what answers are not those of a result and of the scores of its episodes [E]; empty where they may be."""
    test = result["test"]
    least, most = test["ways"] * test["queries"], (test.get("max_ways") or test["ways"]) * test["queries"]
    if len(answers.sizes) != len(scores):
        return f"{len(answers.sizes):,} in place of {len(scores):,} episodes"
    ways, rest = np.divmod(answers.sizes, test["queries"])
    if rest.any() or ways.min() * test["queries"] < least or ways.max() * test["queries"] > most:
        return f"an episode has no {least:,} to {most:,} queries" if most > least else f"an episode has no {least:,} queries"
    if int(answers.sizes.sum()) != (due := answers_in(result)) or len(answers.right) != due:
        return f"{len(answers.right):,} in place of {due:,} answers"
    moved = np.flatnonzero(np.abs(answers.shares() - scores) > 1e-9)
    if len(moved):
        at = int(moved[0])
        return f"episode {at} has {answers.shares()[at]:.6g} of them right, where its score is {scores[at]:.6g}"
    return ""
