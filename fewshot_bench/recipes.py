"""From a request to complete specs: defaults <- recipe <- `--set key=value`.

A recipe is an entry of a card, `recipes: {<name>: [{for: {dataset, ways, shots}, method: {...}, train: {...}, ...}]}`;
the first entry of that name whose `for` matches is taken, and a key that `for` leaves out matches everything. A recipe file
(`--recipe my.yaml`) holds the sections themselves.
"""

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fewshot_bench.backbone_section import part_of, set_part
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.plugins.registry import Plugin, find, is_uninstalled, read_yaml, registered
from fewshot_bench.specs import Kind, TestSpec, TrainSpec, Validation

Sections = dict[str, dict[str, Any]]

DEFAULTS: Mapping[Kind, Sections] = {
    "classification": {
        "method": {},
        "data": {},
        "train": {"backbone": "conv4-64", "queries": 15, "meta_batch_size": 1, "updates": 1000},
        "validation": {"every": 200, "episodes": 100, "queries": 15},
        "test": {"protocol": "standard"},
    },
    "regression": {
        "method": {},
        "data": {},
        "train": {"backbone": "mlp-40", "queries": 10, "normalisation": "none", "meta_batch_size": 4, "updates": 10000},
        "validation": {"every": 2000, "episodes": 200, "queries": 100},
        "test": {"protocol": "standard-regression"},
    },
}
"""The settings where a recipe gives none, by kind of task. Ways and shots follow the request."""

SECTIONS = ("method", "data", "train", "validation", "test", "test_data")

VALIDATION = "validation"
OFF = (None, "none")
"""Values of `validation` that mean a training without validation."""
_FIXED = {"method", "hparams", "dataset", "data", "validation", "seed", "device"}  # set elsewhere than in a section
KEYS = {
    "train": set(TrainSpec.model_fields) - _FIXED,
    "validation": set(Validation.model_fields),
    "test": set(TestSpec.model_fields) - {"dataset", "data"},
}
"""The keys of the sections whose keys are known; those of `method` and `data` are the plugins' own."""

OPTIONS = {
    "train.seed": "--seeds",  # `seed` alone is the test's
    "seeds": "--seeds",
    **dict.fromkeys(("device", "train.device"), "--device"),
    **dict.fromkeys(("dataset", "train.dataset"), "--dataset"),
    **dict.fromkeys(("method", "train.method"), "--method"),
    **{key.replace("-", mark): f"--{key}" for mark in "-_" for key in ("test-dataset", "data-root", "test-data-root")},
    **dict.fromkeys(("test.dataset",), "--test-dataset"),
    **{key: f"--{key}" for key in ("recipe", "out")},
}
"""Keys that are not set by `--set` but by an option of the command."""


MEANS = {"method": " (the hyper-parameter)", "data": " (the data set's)", "test_data": " (the test's data set's)"}
EVERYWHERE = {
    "ways": "; --ways sets all of them",
    "shots": "; --shots sets all of them",
    "queries": "; --queries is the test's",
    "episodes": "; --episodes is the test's",
}
"""What a message adds on the option that belongs to a key."""


def recipe_sections(plugin: Plugin, recipe: str | None, dataset: str, ways: int, shots: int) -> Sections:
    """The sections of the recipe that the request selects; `recipe` None is `default` where the card has any.

    Raises `UsageError` where the recipe does not exist, does not match, or is malformed, saying which exist.
    """
    if recipe is not None and recipe.endswith((".yaml", ".yml")):
        return _checked(read_yaml(Path(recipe)), recipe)
    recipes = plugin.card().get("recipes", {})
    if recipe is None and not recipes:
        return {}
    name, at, like = (recipe or "default").partition("@")
    see = f"fsbench show {plugin.said}"
    if name not in recipes and (os.sep in name or Path(str(recipe)).is_file()):
        raise UsageError(f"--recipe {shlex.quote(str(recipe))}: a file of your own must end in .yaml (or .yml). See: {see}")
    if name not in recipes:
        raise unknown(f"recipe of {plugin.name}", name, recipes, see=see)
    if at:
        _check_like(str(recipe), like, [entry.get("for", {}).get("dataset") for entry in recipes[name]])
    asked = {"dataset": like or dataset, "ways": ways, "shots": shots}
    for entry in recipes[name]:
        if not _unlike(entry, asked):
            return _checked({k: v for k, v in entry.items() if k not in ("for", "source")}, f"The card of {plugin.name!r}")
    size = f"{shots}-shot" if ways == 1 else f"{ways}-way {shots}-shot"  # functions have no ways
    raise UsageError(
        f"{plugin.name} has no recipe {name!r} for {asked['dataset']}, {size}. "
        f"There are: {'; '.join(map(describe_for, recipes[name]))}.\n"
        f"Take the settings of another data set with --recipe {name}@DATASET, or your own file with --recipe my.yaml.\n"
        f"See: {see}"
    )


def _check_like(recipe: str, like: str, named: Iterable[str | None]) -> None:
    """Raises `UsageError` where there is no data set as that of `@DATASET`: an entry for any data set would match it."""
    if not like:
        raise UsageError(f"--recipe {shlex.quote(recipe)} names no data set after @.\nSee: fsbench list datasets")
    installed = [*registered("datasets"), *filter(None, named)]
    for one in [like] if like in installed or is_uninstalled(like) else like.split("+"):
        if is_uninstalled(one):
            find("datasets", one)
        elif one not in installed:
            raise unknown("dataset", one, installed, see="fsbench list datasets")


