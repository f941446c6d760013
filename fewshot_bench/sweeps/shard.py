"""One part of a plan: what a task of an array makes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fewshot_bench.errors import UsageError
from fewshot_bench.text.printable import printable

T = TypeVar("T")
MOST = 1_000_000


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` parts, from 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `i/n` names; raises `UsageError` with the range."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        count = int(found[2]) if found else 0
        if found and int(found[1]) < count <= MOST:
            return cls(int(found[1]), count)
        counted = re.fullmatch(r".*/0*([1-9][0-9]{0,5})", text)
        last = int(counted[1]) - 1 if counted else 31
        given = printable(text, 40)
        raise UsageError(
            f"--shard takes I/N, with I from 0 to N - 1: 0/{last + 1} to {last}/{last + 1} (0-{last}); got {given!r}."
        )

    def of(self, runs: Sequence[T]) -> tuple[T, ...]:
        """Every `count`-th of all runs of a plan, whatever is finished: each run is in one shard, always the same."""
        return tuple(runs[self.index :: self.count])
