"""Episodes no two of which share an image: as many as a split allows, whose scores are independent given its classes.

With K shots and Q queries, class c with n images can stand in m = n // (K + Q) episodes. There are E episodes of N ways as
long as the sum over all classes of min(m, E) is at least N E; so many are drawn. Each takes the N classes that can still
stand in most episodes, those that are equal in random order, which leaves none out that could be had. Where all classes have
equally many images each is as likely as any other; where they differ the larger ones come more often.

The arrangement as a whole is a pure function of (structure id, ways, shots, queries, seed): the stream of `philox` with the
key `key_of` "disjoint" and these. Row c of it, of as many words as the largest class has images (whole steps), orders the
images of class c; from there on row i has, in this order, a word for each class, N for the order of the labels, N K for that
of the support, N Q for that of the queries, 1 for the task's key. An order is the stable argsort of its words.

Legend: B episodes of a block, N ways, K shots, Q queries per class.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import numpy as np

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.philox import key_of, whole_steps, word_rows, words
from fewshot_bench.episodes.sampling import BLOCK, EpisodeIndices, digest_of, shuffled
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError


def most_disjoint(sizes: Ids, size: EpisodeSize) -> int:
    """The largest number of episodes of a size, no two of which share an image, from classes with `sizes` images."""
    stands = np.asarray(sizes) // (size.shots + size.queries)  # in how many episodes each class can be
    low, high = 0, int(stands.sum()) // size.ways
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(stands, middle).sum() >= size.ways * middle else (low, middle - 1)
    return low


class DisjointSampler:
    """Draws the disjoint episodes of one size from one split; the stream can be entered anywhere, and ends.

    Raises `UsageError` where the split cannot give one episode, or is asked for more than there are.
    """

    varies: ClassVar[bool] = False

    def __init__(self, bank: ImageBank, size: EpisodeSize, seed: int) -> None:
        enough_images.check([bank], size)
        self.starts, self.sizes, self.size = bank.starts[:-1], np.diff(bank.starts), size
        self.most = most_disjoint(self.sizes, size)
        self.philox_key = key_of("disjoint", bank.structure_id, size.ways, size.shots, size.queries, seed)

    @cached_property
    def episodes(self) -> EpisodeIndices:
        """All of them."""
        n, k, q, classes = self.size.ways, self.size.shots, self.size.queries, len(self.sizes)
        each = whole_steps(int(self.sizes.max()))
        orders = word_rows(self.philox_key, 0, classes, each)
        classwise = zip(self.starts, self.sizes, orders, strict=True)
        images = [start + np.argsort(words_[:many], kind="stable") for start, many, words_ in classwise]
        row = whole_steps(classes + n + n * k + n * q + 1)
        drawn = words(self.philox_key, self.most * row, classes * each // 4).reshape(self.most, row)
        cuts = np.cumsum([classes, n, n * k, n * q])
        class_words, label_words, support_words, query_words, key = np.split(drawn[:, : cuts[-1] + 1], cuts, axis=1)
        left, taken = self.sizes // (k + q), np.empty((self.most, n, k + q), np.int64)
        for episode in range(self.most):
            chosen = np.lexsort((class_words[episode], -left))[:n][np.argsort(label_words[episode], kind="stable")]
            left[chosen] -= 1
            for label, one in enumerate(chosen):
                taken[episode, label] = images[one][left[one] * (k + q) : (left[one] + 1) * (k + q)]
        support, support_y = shuffled(taken[:, :, :k], support_words)
        query, query_y = shuffled(taken[:, :, k:], query_words)
        return EpisodeIndices(support, support_y, query, query_y, key[:, 0])

    def block(self, first: int, count: int) -> EpisodeIndices:
        """Episodes `first` to `first + count - 1`."""
        check_most(first + count, self.most, self.size)
        of, part = self.episodes, slice(first, first + count)
        return EpisodeIndices(of.support[part], of.support_y[part], of.query[part], of.query_y[part], of.key[part])

    def blocks(self, first: int, count: int) -> Iterator[EpisodeIndices]:
        """The same in blocks of at most `sampling.BLOCK` episodes."""
        for start in range(first, first + count, BLOCK):
            yield self.block(start, min(BLOCK, first + count - start))

    def digest(self, count: int) -> str:
        """Hash (sha256) of episodes 0 to count - 1: only results of equal digests are compared in pairs."""
        return digest_of(self.blocks(0, count))


def check_most(asked: int, most: int, size: EpisodeSize) -> None:
    """Refuse more episodes than there are; raises `UsageError`."""
    if asked <= most:
        return
    of = f"{size.ways}-way {size.shots}-shot with {size.queries} queries a class"
    if most < 2:
        raise UsageError(f"Test: the split has fewer than two disjoint episodes of {of}: lower --queries or --shots.")
    raise UsageError(f"Test: the split has at most {most:,} disjoint episodes, {of}, not {asked:,}: --episodes {most}.")
