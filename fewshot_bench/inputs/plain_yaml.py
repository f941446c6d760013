"""YAML that everybody reads the same way: cards, recipes and `--set`.

YAML 1.1 (PyYAML), YAML 1.2 and a person read `010`, `1:30`, `off` or `1_000` differently. Such a scalar is refused, and the
message gives both readings. Numbers are written as in JSON, so `1e-3` is one. A key written twice, a tag and a missing value
are refused too; anchors, aliases and merge keys are allowed in files only. The parser is libyaml's, where PyYAML has it.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from fewshot_bench.errors import UsageError
from fewshot_bench.inputs.plain_scalars import NOT_FINITE, VALUES, readings, scalar
from fewshot_bench.text.printable import printable

Refuse = Callable[[str, Any], UsageError]
"""Makes the error for a reason and the event that it concerns."""

DEEPEST = 50
"""How deep lists and mappings may be nested."""
MOST = 100_000
"""The most values of a document. An alias counts as all the values that it stands for."""
SHOWN = 60
"""The most characters of a scalar that a message repeats."""

_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str, where: str) -> Any:
    """The content of a YAML document, None where it is empty; raises `UsageError` that begins with `where` and names the
    line."""

    def refuse(reason: str, event: Any) -> UsageError:
        return UsageError(f"{where} (line {event.start_mark.line + 1}): {reason}.")

    try:
        return _Reader(yaml.parse(text, Loader=_LOADER), refuse, references=True).document()
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # the latter: a lone surrogate
        mark: Any = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"{where} is not YAML{line}: {_reason(error)}.") from None


def read_setting(key: str, text: str) -> Any:
    """The value of `--set KEY=TEXT`: YAML on one line, lists and mappings in brackets; raises `UsageError` that says what to
    write."""
    given = f"--set {shlex.quote(f'{clipped(key)}={clipped(text)}')}"

    def refuse(reason: str, event: Any = None) -> UsageError:
        return UsageError(f"{given}: {reason}.")

    bare = text.strip()
    if not bare:
        raise refuse(f"no value is given. Write {setting(key, None)}, or {setting(key, '')} for an empty text")
    if not is_text(text):
        raise refuse("it is not UTF-8")
    quoted = "Write a text in quotes" + (f": {setting(key, text)}" if len(text) <= SHOWN else "")
    if both := readings(bare):
        forms = [f"--set {shlex.quote(f'{key}={form}')}" for form in both.write]
        if both.one == NOT_FINITE:
            raise refuse(f"{bare} is {NOT_FINITE}, and no key takes one. A text is written {forms[0]}")
        raise refuse(f"{bare} may be read as {both.one} or as {both.other}. Write {' or '.join(forms)}")
    try:
        events = list(yaml.parse(text, Loader=_LOADER))
        value = _Reader(events, refuse, references=False).document()
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise refuse(f"it cannot be read as YAML: {_reason(error)}. {quoted}") from None
    if len(events) < 5 or not _is_all_of(text, events[2], events[-3]):
        raise refuse(f"YAML would read only a part of it, or something else: {quoted}")
    return value


def setting(key: str, value: Any) -> str:
    """`--set KEY=VALUE` as it is typed in a shell."""
    return f"--set {shlex.quote(assignment(key, value))}"


def assignment(key: str, value: Any) -> str:
    """`KEY=VALUE`; a text stands without quotes where it is read as the same."""
    is_bare = isinstance(value, str) and _BARE.fullmatch(value) and value not in VALUES and readings(value) is None
    return f"{key}={value if is_bare else write(value)}"


def write(value: Any) -> str:
    """A value of JSON as YAML on one line that `read_setting` reads back; raises `ValueError` for what has no such form."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def clipped(text: str) -> str:
    """A text of any length and content, as a message repeats it."""
    return printable(text, SHOWN)


