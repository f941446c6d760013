"""Protocols: named sets of test conditions. Results of two protocols never stand in one table."""

from dataclasses import dataclass

from fewshot_bench.errors import UsageError, unknown


@dataclass(frozen=True)
class Protocol:
    """Test conditions. None means that the request is free to say."""

    name: str
    summary: str
    queries: int | None
    episodes: int | None
    seed: int | None
    transductive: bool | None
    """Whether normalisation uses the other queries of an episode; None: it may where that is asked for."""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("standard", "2,000 fixed episodes, 15 queries a class, inductive; the one that ranks", 15, 2000, 0, False),
        Protocol("standard-transductive", "the episodes of `standard`; queries may normalise each other", 15, 2000, 0, True),
        Protocol("custom", "your own episodes and queries; compared with nothing else", None, None, None, None),
    )
}

FREE = {"queries": 15, "episodes": 600, "seed": 0}
"""What a protocol leaves free and a request does not say."""


def conditions(name: str, **asked: int | None) -> dict[str, int]:
    """Queries, episodes and seed of a test under protocol `name`; raises `UsageError` where the request contradicts it."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    found = {}
    for key, free in FREE.items():
        fixed, wanted = getattr(PROTOCOLS[name], key), asked.get(key)
        if fixed is not None and wanted not in (None, fixed):
            raise UsageError(
                f"Protocol {name!r} has {fixed:,} {key}, not {wanted}. For a test of your own add --protocol custom."
            )
        found[key] = fixed if fixed is not None else wanted if wanted is not None else free
    return found
