"""The standard works: what is timed, in which sizes, how often. Light to import; both sides take their settings here.

Our side is `ours.py`, learn2learn's `peer.py`, what the machine would allow `limits.py`: all know a work by its name.
"""

from dataclasses import dataclass

from fewshot_bench.errors import unknown


@dataclass(frozen=True)
class Size:
    """Ways, shots, and queries of each class."""

    ways: int
    shots: int
    queries: int

    @property
    def support(self) -> int:
        """Support images of a task."""
        return self.ways * self.shots

    @property
    def query(self) -> int:
        """Query images of a task."""
        return self.ways * self.queries

    @property
    def images(self) -> int:
        """Images of a task."""
        return self.support + self.query

    def __str__(self) -> str:
        return f"{self.ways}-way {self.shots}-shot {self.queries} queries"


SIDE = 28  # of the images; grey
EPISODE = Size(5, 1, 15)  # of MAML, of every test, of the indices
TRAINING = Size(60, 1, 5)  # of prototypical training
META_BATCH, INNER_LR, LR = 8, 0.5, 1e-3
TEST_STEPS = 3  # inner steps of MAML's test
INDEX_CLASSES, INDEX_IMAGES = 1692, 20  # of the split whose episode indices are drawn: Omniglot's test split
CLASSES = 200  # of each split that learn2learn gets; a task costs the same from more


@dataclass(frozen=True)
class Counts:
    """Units (tasks or episodes) of a round on the two sides, and how many rounds are timed after the warm-up.

    A round of ours lasts at least 50 ms: two threads that slept meanwhile may have to share a core at first.
    """

    ours: int
    peer: int
    rounds: int
    warm_up: int | None = None
    """Our units in the warm-up round, if they are fewer."""


@dataclass(frozen=True)
class Work:
    """One work. `sources` say where learn2learn's data comes from: `files`, or `memory` (made once, before)."""

    name: str
    title: str
    unit: str
    size: Size
    about: str
    full: Counts
    short: Counts
    floor: float
    """The ratio to learn2learn below which something is wrong."""
    sources: tuple[str, ...] = ("files", "memory")
    extras: tuple[str, ...] = ()
    """Sources that are reported only in a note."""
    beside: tuple[str, str] | None = None
    """The work and source of learn2learn's rate to which the floor applies, if not this work's first source."""

    def counts(self, short: bool) -> Counts:
        """The counts of the short or of the full form."""
        return self.short if short else self.full


WORKS = {
    work.name: work
    for work in (
        Work(
            "maml-training",
            "MAML training",
            "tasks",
            EPISODE,
            f"Conv4-64, {EPISODE}, 1 inner step, second order, support and query normalised apart, updates of {META_BATCH}",
            full=Counts(ours=8 * META_BATCH, peer=META_BATCH, rounds=5),
            short=Counts(ours=2 * META_BATCH, peer=META_BATCH, rounds=3),
            floor=3,
        ),
        Work(
            "prototypical-training",
            "protonet training",
            "episodes",
            TRAINING,
            f"Conv4-64, {TRAINING}, an update an episode",
            full=Counts(ours=8, peer=3, rounds=5),
            short=Counts(ours=4, peer=2, rounds=3),
            floor=3,
        ),
        Work(
            "prototypical-test",
            "protonet test",
            "episodes",
            EPISODE,
            f"the whole `standard` test, {EPISODE}; ours embeds each image that occurs once, then gathers",
            full=Counts(ours=2000, peer=40, rounds=3),
            short=Counts(ours=2000, peer=20, rounds=2, warm_up=200),
            floor=10,
        ),
        Work(
            "scoring",
            "scoring alone",
            "episodes",
            EPISODE,
            f"{EPISODE} from ready embeddings on both sides: sampling, gather, scores, accuracy",
            full=Counts(ours=10000, peer=200, rounds=7),
            short=Counts(ours=10000, peer=100, rounds=5),
            floor=300,
            sources=("memory",),
            beside=("prototypical-test", "files"),
        ),
        Work(
            "maml-test",
            "MAML test",
            "episodes",
            EPISODE,
            f"the whole `standard-transductive` test, {EPISODE}, {TEST_STEPS} inner steps, normalised as in training",
            full=Counts(ours=2000, peer=30, rounds=2, warm_up=100),
            short=Counts(ours=64, peer=12, rounds=3),
            floor=2,
        ),
        Work(
            "indices",
            "episode indices",
            "episodes",
            EPISODE,
            f"{EPISODE} of {INDEX_CLASSES:,} classes of {INDEX_IMAGES}, without images; learn2learn's task set gives labels",
            full=Counts(ours=131072, peer=500, rounds=9),
            short=Counts(ours=131072, peer=300, rounds=5),
            floor=30,
            sources=("memory",),
            extras=("descriptions",),
        ),
    )
}


def chosen(names: list[str] | None) -> list[Work]:
    """The works of these names in the standard order, or all; raises `UsageError` for a name that does not exist."""
    for name in names or []:
        if name not in WORKS:
            raise unknown("work", name, WORKS)
    return [work for work in WORKS.values() if not names or work.name in names]
