"""Rounds of learn2learn and of ours in turn, so that what slows a machine down slows both; and their results.

On both sides the rate is that of the fastest round, because other work on a machine can only slow a round down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fewshot_bench.bench.limits import FORMULAS
from fewshot_bench.bench.ours import OurWork
from fewshot_bench.bench.peer_process import PEER, PeerProcess
from fewshot_bench.bench.works import Counts, Work


@dataclass(frozen=True)
class Measured:
    """One work measured: units per second in each round, the warm-up first."""

    work: Work
    counts: Counts
    ours: tuple[float, ...]
    peer: Mapping[str, tuple[float, ...]]
    """learn2learn's rounds by source; empty without it."""
    limit: float | None = None
    """Units per second that the machine's peaks would allow."""

    @property
    def rate(self) -> float:
        """Ours, units per second: the fastest round."""
        return max(self.ours[1:])

    @property
    def peer_rates(self) -> dict[str, float]:
        """learn2learn's fastest round by source."""
        return {source: max(rates[1:]) for source, rates in self.peer.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """Ours over learn2learn's, by source."""
        return {source: self.rate / rate for source, rate in self.peer_rates.items()}

    @property
    def share(self) -> float | None:
        """The share of the limit that is reached."""
        return None if self.limit is None else self.rate / self.limit

    def with_rounds_of(self, other: "Measured") -> "Measured":
        """The same work with another measurement's rounds beside its own; that one's warm-up is dropped."""
        peer = {source: (*rates, *other.peer[source][1:]) for source, rates in self.peer.items()}
        return replace(self, ours=(*self.ours, *other.ours[1:]), peer=peer)

    def as_json(self) -> dict[str, Any]:
        """All of it, for a report."""
        limit = {"per_second": self.limit, "formula": FORMULAS[self.work.name]} if self.limit is not None else None
        return {
            "name": self.work.name,
            "title": self.work.title,
            "unit": self.work.unit,
            "about": self.work.about,
            "counts": {
                "ours": self.counts.ours,
                "ours_in_warm_up": self.counts.warm_up or self.counts.ours,
                PEER: self.counts.peer,
                "rounds": self.counts.rounds,
            },
            "per_second": self.rate,
            "rounds": self.ours[1:],
            "warm_up": self.ours[0],
            "limit": limit,
            "share": self.share,
            PEER: {
                source: {"per_second": self.peer_rates[source], "rounds": rates[1:], "warm_up": rates[0]}
                for source, rates in self.peer.items()
            },
            "ratio": self.ratios,
        }


def measure(work: Work, counts: Counts, ours: OurWork, peer: PeerProcess | None) -> Measured:
    """Time one work: a round to warm up, then those that count."""
    theirs: dict[str, list[float]] = {source: [] for source in (*work.sources, *work.extras)} if peer else {}
    rates: list[float] = []
    for number in range(counts.rounds + 1):
        for source, measured in theirs.items():
            assert peer is not None
            measured.append(peer.rate(work.name, source, counts.peer))
        count = counts.ours if number else counts.warm_up or counts.ours
        rates.append(count / ours.seconds(count))
    return Measured(work, counts, tuple(rates), {source: tuple(all_) for source, all_ in theirs.items()})
