"""What an unquoted word of YAML is: a number as JSON writes it, true, false, null, or a text. A word that YAML 1.1, YAML 1.2
and a person read differently is refused."""

import json
import math
import re
from dataclasses import dataclass

LONGEST = 60
"""The most characters of a number that is read."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LOOSE = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"[-+]?0[0-7_]*[0-7]_*")
_BASED = re.compile(r"([-+]?)0(x[0-9a-f_]*[0-9a-f]|o[0-7_]*[0-7]|b[01_]*[01])_*", re.IGNORECASE)
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?", re.DOTALL)
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
NOT_FINITE = "a number that is not finite"
_FIRST = frozenset("0123456789+-.")


def _forms(words: str) -> list[str]:
    """The spellings of words that YAML takes for a value: `off`, `Off`, `OFF`."""
    return [form for word in words.split() for form in (word, word.capitalize(), word.upper())]


VALUES = dict.fromkeys(_forms("true"), True) | dict.fromkeys(_forms("false"), False) | dict.fromkeys(_forms("null"))
_SOMETIMES = (
    dict.fromkeys(_forms("yes on"), "true") | dict.fromkeys(_forms("no off"), "false") | dict.fromkeys(("~", "None"), "null")
)
"""Words that YAML 1.1 or Python take for a value and others for text."""


@dataclass(frozen=True)
class Readings:
    """Two readings of a word."""

    one: str
    other: str
    write: tuple[str, ...]
    """Forms that everybody reads the same way."""


def scalar(text: str) -> int | float | bool | str | None:
    """The value of an unquoted word; raises `ValueError` that says how to write what is meant."""
    if text in VALUES:
        return VALUES[text]
    if not text:
        raise ValueError('no value is given: write null, or "" for an empty text')
    if text[0] in _FIRST and len(text) > LONGEST and not text.strip("0123456789+-._eE"):
        raise ValueError(f"a number of {len(text):,} characters is too long: write it shorter, or in quotes for a text")
    if text[0] in _FIRST and len(text) <= LONGEST and (number := _NUMBER.fullmatch(text)):
        value = float(text) if number[2] or number[3] else int(text)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{text} is too large: a whole number is below 2^63")
        if math.isinf(value) or _vanished(value, text):
            raise ValueError(f"{text} is too large or too small a number")
        return value
    if both := readings(text):
        raise ValueError(f"{text} may be read as {both.one} or as {both.other}: write {' or '.join(both.write)}")
    return text


def readings(text: str) -> Readings | None:
    """The readings of a word where there are two: 8 and 10 of `010`."""
    if len(text) > LONGEST:
        return None
    quoted = json.dumps(text, ensure_ascii=False)
    if text in _SOMETIMES:
        return _or_text(_SOMETIMES[text], quoted)
    if _NOT_FINITE.fullmatch(text):
        return Readings(NOT_FINITE, f"the text {quoted}", (quoted,))
    if text[:1] not in _FIRST or _NUMBER.fullmatch(text):
        return None
    if _DATE.fullmatch(text):
        return Readings("a date", f"the text {quoted}", (quoted,))
    digits = text.replace("_", "")
    if _OCTAL.fullmatch(text) and int(digits, 8) != int(digits):
        numbers = (str(int(digits, 8)), str(int(digits)))
        return Readings(*numbers, numbers)
    if based := _BASED.fullmatch(text):
        return _or_text(str(int(digits, {"x": 16, "o": 8, "b": 2}[based[2][0].lower()])), quoted)
    if _SIXTIES.fullmatch(text):
        return _or_text(_sixties(digits), quoted)
    if _LOOSE.fullmatch(text):
        return _or_text(repr(float(digits) if re.search("[.eE]", digits) else int(digits)), quoted)
    return None


def _or_text(value: str, quoted: str) -> Readings:
    return Readings(value, f"the text {quoted}", (value, quoted))


def _vanished(value: float, text: str) -> bool:
    """Whether a number that is not 0 became 0."""
    return value == 0 and re.split("[eE]", text)[0].strip("-0.") != ""


def _sixties(digits: str) -> str:
    """`1:30` as the number that YAML 1.1 makes of it."""
    total: float = 0
    for part in digits.lstrip("-+").split(":"):
        total = total * 60 + (float(part) if "." in part else int(part))
    return repr(-total if digits.startswith("-") else total)
