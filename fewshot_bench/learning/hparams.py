"""The hyper-parameters of a method, made of what a recipe and a user say."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.learning.step_limits import most_of


def build_hparams(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of the hyper-parameter dataclass `cls`; raises `UsageError` for an unknown key or a wrong type."""
    if not is_dataclass(cls):
        raise UsageError(f"{cls.__name__} must be a dataclass of hyper-parameters.")
    types, most = get_type_hints(cls), {one.name: most_of(one) for one in fields(cls)}
    for key, value in given.items():
        if key not in types:
            raise unknown("hyper-parameter", key, types)
        expected = types[key]
        whole_number = expected is float and type(value) is int
        if not whole_number and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
            raise UsageError(f"{key} must be {getattr(expected, '__name__', expected)}, got {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{key} must be a finite number, got {value!r}.")
        if type(value) is int and (bound := most.get(key)) is not None and value > bound:
            raise UsageError(f"{key} must be at most {bound:,}, got {value:,}.")
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING and f.name not in given]
    if missing:
        raise UsageError(f"{cls.__name__} needs a value for: {', '.join(missing)}.")
    try:
        return cls(**{key: types[key](value) if types[key] in (int, float) else value for key, value in given.items()})
    except ValueError as error:
        raise UsageError(str(error)) from None
