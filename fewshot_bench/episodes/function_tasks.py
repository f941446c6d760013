"""Tasks of regression: functions of a family, from the same kind of stream as the episodes of images.

Task i of a split is a pure function of (family, split, shots, queries, seed, i): words of a stream of `philox`, as in
`sampling`, in this order: one word for each parameter, one for each support point, one for each query point, one for
the task's key. A word w becomes low + (high - low) * ((w >> 11) + 0.5) / 2^53.

Legend: B or T tasks, P parameters, K support points, Q query points.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fewshot_bench.data.bank import on_device
from fewshot_bench.data.functions import FunctionFamily, Values
from fewshot_bench.episodes.philox import key_of, whole_steps, word_rows
from fewshot_bench.episodes.tasks import Tasks

WORDS_AT_ONCE = 2**22
"""Words that a digest draws at once: it holds a few arrays of them, 32 MiB each."""


@dataclass(frozen=True)
class FunctionEpisodes:
    """A block of tasks in numbers."""

    parameters: Values  # [B, P]
    support: Values  # [B, K] x
    query: Values  # [B, Q] x
    key: npt.NDArray[np.uint64]  # [B]

    def __len__(self) -> int:
        return len(self.key)


class FunctionSampler:
    """Draws the tasks of one size from one split; the stream can be entered anywhere."""

    def __init__(self, family: FunctionFamily, split: str, shots: int, queries: int, seed: int) -> None:
        self.family, self.shots, self.queries = family, shots, queries
        self.philox_key = key_of(family.identity(), split, shots, queries, seed)
        self.words = whole_steps(len(family.parameters) + shots + queries + 1)

    def block(self, first: int, count: int) -> FunctionEpisodes:
        """Tasks `first` to `first + count - 1`."""
        words = word_rows(self.philox_key, first, count, self.words)
        size = len(self.family.parameters)
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        low, high = np.array(list(self.family.parameters.values())).T
        left, right = self.family.domain
        points = left + (right - left) * uniform[:, size : size + self.shots + self.queries]
        parameters = low + (high - low) * uniform[:, :size]
        key = words[:, size + self.shots + self.queries]
        return FunctionEpisodes(parameters, points[:, : self.shots], points[:, self.shots :], key)

    def digest(self, count: int) -> str:
        """Hash (sha256) of tasks 0 to count - 1: only results of equal digests are compared in pairs."""
        sha = hashlib.sha256()
        for first in range(0, count, 256):
            for part in self._parts(first, min(256, count - first)):
                sha.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes())
        return sha.hexdigest()

    def _parts(self, first: int, count: int) -> Iterator[npt.NDArray[Any]]:
        """The parameters of some tasks, then their support, queries and keys. Many tasks are drawn anew for each of the
        four, a few at a time."""
        at_once = max(1, WORDS_AT_ONCE // self.words)
        if at_once >= count:
            block = self.block(first, count)
            yield from (block.parameters, block.support, block.query, block.key)
            return
        for part in ("parameters", "support", "query", "key"):
            for start in range(first, first + count, at_once):
                yield getattr(self.block(start, min(at_once, first + count - start)), part)


class FunctionSource:
    """Tasks of one size from one split, on a device."""

    def __init__(self, sampler: FunctionSampler, device: torch.device, dtype: torch.dtype) -> None:
        self.sampler, self.device, self.dtype = sampler, device, dtype

    def tasks(self, first: int, count: int) -> Tasks:
        """Tasks `first` to `first + count - 1`: support_x [T, K, 1], support_y [T, K, 1] and so on."""
        block = self.sampler.block(first, count)
        family = self.sampler.family
        parameters = {name: block.parameters[:, [i]] for i, name in enumerate(family.parameters)}

        def tensor(values: Values) -> torch.Tensor:
            return on_device(torch.from_numpy(values[..., None]).to(self.dtype), self.device)

        return Tasks(
            support_x=tensor(block.support),
            support_y=tensor(family.values(block.support, parameters)),
            query_x=tensor(block.query),
            query_y=tensor(family.values(block.query, parameters)),
            ways=1,
            key=on_device(torch.from_numpy(block.key.view(np.int64)), self.device),
            kind="regression",
        )
