"""From a request to complete specs: defaults <- recipe <- `--set key=value`.

A recipe is an entry of a card, `recipes: {<name>: [{for: {dataset, ways, shots}, method: {...}, train: {...}, ...}]}`;
the first entry of that name whose `for` matches is taken, and a key that `for` leaves out matches everything. A recipe file
(`--recipe my.yaml`) holds the sections themselves.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.plugins import Plugin, read_yaml
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
"""What holds where a recipe is silent, by kind of task; ways and shots follow the request."""

SECTIONS = ("method", "data", "train", "validation", "test", "test_data")

_FIXED = {"method", "hparams", "dataset", "data", "validation", "seed", "device"}  # said elsewhere than in a section
KEYS = {
    "train": set(TrainSpec.model_fields) - _FIXED,
    "validation": set(Validation.model_fields),
    "test": set(TestSpec.model_fields) - {"dataset", "data"},
}
"""The keys of the sections whose keys are known; those of `method` and `data` are the plugins' own."""

OPTIONS = {
    "train.seed": "--seeds",  # `seed` alone is the test's
    "train.device": "--device",
    "device": "--device",
    "train.dataset": "--dataset",
    "dataset": "--dataset",
}
"""What is said by an option of the command."""


def recipe_sections(plugin: Plugin, recipe: str | None, dataset: str, ways: int, shots: int) -> Sections:
    """The sections of the recipe that the request selects; `recipe` None is `default` where the card has any.

    Raises `UsageError` where the recipe does not exist, does not match, or is malformed, saying which exist.
    """
    if recipe is not None and recipe.endswith((".yaml", ".yml")):
        return _checked(read_yaml(Path(recipe)), recipe)
    recipes = plugin.card().get("recipes", {})
    if recipe is None and not recipes:
        return {}
    name, _, like = (recipe or "default").partition("@")
    see = f"fsbench show {plugin.name}"
    if name not in recipes:
        raise unknown(f"recipe of {plugin.name}", name, recipes, see=see)
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


def _unlike(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    """In what an entry is for something else than what was asked."""
    return {key for key, value in entry.get("for", {}).items() if asked.get(key) != value}


def describe_for(entry: Mapping[str, Any]) -> str:
    """What an entry is for, in words."""
    wanted = entry.get("for", {})
    size = " ".join(f"{wanted[key]}-{key[:-1]}" for key in ("ways", "shots") if key in wanted)
    return " ".join(filter(None, [wanted.get("dataset", "any data set"), size]))


def apply_settings(sections: Sections, settings: Iterable[str], own: Mapping[str, Iterable[str]]) -> Sections:
    """`--set key=value` over the sections; `own` holds the keys of `method` and `data`.

    A key is `section.key`, or `key` alone where one section has it. Raises `UsageError` with the nearest valid keys.
    """
    keys = {**KEYS, **{name: set(names) for name, names in own.items()}}
    for setting in settings:
        given, value = read_setting(setting)
        section, key = _locate(given, keys)
        sections[section][key] = value
    return sections


def read_setting(setting: str) -> tuple[str, Any]:
    """`key=value` as its key and its value; raises `UsageError` where it is none."""
    given, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set needs key=value, got {setting!r}.")
    return given.strip(), _plain(_value(text))


def merge(*layers: Sections) -> Sections:
    """The sections of several layers, later ones over earlier ones."""
    return {name: {k: v for layer in layers for k, v in layer.get(name, {}).items()} for name in SECTIONS}


def _locate(given: str, keys: Mapping[str, set[str]]) -> tuple[str, str]:
    section, dot, key = given.partition(".")
    if (option := OPTIONS.get(given)) is not None:
        raise UsageError(f"{given!r} is not set by --set but by {option}.")
    if dot and section in keys and key in keys[section]:
        return section, key
    owners = [name for name, names in keys.items() if given in names]
    if len(owners) == 1:
        return owners[0], given
    if owners:
        raise UsageError(f"{given!r} is a key of several sections: say {' or '.join(f'{o}.{given}' for o in owners)}.")
    every = {name for section, names in keys.items() for key in names for name in (key, f"{section}.{key}")}
    raise unknown("key", given, every, see="fsbench run --method NAME --dry-run (prints every key)")


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _is_number(value) else value


def _is_number(text: str) -> bool:  # YAML 1.1 reads 1e-3 as text
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked(sections: Mapping[str, Any], where: str) -> Sections:
    for name, values in sections.items():
        if name not in SECTIONS:
            raise unknown(f"section in {where}", str(name), SECTIONS)
        if not isinstance(values, dict):
            raise UsageError(f"{where}: section {name!r} must be a mapping, not {type(values).__name__}.")
        for key in values:
            if not isinstance(key, str):
                raise UsageError(f"{where}: a key of section {name!r} must be a name, got {key!r}.")
            if name in KEYS and key not in KEYS[name]:
                raise unknown(f"key of section {name!r} in {where}", key, KEYS[name])
    return {name: {key: _plain(value) for key, value in values.items()} for name, values in sections.items()}
