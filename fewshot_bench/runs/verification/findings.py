"""What a verification finds: each field of a record with its standing.

recomputed   computed again here, and the same
consistent   follows from something else in the record
unvouched    rests on the record's word alone
differs      not what it says; the record does not hold
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from fewshot_bench.errors import FewshotError
from fewshot_bench.results.records import Record

Standing = Literal["recomputed", "consistent", "unvouched", "differs"]


@dataclass(frozen=True)
class Check:
    """One field of a record, and how it stands."""

    field: str
    standing: Standing
    said: str


@dataclass
class Verification:
    """What was found of one record."""

    record: Record
    checks: list[Check] = field(default_factory=list)

    def add(self, name: str, standing: Standing, said: str) -> None:
        """One more field."""
        self.checks.append(Check(name, standing, said))

    def same(self, name: str, found: Any, stated: Any, said: str) -> None:
        """A field that was computed again."""
        if found == stated:
            self.add(name, "recomputed", said)
        else:
            self.add(name, "differs", f"the record says {stated}, here it is {found}")

    def differ(self, *names: str) -> bool:
        """Whether one of these fields does not hold."""
        return any(check.field in names and check.standing == "differs" for check in self.checks)

    @property
    def first_difference(self) -> Check | None:
        """The first field that does not hold."""
        return next((check for check in self.checks if check.standing == "differs"), None)

    @property
    def verdict(self) -> Standing:
        """Of the whole: `recomputed` where the scores of every result were, else `consistent`, unless something differs."""
        if self.first_difference:
            return "differs"
        scores = [check.standing for check in self.checks if check.field.endswith("scores")]
        return "recomputed" if all(one == "recomputed" for one in scores) else "consistent"


class NotVerified(FewshotError):
    """A record does not hold."""

    exit_code = 4