class _Reader:
    """Reads the value of one document off the parser's events."""

    def __init__(self, events: Iterable[Any], refuse: Refuse, *, references: bool) -> None:
        self.events, self.complain, self.references = iter(events), refuse, references
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.path: list[str] = []
        """The keys that lead to the present value."""
        self.values = 0

    def document(self) -> Any:
        """The value of a stream of one document."""
        value, documents = None, 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.refuse("a second document begins: keep one", event)
            elif isinstance(event, yaml.NodeEvent):
                value = self.value(event)
        return value

    def refuse(self, reason: str, event: Any) -> UsageError:
        """The error, with the keys that lead to what it concerns, as `train.lr_steps[0]`."""
        at = "".join(one if one.startswith("[") else f".{one}" for one in self.path).lstrip(".")
        return self.complain(f"{clipped(at)}: {reason}" if at else reason, event)

    def value(self, event: Any) -> Any:
        """The value that begins with `event`."""
        kind, before = type(event), self.values
        if event.anchor is not None and not self.references:
            raise self.refuse("YAML takes & and * for references: write the text in quotes", event)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        self._count(1, event)
        if event.tag is not None:
            raise self.refuse(f"tags are not read ({clipped(event.tag)}): write a plain value, or a text in quotes", event)
        if kind is yaml.ScalarEvent:
            value = self._scalar(event)
        elif len(self.path) > DEEPEST:
            raise self.complain(f"lists and mappings are nested more than {DEEPEST} deep", event)
        else:
            value = self._sequence() if kind is yaml.SequenceStartEvent else self._mapping()
        if event.anchor is not None:
            if event.anchor in self.anchors:
                raise self.refuse(f"the anchor &{clipped(event.anchor)} is written twice", event)
            self.anchors[event.anchor] = value, self.values - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self.refuse(f"*{clipped(event.anchor)} refers to no anchor before it", event)
        value, held = self.anchors[event.anchor]
        self._count(held, event)
        return value

    def _count(self, values: int, event: Any) -> None:
        self.values += values  # those of an alias again: a few lines of them can hold billions
        if self.values > MOST:
            raise self.refuse(f"more than {MOST:,} values", event)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.style:
            if not text.isascii() and not is_text(text):  # written as an escape
                raise self.refuse("half of a character (a lone surrogate) is not a text", event)
            return text
        try:
            return scalar(text)
        except ValueError as error:
            raise self.refuse(str(error), event) from None

    def _sequence(self) -> list[Any]:
        found: list[Any] = []
        while type(event := next(self.events)) is not yaml.SequenceEndEvent:
            self.path.append(f"[{len(found)}]")
            found.append(self.value(event))
            self.path.pop()
        return found

    def _mapping(self) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        merged: dict[Any, Any] = {}
        while type(event := next(self.events)) is not yaml.MappingEndEvent:
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refuse("a key must be a name", event)
            merges = event.value == "<<" and not event.style
            key = event.value if merges else self.value(event)
            line = self._line(event)
            self.path.append(str(key))
            if key in lines:
                where = f"line {line}" if line == lines[key] else f"lines {lines[key]} and {line}"
                raise self.refuse(f"the key is written twice, in {where}: keep one", event)
            lines[key] = line
            value = self.value(next(self.events))
            if merges:
                merged = self._merged(value, event)
            else:
                found[key] = value
            self.path.pop()
        return {**merged, **found}

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + 1

    def _merged(self, value: Any, event: Any) -> dict[Any, Any]:
        """What `<<: value` brings in: a mapping, or several, the first of which wins."""
        layers = value if isinstance(value, list) else [value]
        if not self.references or not all(isinstance(layer, dict) for layer in layers):
            raise self.refuse("it merges mappings, but here are none: put a key of that name in quotes", event)
        return {key: one for layer in reversed(layers) for key, one in layer.items()}


def _is_all_of(text: str, first: Any, last: Any) -> bool:
    """Whether a value, from its first event to its last, is the text as it stands: no comment, document marker, block or
    folded line of YAML."""
    if isinstance(first, yaml.ScalarEvent) and not first.style:
        return bool(first.value == text.strip())
    starts = text.lstrip()[:1] in tuple("[{'\"")
    return starts and not text[last.end_mark.index :].strip()


def is_text(text: str) -> bool:
    """Whether each character is whole: an argument that is not UTF-8 has lone surrogates."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def _escaped(one: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(one)
    return named or (f"\\u{ord(one):04x}" if ord(one) < 2**16 else f"\\U{ord(one):08x}")


def _reason(error: Exception) -> str:
    """What is wrong with a text that is not YAML, on one line."""
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return clipped(" ".join(str(said).split()))
