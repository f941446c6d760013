"""The catalogue of data sets: what each is, as its card says, and what must be done before it can be used here.

Nothing here imports torch, so that a list appears at once.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.prepare import open_prepared
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.registry import Plugin
from fewshot_bench.table import Cell, Column, Table

State = Literal["ready", "here", "built in", "to download", "to import", "your own", "broken"]
STATES: dict[State, str] = {
    "ready": "prepared in the cache",
    "here": "its files are there; prepared at its first use",
    "built in": "needs no files; made at its first use",
    "to download": "not here; the command below fetches it",
    "to import": "not here, and no program may fetch it",
    "your own": "made of images that you name",
    "broken": "cannot be used, for the reason below",
}
"""What each state means."""

COLUMNS = (
    Column("name", "data set", "its name", leads=True),
    Column("state", "state", "whether it can be used here, and what must be done first", leads=True),
    Column("classes", "train/val/test", "training, validation and test classes", "right"),
    Column("images", "images", "images of all classes", "right"),
    Column("size", "size", "channels × height × width", "right"),
    Column("note", "→", "where its files lie, how to get them, or what is wrong with them"),
)
HEADERS = ("name", "classes (train / val / test)", "images", "size", "split", "licence", "how to get it")
"""Of the table in Markdown."""
NONE = "–"


@dataclass(frozen=True)
class Entry:
    """A data set, its card, and its state with a note: where its files lie, how to get them, or what is wrong."""

    plugin: Plugin
    card: dict[str, Any]
    state: State
    note: str

    def json(self) -> dict[str, Any]:
        """All of it, for JSON."""
        keys = ("title", "kind", "classes", "images", "shape", "splits", "split", "license", "get")
        named = {"name": self.plugin.name, "distribution": self.plugin.distribution}
        return {**named, "state": self.state, "note": self.note, **{key: self.card.get(key) for key in keys}}


def entries(root: Path | None) -> list[Entry]:
    """Every installed data set with default options, by name; one that fails is `broken` and hides no other."""
    return [_entry(plugin, root) for plugin in registry.registered("datasets").values()]


def _entry(plugin: Plugin, root: Path | None) -> Entry:
    card: dict[str, Any] = {}
    try:
        card = plugin.card()
        return Entry(plugin, card, *_standing(plugin, card, root))
    except FewshotError as error:
        return Entry(plugin, card, "broken", str(error))
    except Exception as error:  # whatever a plugin raises is its reason, and no fault of the others
        return Entry(plugin, card, "broken", f"{type(error).__name__}: {error}")


def _standing(plugin: Plugin, card: dict[str, Any], root: Path | None) -> tuple[State, str]:
    if card.get("kind") == "regression":  # functions, whose module would import torch
        return "built in", ""
    if card.get("get") and not isinstance(card.get("classes"), int):
        return "your own", _plain(card["get"])
    loaded = plugin.load()
    return standing(plugin, loaded({}, root)) if issubclass(loaded, Dataset) else ("built in", "")


def standing(plugin: Plugin, dataset: Dataset) -> tuple[State, str]:
    """The state of a data set and a note on it; raises `DataError` where its files are there, but damaged."""
    found = dataset.found()
    if found and not dataset.identified():  # nor was it prepared: its identity would be known
        return "here", str(found)
    try:
        if open_prepared(plugin.name, dataset):
            return "ready", ""
    except DataError:  # it has no identity without files
        if found:
            raise
    if found:
        return "here", str(found)
    if type(dataset).download is not Dataset.download:
        return "to download", f"fsbench data get {plugin.said}"
    return ("built in", "") if _needs_no_files(dataset) else ("to import", how_to_import(plugin))


def _needs_no_files(dataset: Dataset) -> bool:
    try:
        return not dataset.folder and bool(dataset.classes())
    except DataError:
        return False


def how_to_import(plugin: Plugin) -> str:
    """How to get a data set that no program may download, as its card says."""
    return _plain(plugin.card().get("get") or f"fsbench data import {plugin.said} PATH")


def refuse_download(plugin: Plugin) -> UsageError:
    """The error for a data set that `fsbench data get` cannot fetch."""
    return UsageError(f"{plugin.name} cannot be downloaded by a program. How to get it:\n{how_to_import(plugin)}")


def list_table(found: Iterable[Entry]) -> Table:
    """The data sets with their states, for a terminal."""
    rows = [
        {
            "name": Cell.of(entry.plugin.name),
            "state": Cell.of(entry.state),
            "classes": Cell.of(_classes(entry.card).replace(" ", "")),
            "images": Cell.of(_images(entry.card)),
            "size": Cell.of(_size(entry.card)),
            "note": Cell.of(entry.note),
        }
        for entry in found
    ]
    held = {str(row["state"].value) for row in rows}
    return Table("Data sets", COLUMNS, rows, [f"{state}: {text}" for state, text in STATES.items() if state in held])


def markdown(cards: Iterable[Plugin]) -> str:
    """The table of `datasets/README.md`, made from the cards alone."""
    lines = [_line(HEADERS), _line(["---"] * len(HEADERS)), *(_line(_cells(plugin)) for plugin in cards)]
    return "\n".join(lines)


def _cells(plugin: Plugin) -> list[str]:
    card: dict[str, Any] = {}
    with suppress(UsageError):  # a broken card leaves its row empty; the list says what is wrong with it
        card = plugin.card()
    told = [card.get(key) or NONE for key in ("split", "license", "get")]
    return [f"`{plugin.name}`", _classes(card), _images(card), _size(card), *map(str, told)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _classes(card: dict[str, Any]) -> str:
    splits = card.get("splits")
    if isinstance(splits, dict):
        return " / ".join(_number(splits.get(split, 0)) for split in ("train", "val", "test"))
    return _number(card.get("classes"))


def _images(card: dict[str, Any]) -> str:
    classes, each = card.get("classes"), card.get("images_per_class")
    product = classes * each if isinstance(classes, int) and isinstance(each, int) else None
    return _number(card.get("images", product))


def _size(card: dict[str, Any]) -> str:
    shape = card.get("shape")
    return "×".join(map(str, shape)) if isinstance(shape, list) else _number(shape)


def _number(value: Any) -> str:
    return NONE if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _plain(markdown: Any) -> str:
    return " ".join(str(markdown).replace("`", "").split())
