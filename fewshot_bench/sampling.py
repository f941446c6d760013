"""Episode indices: episode i as a pure function of (structure id, ways, shots, queries, seed, i).

The words of numpy's Philox-4x64 are read with `random_raw`, whose stream numpy guarantees, and mapped to integers by a rule
of our own, because numpy promises no stable stream for `Generator.choice` and its like:

- key: the first 128 bits, read little-endian, of the sha256 of the canonical JSON of [structure id, ways, shots,
  queries, seed];
- episode i reads `words` raw 64-bit words from counter i * words / 4, where `words` is rounded up to a multiple of 4,
  in this order: class draws, image draws class by class, support order, query order, task key;
- a word w becomes an integer in [0, n) as ((w >> 32) * n) >> 32; its bias is at most n / 2^32;
- a draw without replacement is a Fisher-Yates shuffle that stops after k steps;
- an order is the stable argsort of its words.

Legend: B episodes of a block, N ways, K shots, Q queries per class.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot_bench.bank import Ids, ImageBank
from fewshot_bench.errors import UsageError
from fewshot_bench.kernels.build import Unavailable
from fewshot_bench.kernels.episodes import draw_episodes
from fewshot_bench.specs import canonical_json

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class EpisodeIndices:
    """Which images stand where in a block of episodes."""

    support: Ids  # [B, N*K] image ids
    support_y: Ids  # [B, N*K] labels in [0, N)
    query: Ids  # [B, N*Q]
    query_y: Ids  # [B, N*Q]
    key: Words  # [B] a task's own randomness

    def __len__(self) -> int:
        return len(self.key)


class EpisodeSampler:
    """Draws the episodes of one size from one split; the stream can be entered anywhere.

    Raises `UsageError` where the split cannot give one episode, with the largest number that would fit.
    """

    def __init__(self, bank: ImageBank, ways: int, shots: int, queries: int, seed: int) -> None:
        check_size(bank, ways, shots, queries)
        self.starts, self.sizes = np.ascontiguousarray(bank.starts[:-1], np.int64), np.diff(bank.starts).astype(np.int64)
        self.ways, self.shots, self.queries = ways, shots, queries
        text = canonical_json([bank.structure_id, ways, shots, queries, seed])
        self.philox_key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        images = ways * (shots + queries)
        self.words = -(-(ways + 2 * images + 1) // 4) * 4

    def block(self, first: int, count: int) -> EpisodeIndices:
        """Episodes `first` to `first + count - 1`."""
        try:
            if (first + count) * self.words < 2**63:
                return self._kernel_block(first, count)
        except Unavailable:
            pass
        return self._numpy_block(first, count)

    def _kernel_block(self, first: int, count: int) -> EpisodeIndices:
        """By a kernel of the same words and mapping, and so of the same episodes."""
        n, k, q = self.ways, self.shots, self.queries
        support, support_y = np.empty((count, n * k), np.int64), np.empty((count, n * k), np.int64)
        query, query_y = np.empty((count, n * q), np.int64), np.empty((count, n * q), np.int64)
        block = EpisodeIndices(support, support_y, query, query_y, np.empty(count, np.uint64))
        low, high = self.philox_key & (2**64 - 1), self.philox_key >> 64
        numbers = (first, count, self.words, n, k + q, k, len(self.sizes))
        draw_episodes(low, high, numbers, (self.starts, self.sizes), vars(block).values())
        return block

    def _numpy_block(self, first: int, count: int) -> EpisodeIndices:
        n, k, q = self.ways, self.shots, self.queries
        stream = np.random.Philox(key=self.philox_key, counter=first * self.words // 4)
        words = np.asarray(stream.random_raw(count * self.words), np.uint64).reshape(count, self.words)
        class_words, image_words, support_words, query_words, key = np.split(
            words[:, : n + 2 * n * (k + q) + 1], np.cumsum([n, n * (k + q), n * k, n * q]), axis=1
        )
        classes = draw(class_words, np.full(count, len(self.sizes)))  # [B, N]: the label is the position
        within = draw(image_words.reshape(count * n, k + q), self.sizes[classes].reshape(-1))  # [B*N, K+Q]
        images = self.starts[classes][:, :, None] + within.reshape(count, n, k + q)
        support, support_y = _shuffled(images[:, :, :k], support_words)
        query, query_y = _shuffled(images[:, :, k:], query_words)
        return EpisodeIndices(support, support_y, query, query_y, key[:, 0])

    def digest(self, count: int) -> str:
        """Hash (sha256) of episodes 0 to count - 1: only results of equal digests are compared in pairs."""
        sha = hashlib.sha256()
        for first in range(0, count, 256):
            block = self.block(first, min(256, count - first))
            for part in (block.support, block.support_y, block.query, block.query_y, block.key):
                sha.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
        return sha.hexdigest()


def check_size(bank: ImageBank, ways: int, shots: int, queries: int) -> None:
    """Refuse an episode that the split cannot give; raises `UsageError` with the largest number that would fit."""
    sizes = np.diff(bank.starts)
    if ways > len(sizes):
        raise UsageError(f"{ways} ways are more than the {len(sizes)} classes of this split: at most --ways {len(sizes)}.")
    smallest = int(sizes.argmin())
    room = int(sizes[smallest])
    if shots + queries > room:
        raise UsageError(
            f"{shots} shots and {queries} queries need {shots + queries} images of each class, but class "
            f"{bank.class_names[smallest]!r} has {room}.\nThe largest that fit: shots + queries = {room}, for example "
            f"{max(1, room - queries)} shots with {min(queries, room - 1)} queries."
        )


def draw(words: Words, sizes: Ids) -> Ids:
    """k distinct integers of [0, size) for each row, in random order: `words` [R, k], `sizes` [R] -> [R, k].

    Fisher-Yates without the array: the swaps made so far are remembered and looked up, so the cost does not depend on
    the size of the population.
    """
    rows, k = words.shape
    left: Words = sizes.astype(np.uint64)[:, None] - np.arange(k).astype(np.uint64)  # how many are left at each step
    offsets: Words = ((words >> np.uint64(32)) * left) >> np.uint64(32)
    places = (np.arange(k) + offsets.astype(np.int64)).T.copy()  # [k, R]: the place that each step swaps with
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


def _shuffled(images: Ids, words: Words) -> tuple[Ids, Ids]:
    """Images [B, N, n] by class -> image ids [B, N*n] and labels [B, N*n] in an order that tells nothing."""
    count, _, each = images.shape
    order = np.argsort(words, axis=1, kind="stable")  # [B, N*n]
    return np.take_along_axis(images.reshape(count, -1), order, 1), order // each
