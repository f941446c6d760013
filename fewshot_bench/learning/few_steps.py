"""A trial of a method with few steps or epochs on each task, so that it ends soon."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass, replace
from typing import Any

from torch import nn

FEW = 20
"""Steps or epochs of a trial."""


@contextmanager
def few_steps(method: nn.Module) -> Iterator[float]:
    """Have a method take at most `FEW` steps or epochs within the block; gives by what factor it takes more otherwise."""
    hparams: Any = method.hparams
    given = vars(hparams) if is_dataclass(hparams) else {}
    many = {
        name: value
        for name, value in given.items()
        if type(value) is int and value > FEW and name.rpartition("_")[2] in ("steps", "epochs")
    }
    times = 1.0
    with suppress(ValueError):  # its hyper-parameters may not allow so few
        method.hparams = replace(hparams, **dict.fromkeys(many, FEW)) if many else hparams
        times = max(many.values(), default=FEW) / FEW
    try:
        yield times
    finally:
        method.hparams = hparams
