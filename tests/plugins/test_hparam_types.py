"""Hyper-parameters are what their types say, in code and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from fewshot_bench.errors import UsageError
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.hparam_types import check_defaults, described, is_plain, types_of
from fewshot_bench.specs import Steps


@dataclass(frozen=True)
class Typed:
    """One of each kind, and a relation between two."""

    rate: PositiveFloat = 0.1
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    steps: Steps = 1
    units: PositiveInt = 8
    distance: Literal["euclidean", "cosine"] = "euclidean"
    power: Literal[1, 2] = 2
    fixed: Annotated[Literal[True], Field(description="The method says so")] = True
    clip: NonNegativeFloat | None = None
    free: float = 0.0
    name: str = ""
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low} and {self.high}.")


WORDS = {
    "rate": "number > 0",
    "share": "number >= 0 and < 1",
    "steps": "whole number from 1 to 100,000",
    "units": "whole number > 0",
    "distance": "one of: euclidean, cosine",
    "power": "one of: 1, 2",
    "fixed": "true",
    "clip": "number >= 0, or null",
    "free": "number",
    "name": "text",
}


def test_types_are_told_in_words() -> None:
    """As `fsbench show` and errors have them."""
    assert {name: described(hint) for name, hint in types_of(Typed).items() if name in WORDS} == WORDS
    assert described(bool) == "true or false"
    assert described(Annotated[float, Interval(gt=0, le=0.5)]) == "number > 0 and <= 0.5"


RIGHT: tuple[tuple[str, Any, Any], ...] = (
    ("rate", 2, 2.0),
    ("clip", None, None),
    ("clip", 1, 1.0),
    ("distance", "cosine", "cosine"),
    ("power", 1, 1),
    ("steps", 100_000, 100_000),
    ("free", -3.5, -3.5),
)


@pytest.mark.parametrize(("key", "given", "expected"), RIGHT)
def test_a_value_becomes_what_its_type_says(key: str, given: Any, expected: Any) -> None:
    """A whole number is taken for a number, and is one from then on."""
    found = getattr(build_hparams(Typed, {key: given}), key)
    assert (found, type(found)) == (expected, type(expected))


WRONG: tuple[tuple[str, Any, str], ...] = (
    ("rate", 0.0, "rate must be a number > 0, got 0.0."),
    ("rate", True, "rate must be a number > 0, got true."),
    ("rate", "0.1", "rate must be a number > 0, got '0.1'."),
    ("rate", None, "rate must be a number > 0, got null."),
    ("rate", float("nan"), "rate must be a finite number > 0, got nan."),
    ("free", float("inf"), "free must be a finite number, got inf."),
    ("clip", float("inf"), "clip must be a finite number >= 0, or null, got inf."),
    ("share", 1, "share must be a number >= 0 and < 1, got 1."),
    ("steps", 1.5, "steps must be a whole number from 1 to 100,000, got 1.5."),
    ("steps", 1.0, "steps must be a whole number from 1 to 100,000, got 1.0."),
    ("steps", False, "steps must be a whole number from 1 to 100,000, got false."),
    ("steps", 10**6, "steps must be a whole number from 1 to 100,000, got 1,000,000."),
    ("units", 0, "units must be a whole number > 0, got 0."),
    ("distance", "cosin", "distance must be one of: euclidean, cosine; got 'cosin'."),
    ("power", True, "power must be one of: 1, 2; got true."),
    ("power", 1.0, "power must be one of: 1, 2; got 1.0."),
    ("fixed", False, "fixed must be true, got false. The method says so."),
    ("name", 3, "name must be a text, got 3."),
    ("name", ["a"], "name must be a text, got ['a']."),
)


@pytest.mark.parametrize(("key", "given", "said"), WRONG)
def test_a_wrong_value_is_told_in_one_line(key: str, given: Any, said: str) -> None:
    """Its name, what it must be, what it is."""
    with pytest.raises(UsageError) as error:
        build_hparams(Typed, {key: given})
    assert str(error.value) == said


def test_all_wrong_values_are_told_at_once() -> None:
    """A line each, three lines at most."""
    with pytest.raises(UsageError) as error:
        build_hparams(Typed, {"rate": -1, "units": 0, "steps": 2})
    assert str(error.value) == "rate must be a number > 0, got -1.\nunits must be a whole number > 0, got 0."
    with pytest.raises(UsageError) as error:
        build_hparams(Typed, {"rate": -1, "units": 0, "steps": 0, "power": 3})
    assert str(error.value).splitlines()[1:] == ["units must be a whole number > 0, got 0.", "And 2 more are wrong."]


def test_a_huge_number_is_told_in_short() -> None:
    """One line stays one that can be read."""
    with pytest.raises(UsageError, match=r"^rate must be a number > 0, got 1000.{0,60}\.$"):
        build_hparams(Typed, {"rate": 10**400})


def test_an_unknown_key_is_told_with_the_nearest_one() -> None:
    """And with those that there are."""
    with pytest.raises(UsageError, match=r"Unknown hyper-parameter 'distanse'\. Did you mean 'distance'"):
        build_hparams(Typed, {"distanse": "cosine"})


def test_a_relation_between_fields_is_code() -> None:
    """`__post_init__` raises a `ValueError`, and its text is the error's."""
    with pytest.raises(UsageError, match=r"^low must not be above high, got 2.0 and 1.0\.$"):
        build_hparams(Typed, {"low": 2})


