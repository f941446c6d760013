"""What pydantic finds wrong with a value, in the words of this project's other messages."""

from collections.abc import Mapping
from typing import Any

WORDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be a text",
    **dict.fromkeys(("list_type", "tuple_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type"), "must be a mapping"),
    "none_required": "must be null",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
}
"""By the type of an error, with its context."""


def reason(error: Mapping[str, Any]) -> str:
    """The reason of one of `ValidationError.errors()`."""
    words = WORDS.get(error["type"])
    said = str(error["msg"]).removeprefix("Value error, ")
    return said if words is None else words.format_map(error.get("ctx", {}))
