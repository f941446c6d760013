"""Random whole numbers from a stream that can be entered anywhere."""

import numpy as np

from fewshot_bench.episodes.philox import below
from fewshot_datasets.glyphs.strokes import Ints


class Dice:
    """Whole numbers from the raw words of numpy's Philox, whose stream numpy promises to keep.

    Each `stream` has independent parts, and each part is entered at any word.
    """

    def __init__(self, seed: int, stream: int, part: int = 0, word: int = 0) -> None:
        key, counter = np.array([seed, stream], np.uint64), np.array([word // 4, 0, 0, part], np.uint64)
        self._philox = np.random.Philox(key=key, counter=counter)
        self._philox.random_raw(word % 4)
        self.word = word  # the next one

    def below(self, limit: int, *shape: int) -> Ints:
        """Even in 0 … limit - 1."""
        count = int(np.prod(shape))
        self.word += count
        return below(self._philox.random_raw(count).reshape(shape), limit)

    def around(self, spread: int, *shape: int) -> Ints:
        """Bell-shaped in -spread … spread, with a standard deviation of a third of the spread."""
        total: Ints = self.below(2 * spread + 1, 3, *shape).sum(axis=0)
        return total // 3 - spread