@dataclass(frozen=True)
class Plain:
    """As an author writes who knows of no types but Python's."""

    scale: float
    steps: int = 3
    stacks: int | None = None
    on: bool = False
    name: str = "a"
    odd: float = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError("scale must be positive")


def test_plain_types_go_on_working() -> None:
    """Their values and the author's own check; one that has no default must be given."""
    assert build_hparams(Plain, {"scale": 1, "on": True}) == Plain(1.0, on=True)
    cases: tuple[tuple[Mapping[str, Any], str], ...] = (
        ({"scale": -1}, "^scale must be positive$"),
        ({}, "^Plain needs a value for: scale.$"),
        ({"scale": 1, "on": 1}, "on must be true or false, got 1"),
        ({"scale": 1, "steps": 10**6}, "steps must be a whole number <= 100,000"),
        ({"scale": 1, "stacks": 61}, "stacks must be a whole number <= 60, or null, got 61"),
    )
    for given, said in cases:
        with pytest.raises(UsageError, match=said):
            build_hparams(Plain, given)
    check_defaults(Plain)


@dataclass(frozen=True)
class WrongDefault:
    """Its default is none of its type's values."""

    rate: PositiveFloat = 0.0


@dataclass(frozen=True)
class WrongBounds:
    """A text is above nothing."""

    name: Annotated[str, Field(gt=0)] = "a"


def test_a_declaration_that_contradicts_itself_is_refused() -> None:
    """A default that its bounds refuse, and bounds that its type has not."""
    with pytest.raises(ValueError, match=r"a default is wrong: rate must be a number > 0, got 0\.0"):
        check_defaults(WrongDefault)
    with pytest.raises(ValueError, match="name has bounds but is not a number"):
        check_defaults(WrongBounds)


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        (PositiveFloat, True),
        (Literal["a"] | None, True),
        (Annotated[Literal[True], Field(description="so")], True),
        (int | str | None, True),
        (list, False),
        (Literal[b"a"], False),
        (Annotated[int | None, Field(gt=0)], False),
        (None, False),
    ],
)
def test_a_specification_holds_plain_values_alone(hint: Any, plain: bool) -> None:
    """With bounds or without, choices, or null."""
    assert is_plain(hint) == plain


@pytest.mark.parametrize("name", sorted(registry.registered("methods")))
def test_the_defaults_of_every_method_are_what_their_types_say(name: str) -> None:
    """Those of plain types too."""
    method = registry.find("methods", name)
    if method.missing():
        pytest.skip(f"{name} is not installed.")
    hparams = method.load().Hparams
    assert build_hparams(hparams, vars(hparams())) == hparams()
