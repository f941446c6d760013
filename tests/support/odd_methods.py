"""Methods, named by this file, whose test goes wrong after a sound training, or that draw from global generators."""

import random
from typing import Any

import numpy as np
import torch
from linear_method import Linear
from torch import Tensor

from fewshot_bench import Tasks


class Leaks(Linear):
    """At test each way has as many points as any other."""

    def predict(self, tasks: Tasks) -> Tensor:
        """A mean over the queries is subtracted."""
        scores = super().predict(tasks)
        return scores if self.training else scores - scores.mean(1, keepdim=True)


class Counts(Linear):
    """It knows whether it was trained."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.register_buffer("updates", torch.zeros(1))

    def after_update(self) -> None:
        """One more."""
        self.updates += 1


class HalfNaN(Counts):
    """At a test after training every other way of every other query has no score."""

    def predict(self, tasks: Tasks) -> Tensor:
        """In every episode."""
        scores = super().predict(tasks)
        if not self.training and self.updates:
            scores[:, ::2, ::2] = torch.nan
        return scores


class AllInfinite(Counts):
    """At a test after training every score is infinite."""

    def predict(self, tasks: Tasks) -> Tensor:
        """In every episode."""
        scores = super().predict(tasks)
        return torch.full_like(scores, torch.inf) if not self.training and self.updates else scores


class Noisy(Linear):
    """Its scores have noise from torch's, numpy's and Python's global generators, in training, validation and test."""

    def predict(self, tasks: Tasks) -> Tensor:
        """A draw of each for every score, every call and every task."""
        scores = super().predict(tasks)
        noise = torch.rand(scores.shape) + torch.from_numpy(np.random.rand(*scores.shape)) + random.random()  # noqa: NPY002
        return scores * noise.to(scores.dtype)
