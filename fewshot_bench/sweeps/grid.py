"""A grid: the values whose combinations are the runs of a sweep, read as the command line reads them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, ValidationInfo

from fewshot_bench import arguments
from fewshot_bench.errors import UsageError, reason_of, unknown
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.inputs.plain_files import LARGEST_TEXT, read_regular
from fewshot_bench.specs import TestSpec, TrainSpec, Validation
from fewshot_bench.text.printable import printable

MOST = 100_000
"""Combinations of a grid: more are a mistake."""
_SECTIONS: Mapping[str, type[BaseModel]] = {"train": TrainSpec, "validation": Validation, "test": TestSpec}
_MEANT = {
    **{f"{one[:-1]}": one for one in ("methods", "datasets", "ways", "shots", "seeds", "recipes")},
    **{"protocols": "protocol", "sets": "set", "settings": "set", "includes": "include", "excludes": "exclude"},
}
"""Keys that are written otherwise, and how."""


def _values(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError("no value is given: write some, or leave the key out.")
    return values


def _words(value: Any) -> tuple[str, ...]:
    return tuple(arguments.word("a value", one) for one in _values(value))


def _recipes(value: Any) -> tuple[str | None, ...]:
    return tuple(None if one is None else arguments.word("a value", one) for one in _values(value))


def _whole(value: Any) -> tuple[int, ...]:
    return tuple(arguments.whole("a value", one) for one in _values(value))


def _ways(value: Any) -> tuple[int | None, ...]:
    return tuple(None if one is None else arguments.whole("a value", one) for one in _values(value))


def _seeds(value: Any) -> tuple[int, ...]:
    texts = [one if isinstance(one, str) else str(arguments.whole("a seed", one)) for one in _values(value)]
    return tuple(arguments.parse_seeds(",".join(texts), "It"))


def _settings(value: Any) -> dict[str, tuple[str, ...]]:
    """The settings `key=value` of each key of `--set`, by the key; a list is a list of values."""
    if not isinstance(value, dict):
        raise UsageError("it maps keys of --set to their values, as {train.lr: [0.01, 0.001]}.")
    found: dict[str, tuple[str, ...]] = {}
    for key in sorted(value, key=str):
        given = value[arguments.word("a key", key)]
        if given == []:
            raise UsageError(f"{key}: no value is given: write some, or leave the key out.")
        _check_bracket(key, given)
        found[key] = tuple(plain_yaml.assignment(key, one) for one in (given if isinstance(given, list) else [given]))
    return found


def _check_bracket(key: str, given: Any) -> None:
    """Refuse a list that is one value of a key which takes lists; raises `UsageError`."""
    section, _, name = key.rpartition(".")
    for kind in [_SECTIONS[section]] if section in _SECTIONS else [] if section else _SECTIONS.values():
        if isinstance(given, list) and name in kind.model_fields:
            takes: TypeAdapter[Any] = TypeAdapter(kind.model_fields[name].annotation or Any)
            if _fits(takes, given) and not any(_fits(takes, one) for one in given):
                once, apart = plain_yaml.write([given]), plain_yaml.write(given)
                raise UsageError(
                    f"{key} takes a list, and {plain_yaml.clipped(apart)} may be read as one value or as {len(given)}.\n"
                    f"Write one more bracket for one value: {key}: {plain_yaml.clipped(once)}"
                )


def _fits(takes: TypeAdapter[Any], value: Any) -> bool:
    try:
        takes.validate_python(value)
    except ValidationError:
        return False
    return True


def _by(read: Callable[[Any], Any]) -> BeforeValidator:
    """How pydantic reads a field: by a function, whose errors get the field's name."""

    def reader(value: Any, info: ValidationInfo) -> Any:
        try:
            return read(value)
        except UsageError as error:
            raise UsageError(f"{info.field_name}: {error}") from None

    return BeforeValidator(reader)


Words = Annotated[tuple[str, ...], _by(_words)]
Recipes = Annotated[tuple[str | None, ...], _by(_recipes)]
Ways = Annotated[tuple[int | None, ...], _by(_ways)]
Numbers = Annotated[tuple[int, ...], _by(_whole)]
Seeds = Annotated[tuple[int, ...], _by(_seeds)]
Values = Annotated[dict[str, tuple[str, ...]], _by(_settings)]


@dataclass(frozen=True)
class Combination:
    """One value of each key."""

    method: str
    dataset: str
    ways: int | None
    shots: int
    recipe: str | None
    settings: tuple[str, ...]
    """`key=value`, in the order of the keys."""
    seed: int


