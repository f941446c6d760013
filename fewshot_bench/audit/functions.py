"""The audit of a family of functions.

Legend: B tasks, n points.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fewshot_bench.audit.verdicts import Fault
from fewshot_bench.data.answers import check_family
from fewshot_bench.data.functions import FunctionFamily, Values

TASKS, POINTS = 5, 7


def options(data: Any) -> str:
    """That it has ranges, and values at points."""
    family: FunctionFamily = data.build()
    check_family(family)
    named = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in family.parameters.items())
    return f"{named}; points from {family.domain[0]:g} to {family.domain[1]:g}"


def identity(data: Any) -> str:
    """That it is the same each time."""
    said, again = data.build().identity(), data.build().identity()
    if said != again:
        raise Fault(f"identity is {said!r}, and {again!r} of the same family built again")
    return str(said)


def values(data: Any) -> str:
    """That values are numbers, the same twice, and those of a function and a point whatever stands beside them."""
    family: FunctionFamily = data.build()
    x, parameters = _drawn(family)
    found = family.values(x.copy(), parameters)
    if not np.isfinite(found).all():
        raise Fault(f"{int((~np.isfinite(found)).sum())} of {found.size} values are NaN or infinite")
    if not np.array_equal(found, data.build().values(x.copy(), parameters)):
        raise Fault("values are others when they are asked for again")
    for b in range(TASKS):
        one = {name: value[b : b + 1] for name, value in parameters.items()}
        for n in range(POINTS):
            alone = family.values(x[b : b + 1, n : n + 1].copy(), one)[0, 0]
            if not np.isclose(alone, found[b, n], rtol=1e-9, atol=1e-12):
                raise Fault(f"a value is {found[b, n]:.6g} beside other functions and points, and {alone:.6g} alone")
    return f"{found.size} values of {TASKS} functions are the same twice, and one by one"


def _drawn(family: FunctionFamily) -> tuple[Values, dict[str, Values]]:
    """Points [B, n] and parameters [B, 1] across the ranges of a family."""
    low, high = family.domain
    x = np.linspace(low, high, TASKS * POINTS).reshape(POINTS, TASKS).T
    parts = np.linspace(0, 1, TASKS)[:, None]
    return x, {
        name: low + (high - low) * np.roll(parts, i) for i, (name, (low, high)) in enumerate(family.parameters.items())
    }


FAMILY_CHECKS: Mapping[str, Callable[[Any], str]] = {"options": options, "identity": identity, "values": values}
