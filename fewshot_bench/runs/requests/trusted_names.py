"""Whose code a test of a finished run carries out: what is installed under the names that the record says, and what a person
names. A record is a stranger's file, so that a file or a module that it names is never imported on its word."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewshot_bench.errors import UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.request import TestRequest, line
from fewshot_bench.results.records import Record
from fewshot_bench.specs import TrainSpec
from fewshot_bench.text.printable import printable


@dataclass(frozen=True)
class Names:
    """References that may be imported."""

    method: str
    backbone: str | None
    dataset: str
    tested_on: str | None
    """Of the run's own test, where that is another and goes on being tested on."""


@dataclass(frozen=True)
class _Part:
    """Something that a record names: as its spec has it, as it was asked for, and as the person names it now."""

    group: registry.Group
    option: str
    name: str
    reference: str
    given: str | None

    @property
    def trusted(self) -> bool:
        """Whether it may be imported."""
        return self.given is not None or not registry.is_uninstalled(self.name)

    @property
    def of_a_session(self) -> bool:
        """Whether it was a class of a notebook, which has to be saved in a file before it can be named."""
        return self.name.startswith(f"{registry.NOWHERE}:")

    @property
    def suggested(self) -> str:
        """What to name."""
        return f"FILE.py:{self.name.rpartition(':')[2]}" if self.of_a_session else self.reference

    def checked(self) -> str:
        """The reference to import; raises `UsageError` where another thing is named than the record does."""
        if self.given is None:
            return self.name
        now, recorded = registry.name_of(self.given), registry.name_of(self.name)
        saved = self.of_a_session and now.rpartition(":")[2] == recorded.rpartition(":")[2]
        if now != recorded and not saved:
            kind = self.group[:-1]
            raise UsageError(f"{self.option} is {printable(now)}, but the record's {kind} is {printable(self.name)}.")
        return self.given


def names_of(record: Record, train: TrainSpec, request: TestRequest, command: Sequence[str]) -> Names:
    """What may be imported for the test of a record that `command` asks for.

    Raises `registry.NotInstalled` with the command that names the rest, `UsageError` where it names something else.
    """
    content, tested = record.content, record.results[0].get("data")
    method = _Part("methods", "--method", train.method, content["method"].get("reference", train.method), request.method)
    given = request.dataset or _if_same(request.test_dataset, train.dataset)
    data = _Part("datasets", "--dataset", train.dataset, content["data"].get("reference", train.dataset), given)
    parts = [method, data]
    backbone = other = None
    if train.backbone:
        name = train.backbone.name
        parts.append(backbone := _Part("backbones", "--backbone", name, name, request.backbone))
    if tested:
        name = tested["name"]
        goes_on = request.test_dataset is None
        given = _if_same(data.given if goes_on else request.test_dataset, name)
        if given or goes_on:
            parts.append(other := _Part("datasets", "--test-dataset", name, tested.get("reference", name), given))
    if unknown := [part for part in parts if not part.trusted]:
        raise registry.NotInstalled(_said(unknown, command))
    if request.backbone and not backbone:
        raise UsageError("The run has no backbone: leave --backbone out.")
    return Names(
        method.checked(), backbone.checked() if backbone else None, data.checked(), other.checked() if other else None
    )


def _if_same(given: str | None, name: str) -> str | None:
    """A file or module that a person names, where it is what the record calls `name`."""
    return given if given and registry.is_uninstalled(given) and registry.name_of(given) == registry.name_of(name) else None


def _said(unknown: Sequence[_Part], command: Sequence[str]) -> str:
    named = " and ".join(f"{part.group[:-1]} {printable(part.name)}" for part in unknown)
    options = [word for part in unknown for word in (part.option, part.suggested)]
    return (
        f"The record names code that is not installed ({named}), which is never imported on a record's word.\n"
        f"If you trust that file or module, name it yourself:\n{line([*command, *options])}"
    )