def _unlike(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    """The keys in which an entry does not match the request."""
    return {key for key, value in entry.get("for", {}).items() if asked.get(key) != value}


def describe_for(entry: Mapping[str, Any]) -> str:
    """What an entry is for, in words."""
    wanted = entry.get("for", {})
    size = " ".join(f"{wanted[key]}-{key[:-1]}" for key in ("ways", "shots") if key in wanted)
    return " ".join(filter(None, [wanted.get("dataset", "any data set"), size]))


def apply_settings(
    sections: Sections, settings: Iterable[str], own: Mapping[str, Iterable[str]], options: Mapping[str, Any] | None = None
) -> Sections:
    """`--set key=value` over the sections, and over both the `options` of section `test` that are not None; `own` holds the
    keys of `method` and `data`.

    A key is `section.key`, or `key` alone where one section has it. Raises `UsageError` with the nearest valid keys, or
    where an option and a setting differ.
    """
    said = {key: value for key, value in (options or {}).items() if value is not None}
    keys = {**KEYS, **{name: set(names) for name, names in own.items()}}
    placed = ((_place(given, keys), value) for given, value in map(read_setting, settings))
    places = each_once(placed)
    if VALIDATION in places:
        _without_validation(sections, places, places.pop(VALIDATION))
    for place, value in places.items():
        section, _, key = place.partition(".")
        if section == "test" and said.get(key, value) != value:
            both = f"--{key} {said[key]} and {plain_yaml.setting(place, value)}"
            raise UsageError(f"{both} contradict each other: keep one.")
        if (part := part_of(place)) is not None:
            set_part(sections["train"], part, value)
            continue
        sections[section][key] = value
    sections["test"] |= said
    return sections


def _without_validation(sections: Sections, places: Mapping[str, Any], value: Any) -> None:
    """`--set validation=none`: no validation, and the last weights unless the selection is set too; raises `UsageError`."""
    if value not in OFF:
        raise UsageError(
            f"{plain_yaml.setting(VALIDATION, value)}: validation is a section. Set one of its keys, as validation.ways, or "
            "--set validation=none to train without validation."
        )
    if said := [place for place in places if place.startswith(f"{VALIDATION}.")]:
        raise UsageError(f"--set validation=none and {said[0]} contradict each other: keep one.")
    sections["train"]["validation"] = None
    if "train.selection" not in places:
        sections["train"]["selection"] = "last"


def each_once(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by key; raises `UsageError` where one key is given two values."""
    found: dict[str, Any] = {}
    for key, value in settings:
        if key in found and (found[key] != value or type(found[key]) is not type(value)):
            both = " and ".join(plain_yaml.clipped(plain_yaml.write(one)) for one in (found[key], value))
            raise UsageError(f"--set gives {key} twice, as {both}: keep one.")
        found[key] = value
    return found


def read_setting(setting: str) -> tuple[str, Any]:
    """`key=value` as its key and its value; raises `UsageError` for any other text."""
    given, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set needs key=value, got {setting!r}.")
    key = given.strip()
    return key, plain_yaml.read_setting(key, text)


def merge(*layers: Sections) -> Sections:
    """The sections of several layers, later ones over earlier ones."""
    return {name: {k: v for layer in layers for k, v in layer.get(name, {}).items()} for name in SECTIONS}


def _place(given: str, keys: Mapping[str, set[str]]) -> str:
    """The section and the key that a setting names, `train.backbone.PART` for a part of the backbone."""
    if given == VALIDATION:
        return given
    part = part_of(given)
    return f"train.backbone.{part}" if part is not None else ".".join(_locate(given, keys))


def _locate(given: str, keys: Mapping[str, set[str]]) -> tuple[str, str]:
    section, dot, key = given.partition(".")
    if dot and section in keys and key in keys[section]:
        return section, key
    owners = [name for name, names in keys.items() if given in names]
    if len(owners) == 1:
        return owners[0], given
    if owners:
        each = " or ".join(f"{owner}.{given}{MEANS.get(owner, '')}" for owner in sorted(owners, key=SECTIONS.index))
        option = EVERYWHERE.get(given, "")
        raise UsageError(f"{given!r} is a key of several sections: write {each}{option}.")
    if given in OPTIONS:
        raise UsageError(f"{given!r} is not a key of --set: use the option {OPTIONS[given]}.")
    every = {name for section, names in keys.items() for key in names for name in (key, f"{section}.{key}")}
    raise unknown("key", given, every, see="fsbench run --method NAME --dry-run (prints every key)")


def _checked(sections: Mapping[str, Any], where: str) -> Sections:
    for name, values in sections.items():
        if name not in SECTIONS:
            raise unknown(f"section in {where}", str(name), SECTIONS)
        if name == VALIDATION and values in OFF:
            continue
        if not isinstance(values, dict):
            raise UsageError(f"{where}: section {name!r} must be a mapping, not {type(values).__name__}.")
        for key in values:
            if not isinstance(key, str):
                raise UsageError(f"{where}: a key of section {name!r} must be a name, got {key!r}.")
            if name in KEYS and key not in KEYS[name]:
                raise unknown(f"key of section {name!r} in {where}", key, KEYS[name])
    found = {name: dict(values) for name, values in sections.items() if isinstance(values, dict)}
    if VALIDATION in sections and VALIDATION not in found:
        found["train"] = {"selection": "last", **found.get("train", {}), "validation": None}
    return found
