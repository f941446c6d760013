"""Numbers as ranges."""

import pytest

from fewshot_datasets.sources.ranges import compact, expand

PAIRS = [([5, 6, 8, 10, 11, 12], ["5-6", "8", "10-12"]), ([1], ["1"]), ([], []), ([7, 9], ["7", "9"])]


@pytest.mark.parametrize(("numbers", "ranges"), PAIRS)
def test_ranges_stand_for_their_numbers(numbers: list[int], ranges: list[str]) -> None:
    """Both ways, in whatever order the numbers come."""
    assert expand(ranges) == numbers
    assert compact(reversed(numbers)) == ranges
