"""Which of several published numbers a measured one is compared with: the one of the nearest conditions, and why in words.

Conditions are the network, the queries of a class and whether the test is transductive. One that differs counts two, one
that the paper does not state counts one. Of equal sums the first has the nearer network, then transduction, then queries; of
other networks one of the same kind (`conv4-…`) is nearer. Of equals the nearer number of test episodes decides (as a
ratio), and at last the alphabet of the sources, so that the order of the file never shows. A number that was not checked is
taken only where no checked one is known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewshot_bench.specs import TRANSDUCTIVE_MODES
from fewshot_leaderboard.published import Published

SAME, UNSTATED, OTHER = 0, 1, 2
SAME_NETWORK = {"mlp-40-40": "mlp-40"}
"""Networks of papers that have another name here."""


@dataclass(frozen=True)
class Conditions:
    """Those of a measured test, as far as papers state theirs."""

    network: str | None
    """Its name, without its options, which published numbers do not carry."""
    queries: int
    """Query images a class."""
    transductive: bool
    episodes: int

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> "Conditions":
        """Of a row of a table of results: its cells by column."""
        network, queries, mode, episodes = (cells[key].value for key in ("backbone", "queries", "normalisation", "episodes"))
        name = network.partition(" (")[0] if network else None
        return cls(name, queries, mode in TRANSDUCTIVE_MODES, episodes)


@dataclass(frozen=True)
class Chosen:
    """The published number that a measured one is compared with."""

    printed: Published
    why: str
    """Why this one, in words; empty where there is no other."""
    others: tuple[Published, ...]
    """The others, the nearest first."""


def nearest(found: Sequence[Published], here: Conditions) -> Chosen | None:
    """The published number of the nearest conditions; None where `found` is empty."""
    if not found:
        return None
    first, *others = sorted(
        found, key=lambda one: (not one.verified, *_distance(one, here), one.source, one.value, one.text)
    )
    return Chosen(first, _why(first, others, here), tuple(others))


def likeness(printed: Published, here: Conditions) -> dict[str, int]:
    """How far each condition of a published number is from that of a test: `SAME`, `UNSTATED` or `OTHER`."""
    pairs = {
        "network": (SAME_NETWORK.get(printed.backbone, printed.backbone) or None, here.network),
        "transduction": (printed.transductive, here.transductive),
        "queries": (printed.queries, here.queries),
    }
    return {name: UNSTATED if None in (one, other) else OTHER * (one != other) for name, (one, other) in pairs.items()}


def differences(printed: Published, here: Conditions) -> str:
    """In which conditions a published number differs from a test, in words; empty where it says of none that it does."""
    kinds = {True: "transductive", False: "inductive"}
    words = {
        "network": f"network {here.network} here, {printed.backbone} there",
        "transduction": f"{kinds[here.transductive]} here, {kinds[printed.transductive]} there",
        "queries": f"queries a class {here.queries} here, {printed.queries} there",
    }
    return "; ".join(words[name] for name, far in likeness(printed, here).items() if far == OTHER)


def _distance(printed: Published, here: Conditions) -> tuple[float, ...]:
    each = likeness(printed, here)
    episodes = abs(math.log(printed.test_episodes / here.episodes)) if printed.test_episodes else math.inf
    return sum(each.values()), *each.values(), not akin(printed, here), episodes


def akin(printed: Published, here: Conditions) -> bool:
    """Whether two networks are of one kind, by the first word of their names."""
    return printed.backbone.partition("-")[0] == (here.network or "").partition("-")[0]


def _why(first: Published, others: Sequence[Published], here: Conditions) -> str:
    rivals = [one for one in others if one.verified == first.verified]
    if not rivals:
        return "the only one that was checked" if others else ""
    each = likeness(first, here)
    said = f"nearest conditions: {_listed('same', SAME, each) or _listed('not stated:', UNSTATED, each) or 'all differ'}"
    alike = [one for one in rivals if likeness(one, here) == each]
    if alike and each["network"] == OTHER and akin(first, here) and not any(akin(one, here) for one in alike):
        return f"{said}; network of the same kind"
    equal = [one for one in alike if akin(one, here) == akin(first, here)]
    if not equal:
        return said
    if any(_distance(one, here) == _distance(first, here) for one in equal):
        return f"{said}; first by its source of those alike"
    return f"{said}; nearest number of test episodes ({first.test_episodes:,})"


def _listed(word: str, far: int, each: Mapping[str, int]) -> str:
    names = [name for name, one in each.items() if one == far]
    return f"{word} {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}" if names else ""
