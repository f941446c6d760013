"""What the records reproduce of the papers: rows at full length with their verdicts, and the shorter trainings beside them.

A row counts where training and test are those of a paper's recipe (`length`), the published number is of a test of the same
transduction and a network of the same kind, and it was checked. Each training counts once for a method and a setting.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from fewshot_bench.hashing import canonical_json
from fewshot_bench.results.recipe_share import recipe_share
from fewshot_bench.results.tables import Board
from fewshot_leaderboard.explained import Experiment, experiments, remark
from fewshot_leaderboard.length import Length, length_of
from fewshot_leaderboard.measured import Measured, by_benchmark, compared, longest, measured, size
from fewshot_leaderboard.nearest import OTHER, Chosen, akin, differences, likeness

HOW = (
    "A row is at full length where training and test are those of a recipe that reproduces a paper's conditions. Each "
    "training counts once for a method and a setting, and only under the recipe's own test conditions.",
    "The verdict is within where measured and published differ by at most 1.0 point or their intervals overlap, else "
    "outside. The difference is measured minus published, with the 95 % interval of both. A published number that is quoted "
    "second-hand and was not checked gives no verdict.",
    "Shorter trainings stand below, with their share of the length. Their recipes are not the paper's, and their verdicts "
    "do not count.",
)
"""What a reader must know."""
CURVES = (
    "Accuracy on validation episodes against the training images that were seen, from the longest training of each method "
    "that was validated. A panel names one family of methods; the other lines are grey."
)
NONE = "–"
"""In the place of a verdict."""


@dataclass(frozen=True, eq=False)
class Row:
    """A measured result beside what was published of it."""

    measured: Measured
    chosen: Chosen
    length: Length | None

    @property
    def counts(self) -> bool:
        """Whether it speaks of a reproduction: at full length, in a test of the same kind, beside a checked number."""
        if not (self.length and self.length.full and self.chosen.printed.verified):
            return False
        here, printed = self.measured.conditions, self.chosen.printed
        far = likeness(printed, here)
        return far["transduction"] != OTHER and (far["network"] != OTHER or akin(printed, here))

    @cached_property
    def difference(self) -> str:
        """Measured minus published, with its interval."""
        return compared(*self.measured.interval, self.chosen.printed)[0]

    @cached_property
    def verdict(self) -> str:
        """`within`, `outside`, or a dash where nothing says so."""
        found = compared(*self.measured.interval, self.chosen.printed)[1] if self.counts else self.measured.within
        return {True: "within", False: "outside", None: NONE}[found]

    @cached_property
    def experiments(self) -> list[Experiment]:
        """Those that were run to explain a row outside."""
        return experiments(self.measured) if self.verdict == "outside" else []

    @property
    def explained(self) -> bool:
        """Whether an experiment accounts for the difference."""
        return any(one.explains for one in self.experiments)

    @property
    def reason(self) -> str:
        """Of a row outside: whether it is explained."""
        if self.verdict != "outside":
            return ""
        return "Explained by an experiment." if self.explained else "Not explained."

    @property
    def remark(self) -> str:
        """Of a row outside that no experiment was run for: what is said of it."""
        said = remark(self.measured) if self.verdict == "outside" and not self.experiments else ""
        return said[:1].upper() + said[1:]

    @property
    def without(self) -> str:
        """Why a row has no verdict."""
        if not self.chosen.printed.verified:
            return "the published number is quoted second-hand"
        if recipe_share(self.measured.content) is not None:
            return "the training was cut short"
        return "the test has other conditions than the paper's" if self.measured.own_conditions else "there is no interval"

    @property
    def setting(self) -> str:
        """`omniglot, 5-way 1-shot`."""
        return size(self.measured.benchmark)

    @property
    def length_text(self) -> str:
        """The share of a paper's recipe."""
        return self.length.text if self.length else "no recipe of a paper's for this setting"

    @property
    def recipe(self) -> str:
        """The recipe of the training; what an earlier version made, or what was changed, says so."""
        return self.measured.recipe

    @property
    def seeds(self) -> str:
        """`1 seed`, `3 seeds`."""
        count = len(self.measured.pooled.runs)
        return f"{count} seed{'s' if count != 1 else ''}"

    @property
    def test(self) -> str:
        """The conditions of the test in one phrase."""
        cells, here = self.measured.cells, self.measured.conditions
        queries = f"{here.queries} {'query' if here.queries == 1 else 'queries'} a class"
        kind = "transductive" if here.transductive else "inductive"
        network = str(cells["backbone"].value or "")
        parts = [f"{cells['episodes'].value:,} test episodes", queries, kind, network]
        if not self.measured.benchmark[1]:  # functions have points
            parts = [f"{cells['episodes'].value:,} test functions", f"{here.queries} query points", network]
        return ", ".join([f"protocol {self.measured.protocol}", *filter(None, parts)])

    @property
    def unlike(self) -> str:
        """In which conditions the published number differs, as far as its source states them."""
        return differences(self.chosen.printed, self.measured.conditions)


@dataclass(frozen=True)
class Group:
    """Rows of one data set and size of episodes."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Reproduction:
    """All rows: those that count, and the others by data set and size."""

    full: Sequence[Row]
    others: Sequence[Group]

    @classmethod
    def of(cls, found: Iterable[Board]) -> "Reproduction":
        """Of some tables of results: each row that has a published number."""
        every = sorted(measured(found), key=by_benchmark)
        rows = [Row(row, row.chosen, length_of(row)) for row in every if row.chosen]
        once = {_training(row): row for row in sorted(rows, key=_best_last) if row.counts}
        full = [row for row in rows if row in once.values()]
        rest = {id(row) for row in longest(row.measured for row in rows if row not in full)}
        groups = groupby((row for row in rows if id(row.measured) in rest), key=lambda row: row.setting)
        return cls(full, [Group(title, list(group)) for title, group in groups])

    @property
    def within(self) -> int:
        """Rows at full length that agree with what was published."""
        return sum(row.verdict == "within" for row in self.full)

    @property
    def outside(self) -> int:
        """Rows at full length that do not."""
        return sum(row.verdict == "outside" for row in self.full)

    @property
    def explained(self) -> int:
        """Rows at full length that do not, and that an experiment explains."""
        return sum(row.verdict == "outside" and row.explained for row in self.full)

    @property
    def headline(self) -> str:
        """The counts in one sentence."""
        rows = f"{len(self.full)} row{'s' if len(self.full) != 1 else ''} at full length"
        outside = f"{self.outside} outside" + (f" ({self.explained} explained by an experiment)" if self.outside else "")
        return f"{rows}: {self.within} within, {outside}."


def _training(row: Row) -> str:
    """What counts once: a training, whatever its seeds and device, under the method's published name in a setting."""
    train = {name: value for name, value in row.measured.pooled.train.items() if name != "device"}
    return canonical_json([train, row.measured.name, list(row.measured.benchmark)])


def _best_last(row: Row) -> tuple[bool, int]:
    """Of one training that which counts comes last: of this version, of the most seeds."""
    return not row.measured.earlier, len(row.measured.pooled.runs)