class Part(BaseModel):
    """Which combinations an entry of `include` or `exclude` means: those that have one of its values in each of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: Words | None = None
    datasets: Words | None = None
    ways: Ways | None = None
    shots: Numbers | None = None
    seeds: Seeds | None = None
    recipes: Recipes | None = None
    set: Values | None = None

    def holds(self, one: Combination) -> bool:
        """Whether it means a combination."""
        named = (self.methods, self.datasets, self.ways, self.shots, self.seeds, self.recipes)
        values = (one.method, one.dataset, one.ways, one.shots, one.seed, one.recipe)
        plain = all(given is None or value in given for given, value in zip(named, values, strict=True))
        return plain and all(any(each in one.settings for each in given) for given in (self.set or {}).values())


class Grid(BaseModel):
    """What a grid file holds. Where several keys have several values, each goes with each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: Words
    datasets: Words = ("glyphs",)
    ways: Ways = (None,)
    shots: Numbers = (1,)
    seeds: Seeds = (0,)
    recipes: Recipes = (None,)
    set: Values = {}
    protocol: str | None = None
    include: tuple[Part, ...] = ()
    exclude: tuple[Part, ...] = ()

    def combinations(self) -> list[Combination]:
        """What is to be run: all methods under the first seed before any under the next. Of `include` only what one of its
        entries means is kept, of `exclude` nothing. Raises `UsageError` where an entry means nothing, or nothing is left."""
        every = list(self._every())
        for name, parts in (("include", self.include), ("exclude", self.exclude)):
            for at, part in enumerate(parts):
                if not any(map(part.holds, every)):
                    said = plain_yaml.clipped(str(part.model_dump(exclude_none=True)))
                    raise UsageError(f"{name}[{at}] means none of {_counted(every)}: {said}.")
        kept = [one for one in every if not self.include or any(part.holds(one) for part in self.include)]
        left = [one for one in kept if not any(part.holds(one) for part in self.exclude)]
        if not left:
            raise UsageError(f"exclude leaves nothing of {_counted(kept)}.")
        return left

    def _every(self) -> Iterator[Combination]:
        count = prod(
            map(len, (self.methods, self.datasets, self.ways, self.shots, self.seeds, self.recipes, *self.set.values()))
        )
        if count > MOST:
            raise UsageError(f"It has {count:,} combinations, more than {MOST:,}: make several grids.")
        settings = list(product(*self.set.values()))
        axes = self.seeds, self.datasets, self.ways, self.shots, self.recipes, settings, self.methods
        for seed, dataset, ways, shots, recipe, chosen, method in product(*axes):
            yield Combination(method, dataset, ways, shots, recipe, chosen, seed)


def read_grid(path: Path) -> Grid:
    """The grid of a file; raises `UsageError` that names the file and the key, or the line."""
    named = printable(str(path))
    try:
        text = read_regular(path, LARGEST_TEXT).decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"No such grid: {named}.") from None
    except OSError as error:
        raise UsageError(f"{named} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{named} is not UTF-8.") from None
    content = plain_yaml.read(text, named)
    if content in (None, {}):
        raise UsageError(f"{named} is empty: a grid names at least methods, as methods: [maml, prototypical-networks].")
    if not isinstance(content, dict):
        raise UsageError(f"{named} must be a mapping of keys to values, as methods: [maml], not {type(content).__name__}.")
    _check_keys(content, Grid, named)
    for name in ("include", "exclude"):
        for entry in _entries(content, name, named):
            _check_keys(entry, Part, f"{named}, {name}")
    if "methods" not in content:
        raise UsageError(f"{named} names no methods: add methods: [maml, prototypical-networks].")
    return _checked(content, named)


def _entries(content: dict[Any, Any], name: str, named: str) -> list[dict[Any, Any]]:
    entries = content.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one for one in entries):
        raise UsageError(f"{named}: {name} is a list of mappings, as [{{methods: maml, shots: 5}}].")
    return entries


def _check_keys(content: dict[Any, Any], kind: type[BaseModel], where: str) -> None:
    for key in content:
        if key in _MEANT and _MEANT[key] in kind.model_fields:
            raise UsageError(f"{where}: {key} is written {_MEANT[key]}.")
        if key not in kind.model_fields:
            raise unknown(f"key in {where}", str(key), kind.model_fields)


def _checked(content: dict[Any, Any], named: str) -> Grid:
    try:
        return Grid.model_validate(content)
    except UsageError as error:
        raise UsageError(f"{named}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise UsageError(f"{named}: {at}: {first['msg']}, got {arguments.shown(first['input'])}.") from None


def _counted(of: list[Combination]) -> str:
    return f"{len(of):,} run{'s' if len(of) > 1 else ''}"
