"""Protocols fix what they are said to fix."""

import pytest

from fewshot_bench.episodes.protocols import PROTOCOLS, conditions
from fewshot_bench.errors import UsageError
from fewshot_bench.specs import Kind


@pytest.mark.parametrize(
    ("name", "kind", "dataset", "shots", "expected"),
    [
        ("standard", "classification", "omniglot", 5, (15, 2000)),
        ("standard-regression", "regression", "sinusoid", 5, (100, 2000)),
        ("snell", "classification", "omniglot", 1, (15, 1000)),
        ("snell", "classification", "mini-imagenet", 5, (15, 600)),
        ("finn", "classification", "omniglot", 5, (5, 600)),
        ("finn", "classification", "mini-imagenet", 1, (1, 600)),
        ("ravi", "classification", "mini-imagenet", 5, (15, 600)),
    ],
)
def test_a_protocol_fixes_queries_and_episodes(
    name: str, kind: Kind, dataset: str, shots: int, expected: tuple[int, int]
) -> None:
    """As the papers' test conditions in the reference say."""
    rules = conditions(name, kind, dataset, shots)
    assert (rules["queries"], rules["episodes"]) == expected


def test_what_a_protocol_fixes_cannot_be_asked_otherwise() -> None:
    """The message names the protocol for trials."""
    with pytest.raises(UsageError, match=r"has 600 episodes, not 50\. For a test of your own add --protocol custom"):
        conditions("finn", "classification", "omniglot", 1, episodes=50)


@pytest.mark.parametrize(("name", "kind"), [("standard", "regression"), ("standard-regression", "classification")])
def test_a_protocol_is_for_one_kind(name: str, kind: Kind) -> None:
    """Images are not tested as functions, nor the reverse."""
    with pytest.raises(UsageError, match=f"Protocol '{name}' is for"):
        conditions(name, kind, "some data", 1)


def test_one_protocol_of_each_kind_ranks() -> None:
    """The standards."""
    assert [name for name, protocol in PROTOCOLS.items() if protocol.ranks] == ["standard", "standard-regression"]
