"""Protocols: named sets of test conditions. Results of two protocols never stand in one table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Kind, Normalisation


@dataclass(frozen=True)
class Protocol:
    """Test conditions. None means that the request decides."""

    name: str
    summary: str
    queries: int | Literal["shots"] | None
    """Queries of each class; `shots`: as many as shots."""
    episodes: int | None
    seed: int | None
    transductive: bool | None
    """Whether normalisation uses the other queries of an episode; None: only where the request asks for it."""
    kind: Kind | None = "classification"
    """The kind of tasks that it tests; None: any."""
    ranks: bool = False
    """Whether its tables rank."""
    episodes_on: Mapping[str, int] = field(default_factory=dict)
    """The number of episodes on the data sets where it differs."""
    any_size: bool = False
    """Whether its episodes may differ in size, show unlabelled images, and be disjoint."""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            "2,000 fixed episodes, 15 queries a class, inductive; the one that ranks",
            15,
            2000,
            0,
            False,
            ranks=True,
        ),
        Protocol("standard-transductive", "the episodes of `standard`; queries may normalise each other", 15, 2000, 0, True),
        Protocol(
            "standard-regression",
            "2,000 fixed functions, 100 query points each; ranks, lower is better",
            100,
            2000,
            0,
            False,
            kind="regression",
            ranks=True,
        ),
        Protocol(
            "snell",
            "Snell et al. 2017: 600 episodes (Omniglot 1,000), 15 queries a class, inductive",
            15,
            600,
            0,
            False,
            episodes_on={"omniglot": 1000},
        ),
        Protocol(
            "finn",
            "Finn et al. 2017: 600 episodes, as many queries a class as shots; queries may normalise each other."
            " Their own shuffle of Omniglot's characters is lost, so the 423 test characters here are Vinyals et al.'s. They"
            " draw a rotation for each class of a task; here each rotation is a class, so two of one character may meet",
            "shots",
            600,
            0,
            True,
        ),
        Protocol("ravi", "Ravi & Larochelle 2017: 600 episodes, 15 queries a class, inductive", 15, 600, 0, False),
        Protocol(
            "custom",
            "your own numbers of episodes and queries; compared with no other protocol",
            None,
            None,
            None,
            None,
            kind=None,
            any_size=True,
        ),
    )
}

FREE = {"queries": 15, "episodes": 600, "seed": 0}
"""The values of what a protocol leaves free and a request does not set."""


def conditions(name: str, kind: Kind, dataset: str, shots: int, **asked: int | None) -> dict[str, int]:
    """Queries, episodes and seed of a test under protocol `name`; raises `UsageError` where the request contradicts it."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    protocol = PROTOCOLS[name]
    if protocol.kind not in (None, kind):
        fitting = ", ".join(other.name for other in PROTOCOLS.values() if other.kind in (None, kind))
        raise UsageError(
            f"Protocol {name!r} is for {protocol.kind}, but {dataset} is {kind}: give --protocol one of {fitting}."
        )
    queries = shots if protocol.queries == "shots" else protocol.queries
    fixes = {"queries": queries, "episodes": protocol.episodes_on.get(dataset, protocol.episodes), "seed": protocol.seed}
    wanted = {key: asked.get(key) for key in fixes}
    broken = {key: fixed for key, fixed in fixes.items() if fixed is not None and wanted[key] not in (None, fixed)}
    if broken:
        has = " and ".join(f"seed {fixed}" if key == "seed" else f"{fixed:,} {key}" for key, fixed in broken.items())
        text = f"Protocol {name!r} has {has}, not {' and '.join(str(wanted[key]) for key in broken)}."
        if broken.keys() - {"seed"}:
            raise UsageError(f"{text} For a test of your own add --protocol custom.")
        raise UsageError(f"{text} This seed draws the test's episodes; --seeds {wanted['seed']} sets the training's.")
    free = {key: FREE[key] if value is None else value for key, value in wanted.items()}
    return {key: free[key] if fixed is None else fixed for key, fixed in fixes.items()}


def check_episodes(name: str, size: EpisodeSize) -> None:
    """Refuse varying size, unlabelled images and disjoint episodes where protocol `name` has none; raises `UsageError`."""
    if size.more and not PROTOCOLS[name].any_size:
        asked = ", ".join(f"{key}={value}" for key, value in size.more.items())
        raise UsageError(
            f"Protocol {name!r} has independent episodes of one size, without unlabelled images, not {asked}. "
            "For a test of your own add --protocol custom."
        )


def test_default(trained: Normalisation, transductive: bool) -> Normalisation:
    """The mode that a test uses unless told otherwise, given the mode of training."""
    if trained in ("none", "episode-running"):
        return trained
    if transductive:
        return "joint" if trained == "joint" else "separate"
    return "running" if trained == "joint" else "support"


def check_test_mode(
    mode: Normalisation, protocol: str, transductive: bool, modes: Collection[Normalisation] = ("running", "support")
) -> None:
    """Refuse a mode that lets queries see each other under an inductive protocol; raises `UsageError` that names those of
    a method's `modes` that do not."""
    if mode in TRANSDUCTIVE_MODES and not transductive:
        known: tuple[Normalisation, ...] = ("running", "support", "support+1")
        inductive = " or ".join(f"--set test.normalisation={one}" for one in known if one in modes)
        raise UsageError(
            f"Normalisation {mode!r} lets the queries of an episode see each other; protocol {protocol!r} is inductive.\n"
            f"Use {inductive}, or --protocol standard-transductive."
        )
