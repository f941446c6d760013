"""Reading all records below some folders: what cannot be read, or contradicts another, is left out and named at the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fewshot_bench.errors import DataError
from fewshot_bench.results.pooling import Conflict
from fewshot_bench.results.records import Record, find_records


@dataclass(frozen=True)
class Reading:
    """Records, and why others were left out."""

    records: list[Record]
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, roots: Iterable[Path]) -> "Reading":
        """Every record in or below `roots`; raises `UsageError` where one of these does not exist, `DataError` where no
        record of some can be read."""
        damaged: list[str] = []
        reading = cls(find_records(roots, lambda error: damaged.append(str(error))), damaged)
        if not reading.records:
            reading.end()
        return reading

    def end(self, conflicts: Iterable[Conflict] = ()) -> None:
        """Once everything else is printed or written: raises `DataError` that names what was left out, if anything was."""
        said = [*self.left_out, *(conflict.text(whole=True) for conflict in conflicts)]
        if said:
            raise DataError(
                "\n".join(["Left out, all else was counted:" if self.records else "No record can be read:", *said])
            )
