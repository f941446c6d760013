"""How often a method may go round on one task, and a trial of it that goes round only so often that it ends soon."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import Field, is_dataclass, replace
from typing import Any

from torch import nn

from fewshot_bench.specs import MOST_STEPS

MOST = {**dict.fromkeys(("steps", "epochs", "iterations"), MOST_STEPS), **dict.fromkeys(("stacks", "dilations"), 60)}
"""The most of a hyper-parameter by the last word of its name; a field whose metadata has `most` says its own."""
FEW = 20
"""Steps or epochs of a trial."""


def most_of(field: "Field[Any]") -> int | None:
    """The largest value that a hyper-parameter may have; None where it has no such bound."""
    most: int | None = field.metadata.get("most", MOST.get(_last_word(field.name)))
    return most


@contextmanager
def few_steps(method: nn.Module) -> Iterator[float]:
    """Have a method go round at most `FEW` times within the block; gives how many times as often it does otherwise."""
    hparams: Any = method.hparams
    given = vars(hparams) if is_dataclass(hparams) else {}
    many = {
        name: value
        for name, value in given.items()
        if type(value) is int and value > FEW and _last_word(name) in ("steps", "epochs")
    }
    times = 1.0
    with suppress(ValueError):  # its hyper-parameters may not be so few
        method.hparams = replace(hparams, **dict.fromkeys(many, FEW)) if many else hparams
        times = max(many.values(), default=FEW) / FEW
    try:
        yield times
    finally:
        method.hparams = hparams


def _last_word(name: str) -> str:
    return name.rpartition("_")[2]
