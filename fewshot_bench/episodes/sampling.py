"""Episode indices: episode i as a pure function of (structure id, ways, shots, queries, seed, i).

It is read off the words of a stream of `philox`:

- key: `philox.key_of` structure id, ways, shots, queries, seed;
- episode i reads `words` raw 64-bit words from counter i * words / 4, where `words` is rounded up to a multiple of 4,
  in this order: class draws, image draws class by class, support order, query order, task key;
- a draw without replacement is a Fisher-Yates shuffle that stops after k steps, each an integer by `philox.below`;
- an order is the stable argsort of its words.

Legend: B episodes of a block, N ways, K shots, Q queries per class.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.philox import Words, below, key_of, whole_steps, word_rows
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.kernels.build import Unavailable
from fewshot_bench.kernels.episodes import draw_episodes

BLOCK = 256
"""Episodes drawn at once where many are asked for."""


@dataclass(frozen=True)
class EpisodeIndices:
    """Which images stand where in a block of episodes."""

    support: Ids  # [B, N*K] image ids
    support_y: Ids  # [B, N*K] labels in [0, N)
    query: Ids  # [B, N*Q]
    query_y: Ids  # [B, N*Q]
    key: Words  # [B] a task's own randomness
    unlabelled: Ids | None = None  # [B, U]
    unlabelled_y: Ids | None = None  # [B, U] labels that no method sees; from N on those of distractors

    def __len__(self) -> int:
        return len(self.key)

    @property
    def ways(self) -> int:
        """N: each label has a support image."""
        return int(self.support_y[0].max()) + 1

    @property
    def images(self) -> Ids:
        """All image ids [B, S+Q+U]: support, queries, unlabelled."""
        return np.concatenate([self.support, self.query, *([] if self.unlabelled is None else [self.unlabelled])], axis=1)

    @property
    def labels(self) -> Ids:
        """The labels of `images` [B, S+Q+U]."""
        unlabelled_y = [] if self.unlabelled_y is None else [self.unlabelled_y]
        return np.concatenate([self.support_y, self.query_y, *unlabelled_y], axis=1)

    @property
    def parts(self) -> list[npt.NDArray[np.generic]]:
        """The arrays that a digest covers."""
        unlabelled = [] if self.unlabelled is None else [self.unlabelled]
        return [self.support, self.support_y, self.query, self.query_y, self.key, *unlabelled]


class EpisodeSampler:
    """Draws the episodes of one size from one split; the stream can be entered anywhere.

    Raises `UsageError` where the split cannot give one episode, with the largest number that would fit.
    """

    varies: ClassVar[bool] = False

    def __init__(self, bank: ImageBank, ways: int, shots: int, queries: int, seed: int) -> None:
        enough_images.check([bank], EpisodeSize(ways, shots, queries))
        self.starts, self.sizes = np.ascontiguousarray(bank.starts[:-1], np.int64), np.diff(bank.starts).astype(np.int64)
        self.ways, self.shots, self.queries = ways, shots, queries
        self.philox_key = key_of(bank.structure_id, ways, shots, queries, seed)
        images = ways * (shots + queries)
        self.words = whole_steps(ways + 2 * images + 1)

    def block(self, first: int, count: int) -> EpisodeIndices:
        """Episodes `first` to `first + count - 1`."""
        try:
            if (first + count) * self.words < 2**63:
                return self._kernel_block(first, count)
        except Unavailable:
            pass
        return self._numpy_block(first, count)

    def blocks(self, first: int, count: int) -> Iterator[EpisodeIndices]:
        """The same in blocks of at most `BLOCK` episodes."""
        for start in range(first, first + count, BLOCK):
            yield self.block(start, min(BLOCK, first + count - start))

    def _kernel_block(self, first: int, count: int) -> EpisodeIndices:
        """The block as a kernel draws it: with the same words and mapping, and so the same episodes."""
        n, k, q = self.ways, self.shots, self.queries
        support, support_y = np.empty((count, n * k), np.int64), np.empty((count, n * k), np.int64)
        query, query_y = np.empty((count, n * q), np.int64), np.empty((count, n * q), np.int64)
        block = EpisodeIndices(support, support_y, query, query_y, np.empty(count, np.uint64))
        low, high = self.philox_key & (2**64 - 1), self.philox_key >> 64
        numbers = (first, count, self.words, n, k + q, k, len(self.sizes))
        draw_episodes(low, high, numbers, (self.starts, self.sizes), block.parts)
        return block

    def _numpy_block(self, first: int, count: int) -> EpisodeIndices:
        n, k, q = self.ways, self.shots, self.queries
        words = word_rows(self.philox_key, first, count, self.words)
        class_words, image_words, support_words, query_words, key = np.split(
            words[:, : n + 2 * n * (k + q) + 1], np.cumsum([n, n * (k + q), n * k, n * q]), axis=1
        )
        classes = draw(class_words, np.full(count, len(self.sizes)))  # [B, N]: the label is the position
        within = draw(image_words.reshape(count * n, k + q), self.sizes[classes].reshape(-1))  # [B*N, K+Q]
        images = self.starts[classes][:, :, None] + within.reshape(count, n, k + q)
        support, support_y = shuffled(images[:, :, :k], support_words)
        query, query_y = shuffled(images[:, :, k:], query_words)
        return EpisodeIndices(support, support_y, query, query_y, key[:, 0])

    def digest(self, count: int) -> str:
        """Hash (sha256) of episodes 0 to count - 1: only results of equal digests are compared in pairs."""
        return digest_of(self.blocks(0, count))


def digest_of(blocks: Iterable[EpisodeIndices]) -> str:
    """Hash (sha256) of blocks of episodes, little-endian, one part after another."""
    sha = hashlib.sha256()
    for block in blocks:
        for part in block.parts:
            sha.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def draw(words: Words, sizes: Ids) -> Ids:
    """k distinct integers of [0, size) for each row, in random order: `words` [R, k], `sizes` [R] -> [R, k].

    Fisher-Yates without the array: the swaps made so far are remembered and looked up, so the cost does not depend on
    the size of the population.
    """
    rows, k = words.shape
    left = sizes[:, None] - np.arange(k)  # how many are left at each step
    places = (np.arange(k) + below(words, left)).T.copy()  # [k, R]: the place that each step swaps with
    moved = np.empty((k, rows), np.int64)  # what the swap of step s left at places[s]
    taken = np.empty((k, rows), np.int64)
    for step in range(k):
        taken[step] = _content(places[step], places[:step], moved[:step])
        moved[step] = _content(np.full(rows, step), places[:step], moved[:step])
    return taken.T


def _content(wanted: Ids, places: Ids, moved: Ids) -> Ids:
    """What lies at place `wanted` [R] after the swaps at `places` [s, R] left `moved` [s, R] there; the latest wins."""
    swapped = (places == wanted)[::-1]  # [s, R], latest first
    if not swapped.any():
        return wanted
    latest = len(places) - 1 - swapped.argmax(0)  # [R]
    return np.where(swapped.any(0), moved[latest, np.arange(len(wanted))], wanted)


def shuffled(images: Ids, words: Words) -> tuple[Ids, Ids]:
    """Images [B, N, n] by class -> image ids [B, N*n] and labels [B, N*n] in an order that tells nothing."""
    count, _, each = images.shape
    order = np.argsort(words, axis=1, kind="stable")  # [B, N*n]
    return np.take_along_axis(images.reshape(count, -1), order, 1), order // each
