"""The order of value: which of the papers' trainings comes first, and about how long each takes.

A line names trainings by a pattern of `Job.training` (method, data set, recipe, ways, shots; `*` and `?` as in a shell). A
recipe that is added to a card comes in by itself where a line matches it. What no line matches comes last.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from training_queue.jobs import Job


@dataclass(frozen=True)
class Line:
    """Trainings of one worth."""

    tier: int
    """1 comes first."""
    trainings: str
    hours: float | None
    """Of one core and one training: measured as images a second on short samples, ± 30 %; the longer end of a range."""
    seeds: tuple[int, ...] = (0,)


ORDER = (
    # 1: short, and the numbers that everybody knows
    Line(1, "prototypical-networks omniglot *", 0.75),
    Line(1, "matching-networks omniglot * 5 ?", 0.3),
    Line(1, "matching-networks omniglot * 20 ?", 1.1),
    Line(1, "mt-net omniglot * 5 1", 1.9),
    Line(1, "t-net omniglot * 5 1", 1.9),
    Line(1, "prototypical-networks cifar-fs paddle *", 1.0),
    Line(1, "prototypical-networks fc100 paddle *", 1.0),
    Line(1, "simpleshot cifar-fs *", 0.4),
    Line(1, "baseline cifar-fs *", 0.4),
    Line(1, "baseline++ cifar-fs *", 0.4),
    Line(1, "logistic-regression cifar-fs rfs *", 0.7),
    # 2: hours each
    Line(2, "maml omniglot * 5 1", 3.4),
    Line(2, "reptile omniglot * 5 ?", 3.5),
    Line(2, "snail omniglot * 5 ?", 5.7),
    # 3: half a day each, and what a seed is worth
    Line(3, "tcml omniglot * 5 ?", 4.2),
    Line(3, "maml cifar-fs * 5 1", 9.0),
    Line(3, "anil omniglot * 20 ?", 1.9),
    Line(3, "prototypical-networks omniglot * 5 1", 0.75, seeds=(1, 2)),
    Line(3, "matching-networks omniglot * 5 1", 0.3, seeds=(1, 2)),
    Line(3, "maml omniglot * 5 1", 3.4, seeds=(1, 2)),
    # 4: where a GPU or weeks are at hand
    Line(4, "r2d2 omniglot *", 10.0),
    Line(4, "r2d2 cifar-fs *", 12.0),
    Line(4, "relation-networks omniglot * 5 ?", 17.0),
    Line(4, "meta-sgd omniglot * 5 ?", 21.0),
    Line(4, "maml omniglot * 20 ?", 16.0),
    Line(4, "logistic-regression cifar-fs rfs-resnet12 *", 32.0),
    Line(4, "prototypical-networks cifar-fs lee *", 280.0),
    Line(4, "metaoptnet-ridge cifar-fs lee *", 280.0),
)
REST = Line(5, "*", None)


def by_value(jobs: Iterable[Job]) -> Iterator[tuple[Job, Line]]:
    """Each job once for each seed that it is wanted with, the most wanted first, and the line that says so."""
    jobs, taken = list(jobs), set()
    for line in (*ORDER, REST):
        for one in (one for one in jobs if fnmatchcase(one.training, line.trainings)):
            for seed in line.seeds:
                seeded = replace(one, arguments=(*one.arguments, "--seeds", str(seed))) if seed else one
                if seeded not in taken:
                    taken.add(seeded)
                    yield seeded, line
