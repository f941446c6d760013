"""Episodes of varying ways and shots, of unbalanced support, and with unlabelled images; the stream of each size its own.

Episode i is a pure function of (structure id, size, seed, i), by the words and the mapping of `sampling`, with two
exceptions:

- key: `philox.key_of` "varying", structure id, ways, max_ways, shots, max_shots, imbalanced, queries, unlabelled,
  distractors, seed. So a test with unlabelled images has other labelled images than the test of the same size without.
- With W the most ways, K the most shots of a class, Q queries, U unlabelled images and D distractors, the words are, in this
  order: 1 for the ways, W for the shots, W + D for the draws of classes, (W + D)(K + Q + U) for those of images class by
  class, W K for the order of the support, W Q for that of the queries, (W + D) U for that of the unlabelled, 1 for the
  task's key. An episode of N ways takes the words that it needs from the front of each part; its distractors are the D
  classes drawn after its ways. The first K images of a class are for its support, which takes its shots from them; the next
  Q are its queries, the last U unlabelled. A distractor shows only its last U.

N is uniform from `ways` to `max_ways`; the shots are uniform from `shots` to `max_shots`, one draw for all classes, or with
`imbalanced` one for each class. Each class always has Q queries.

Meta-Dataset draws otherwise (Triantafillou et al. 2020, section 3). Its ways are uniform too, from 5 to 50 or to as many
classes as there are, but for ImageNet and Omniglot it takes classes that are near each other in the hierarchy. Queries are
10 a class, or half of the smallest class. The size of the whole support is drawn first, up to 500 images, and shared out in
proportion to the sizes of the classes times a random factor from 1/2 to 2. Here all classes are equally likely to have more
shots.

Semi-supervised episodes are those of Ren et al. 2018 (5 unlabelled a class in training, 5 or 20 at test, 5 distractors),
with one difference. In training they divide the images of each class for good: 10 % (mini-ImageNet: 40 %) may be labelled,
the rest may not. Here any image may be labelled in one episode and unlabelled in another.

Legend: B episodes of a block, N ways, W, K, Q, U, D as above, S support images in all.
"""

from collections.abc import Iterator
from typing import Union

import numpy as np

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.disjoint import DisjointSampler
from fewshot_bench.episodes.philox import Words, below, key_of, whole_steps, word_rows
from fewshot_bench.episodes.sampling import BLOCK, EpisodeIndices, EpisodeSampler, digest_of, draw
from fewshot_bench.episodes.size import EpisodeSize

ImageSampler = Union[EpisodeSampler, DisjointSampler, "VaryingSampler"]


