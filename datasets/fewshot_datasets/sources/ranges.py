"""Long lists of numbers as short text, as the committed lists of image files have them: `5-6 8 10-13`."""

from collections.abc import Iterable
from itertools import groupby


def expand(ranges: Iterable[str]) -> list[int]:
    """`["5-6", "8"]` is [5, 6, 8]."""
    bounds = (text.partition("-")[::2] for text in ranges)
    return [number for low, high in bounds for number in range(int(low), int(high or low) + 1)]


def compact(numbers: Iterable[int]) -> list[str]:
    """The ranges of some numbers, in rising order: [8, 5, 6] is `["5-6", "8"]`."""
    runs = groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    ends = ((run[0][1], run[-1][1]) for run in (list(group) for _, group in runs))
    return [str(low) if low == high else f"{low}-{high}" for low, high in ends]
