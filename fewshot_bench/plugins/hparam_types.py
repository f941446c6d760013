"""The types of hyper-parameters: which values they take, in code and in words.

A method's hyper-parameters are a frozen dataclass whose fields are bool, int, float, str, `Literal[...]`, one of these with
pydantic's bounds (`PositiveFloat`, `Annotated[float, Field(gt=0, le=1)]`), or a union of them with None. An error ends with
the description that a `Field` has.
"""

import math
import operator
import reprlib
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import reduce
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.specs import MOST_STEPS

PLAIN = (bool, int, float, str)
"""The types of values that a specification can hold, beside None."""
NOUNS = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}
SIGNS: dict[type[BaseMetadata], str] = {Gt: ">", Ge: ">=", Lt: "<", Le: "<="}
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
"""No text passes for a number, no true for 1, no 2.0 for a whole number. A whole number passes for a number."""

MOST = {**dict.fromkeys(("steps", "epochs", "iterations"), MOST_STEPS), **dict.fromkeys(("stacks", "dilations"), 60)}
"""The upper bound of a hyper-parameter whose type has none, by the last word of its name."""


def types_of(cls: type) -> dict[str, Any]:
    """The type of each field that can be set. A number of steps without an upper bound gets that of `MOST`."""
    hints = get_type_hints(cls, include_extras=True)
    return {one.name: _with_most(hints[one.name], MOST.get(one.name.rpartition("_")[2])) for one in fields(cls) if one.init}


def is_plain(hint: Any) -> bool:
    """Whether a specification can hold the values of a type."""
    members = _members(hint)
    if len(members) > 1:
        return all(one is type(None) or is_plain(one) for one in members)
    choices = get_args(bare) if get_origin(bare := _bare(hint)) is Literal else ()
    return bare in PLAIN or (bool(choices) and all(type(one) in PLAIN for one in choices))


def described(hint: Any) -> str:
    """A type in words: `number > 0`, `whole number from 1 to 100,000`, `one of: a, b`, `text, or null`."""
    if len(members := _members(hint)) > 1:
        *first, last = sorted(map(described, members), key=lambda one: one == "null")
        return f"{', '.join(first)}, or {last}"
    if get_origin(bare := _bare(hint)) is Literal:
        choices = [_told(one).strip("'") for one in get_args(bare)]
        return f"one of: {', '.join(choices)}" if len(choices) > 1 else choices[0]
    bounds = {SIGNS[type(one)]: _number(getattr(one, type(one).__name__.lower())) for one in _bounds(hint)}
    if bounds.keys() == {">=", "<="}:
        return f"{NOUNS[bare]} from {bounds['>=']} to {bounds['<=']}"
    limits = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items())
    return f"{NOUNS[bare]} {limits}".strip()


def check_defaults(cls: type) -> None:
    """Refuse bounds on what is not a number, and a default outside its own bounds or choices; raises `ValueError`.

    Defaults of plain types are not checked."""
    hints = types_of(cls)
    for one in fields(cls):
        hint = hints.get(one.name, object)
        if any(_bounds(member) and _bare(member) not in (int, float) for member in _members(hint)):
            raise ValueError(f"{one.name} has bounds but is not a number")
        if one.init and one.default is not MISSING and not _is_free(hint):
            try:
                value_of(one.name, one.default, hint)
            except ValueError as error:
                raise ValueError(f"a default is wrong: {error}") from None


def values_of(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values as their fields' types have them; raises `UsageError` for an unknown key, or for all wrong values."""
    hints = types_of(cls)
    for key in given:
        if key not in hints:
            raise unknown("hyper-parameter", key, hints)
    found, wrong = dict[str, Any](), list[str]()
    for key, value in given.items():
        try:
            found[key] = value_of(key, value, hints[key])
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        rest = [f"And {len(wrong) - 2} more are wrong."] if len(wrong) > 3 else []
        raise UsageError("\n".join([*wrong[: 2 if rest else 3], *rest]))
    return found


def value_of(key: str, value: Any, hint: Any) -> Any:
    """A value as its type has it: 1 as 1.0 where that is a float. Raises `ValueError` that says what it must be."""
    try:
        found = TypeAdapter(hint, config=STRICT).validate_python(value)
        if type(found) is type(value) or (type(found), type(value)) == (
            float,
            int,
        ):  # 1 and true are one to pydantic
            return found
    except ValidationError:
        pass
    must = described(hint)
    if isinstance(value, float) and not math.isfinite(value) and must.startswith("number"):
        must = f"finite {must}"
    article = "a " if must.startswith(("number", "whole", "text", "finite")) else ""
    why = "".join(f" {one}." for one in _reasons(hint))
    raise ValueError(f"{key} must be {article}{must}{';' if 'one of' in must else ','} got {_told(value)}.{why}")


def _members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(one for member in get_args(hint) for one in _members(member))
    return (hint,)


def _bare(hint: Any) -> Any:
    """A type without its bounds."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _metadata(hint: Any) -> Iterator[Any]:
    for one in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        yield one
        yield from one.metadata if isinstance(one, FieldInfo) else one if isinstance(one, GroupedMetadata) else ()


def _bounds(hint: Any) -> list[BaseMetadata]:
    return [one for one in _metadata(hint) if type(one) in SIGNS]


def _reasons(hint: Any) -> list[str]:
    return [one.description for one in _metadata(hint) if isinstance(one, FieldInfo) and one.description]


def _is_free(hint: Any) -> bool:
    """Whether a type has no bounds or choices."""
    return all(one in PLAIN or one is type(None) for one in _members(hint))


def _with_most(hint: Any, most: int | None) -> Any:
    """A type whose whole numbers are at most `most`, unless it has a bound itself."""
    if most is None:
        return hint
    bounded = [
        Annotated[one, Le(most)] if _bare(one) is int and not any(isinstance(b, Lt | Le) for b in _bounds(one)) else one
        for one in _members(hint)
    ]
    return reduce(operator.or_, bounded)


def _number(bound: Any) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _told(value: Any) -> str:
    """A value as YAML and an error show it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**18 else reprlib.repr(value)