class VaryingSampler:
    """Draws the episodes of one `EpisodeSize` from one split; the stream can be entered anywhere.

    Raises `UsageError` where the split cannot give the largest episode.
    """

    def __init__(self, bank: ImageBank, size: EpisodeSize, seed: int) -> None:
        enough_images.check([bank], size)
        self.starts, self.sizes, self.size = bank.starts[:-1], np.diff(bank.starts), size
        bounds = [size.ways, size.max_ways, size.shots, size.max_shots, size.imbalanced]
        unlabelled = [size.unlabelled, size.distractors]
        self.philox_key = key_of("varying", bank.structure_id, *bounds, size.queries, *unlabelled, seed)
        w, k, q, u = size.largest_ways, size.largest_shots, size.queries, size.unlabelled
        classes = w + size.distractors
        self.ends = np.cumsum([1, w, classes, classes * (k + q + u), w * k, w * q, classes * u, 1])
        self.words = whole_steps(int(self.ends[-1]))

    @property
    def varies(self) -> bool:
        """Whether two episodes may differ in size, so that they are drawn one at a time."""
        return self.size.varies

    def block(self, first: int, count: int) -> EpisodeIndices:
        """Episodes `first` to `first + count - 1`; one alone where their sizes vary."""
        assert count == 1 or not self.varies, "episodes of different sizes make no block"
        (block,) = self._drawn(first, count)
        return block

    def blocks(self, first: int, count: int) -> Iterator[EpisodeIndices]:
        """The same in blocks of one size each."""
        for start in range(first, first + count, BLOCK):
            yield from self._drawn(start, min(BLOCK, first + count - start))

    def digest(self, count: int) -> str:
        """Hash (sha256) of episodes 0 to count - 1: only results of equal digests are compared in pairs."""
        return digest_of(self.blocks(0, count))

    def predictions(self, count: int) -> int:
        """Queries of episodes 0 to count - 1 in all."""
        return sum(block.query.size for block in self.blocks(0, count))

    def _drawn(self, first: int, count: int) -> Iterator[EpisodeIndices]:
        """Episodes in as few blocks as their sizes allow, all drawn at once as if each were the largest."""
        k, q, u = self.size.largest_shots, self.size.queries, self.size.unlabelled
        words = word_rows(self.philox_key, first, count, self.words)
        way_words, shot_words, class_words, image_words, *orders = np.split(words[:, : self.ends[-1]], self.ends[:-1], 1)
        ways = _between(self.size.ways, self.size.largest_ways, way_words[:, 0])  # [B]
        shots = _between(self.size.shots, k, shot_words)  # [B, W]
        shots = shots if self.size.imbalanced else np.broadcast_to(shots[:, :1], shots.shape)
        classes = draw(class_words, np.full(count, len(self.sizes)))  # [B, W+D]: a label is a position
        within = draw(image_words.reshape(-1, k + q + u), self.sizes[classes].reshape(-1))  # [B*(W+D), K+Q+U]
        images = self.starts[classes][:, :, None] + within.reshape(*classes.shape, -1)
        alike = [slice(i, i + 1) for i in range(count)] if self.varies else [slice(0, count)]
        for some in alike:
            yield self._cut(images[some], shots[some.start, : ways[some.start]], [order[some] for order in orders])

    def _cut(self, images: Ids, shots: Ids, orders: list[Words]) -> EpisodeIndices:
        """Episodes of classes with `shots` [N] each, from images [B, W+D, K+Q+U] and the words of their orders."""
        k, q = self.size.largest_shots, self.size.queries
        ways, drawn = len(shots), len(shots) + self.size.distractors
        taken = np.arange(k) < shots[:, None]  # [N, K]
        support, support_y = _in_order(images[:, :ways, :k][:, taken], np.repeat(np.arange(ways), shots), orders[0])
        query, query_y = _in_order(images[:, :ways, k : k + q], np.repeat(np.arange(ways), q), orders[1])
        key = orders[3][:, 0]
        if not self.size.unlabelled:
            return EpisodeIndices(support, support_y, query, query_y, key)
        classes = np.repeat(np.arange(drawn), self.size.unlabelled)
        return EpisodeIndices(
            support, support_y, query, query_y, key, *_in_order(images[:, :drawn, k + q :], classes, orders[2])
        )


def sampler_of(bank: ImageBank, size: EpisodeSize, seed: int) -> ImageSampler:
    """What draws the episodes of a size from a split; raises `UsageError` where it cannot give them."""
    if size.sampling == "disjoint":
        return DisjointSampler(bank, size, seed)
    if size.more:
        return VaryingSampler(bank, size, seed)
    return EpisodeSampler(bank, size.ways, size.shots, size.queries, seed)


def _between(low: int, high: int, words: Words) -> Ids:
    """Integers in [low, high], one for each word."""
    return low + below(words, high - low + 1)


def _in_order(images: Ids, labels: Ids, words: Words) -> tuple[Ids, Ids]:
    """Images [B, ...] of labels [n], class by class -> image ids [B, n] and labels [B, n] in an order that tells nothing."""
    order = np.argsort(words[:, : len(labels)], axis=1, kind="stable")  # [B, n]
    return np.take_along_axis(images.reshape(len(images), -1), order, 1), labels[order]
