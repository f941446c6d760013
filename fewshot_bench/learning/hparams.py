"""The hyper-parameters of a method, from what a recipe and a user set."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from fewshot_bench.errors import UsageError
from fewshot_bench.plugins.hparam_types import values_of


def build_hparams(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of the hyper-parameter dataclass `cls`; raises `UsageError` for an unknown key, for values that their
    types refuse (a line each), for a missing one, and for what `__post_init__` refuses by a `ValueError`."""
    if not is_dataclass(cls):
        raise UsageError(f"{cls.__name__} must be a dataclass of hyper-parameters.")
    values = values_of(cls, given)
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING and f.name not in given]
    if missing:
        raise UsageError(f"{cls.__name__} needs a value for: {', '.join(missing)}.")
    try:
        return cls(**values)
    except ValueError as error:
        raise UsageError(str(error)) from None
