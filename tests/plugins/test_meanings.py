"""What `fsbench show` says of each hyper-parameter."""

from dataclasses import dataclass, fields, make_dataclass

import pytest
from command_line import finished

from fewshot_bench.plugins import registry
from fewshot_bench.plugins.meanings import meanings


@dataclass(frozen=True)
class First:
    """Hyper-parameters of a method that another inherits from."""

    rate: float = 0.1  # of the outer loop
    steps: int = 1  # in training
    name: str = "# no comment"


@dataclass(frozen=True)
class Second(First):
    """Overrides one and explains it, overrides another and does not."""

    rate: float = 0.2  # of its own
    steps: int = 2


def test_a_meaning_is_the_comment_behind_the_field() -> None:
    """The nearest class that has one says it; a text with a number sign in it is no comment."""
    assert meanings(First) == {"rate": "of the outer loop", "steps": "in training"}
    assert meanings(Second) == {"rate": "of its own", "steps": "in training"}


class Outer:
    """Holds a class whose text is not indented with it."""

    @dataclass(frozen=True)
    class Inner:
        """Hyper-parameters."""

        usage = """
--set rate=0.2
"""
        rate: float = 0.1  # of the outer loop


def test_a_class_whose_source_cannot_stand_alone_has_no_meanings() -> None:
    """A plugin may be written so; it is shown all the same."""
    assert meanings(Outer.Inner) == {}


def test_a_class_without_source_has_no_meanings() -> None:
    """As one that a notebook made."""
    assert meanings(make_dataclass("Made", [("rate", float, 0.1)])) == {}


@pytest.mark.parametrize("name", sorted(registry.registered("methods")))
def test_every_hyper_parameter_of_every_method_is_explained(name: str) -> None:
    """None is left to be guessed from its name."""
    method = registry.find("methods", name)
    if method.missing():
        pytest.skip(f"{name} is not installed.")
    hparams = method.load().Hparams
    assert {field.name for field in fields(hparams)} == set(meanings(hparams))


def test_show_prints_the_meaning_and_the_type_behind_the_value() -> None:
    """In the text as a comment."""
    line = "  inner_lr: 2.0        # inner rate on a mean loss: the paper's 0.4 on a sum over 5 ways (number > 0)\n"
    assert line in finished("show", "maml").out
