"""The command that makes a result again, built from what its record specifies.

The command that stands in a record is a stranger's text: it is never printed, and only where an older record has nothing
else, the recipe's name and the names of the changed settings are taken from it. Values come from the specs.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from fewshot_bench.backbone_section import part_of
from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.hashing import canonical_json
from fewshot_bench.metrics import is_regression
from fewshot_bench.plugins.registry import is_uninstalled
from fewshot_bench.recipes import KEYS, VALIDATION
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.text.printable import printable

ELSEWHERE = "TEST-DATA-ROOT"
"""In the place of a folder that must be said, and that a record does not name."""
_SETTING = re.compile(r"[A-Za-z_][\w.-]{0,199}")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*")
_OTHERWISE = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf", "infinity"}
"""Words that YAML, or Python, reads as something else than text."""

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """By what a result was asked for: `run` or `test`, the recipe, the keys that `--set` named, the threads."""

    by: str = "run"
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    threads: int | None = None

    @classmethod
    def of(cls, content: Content, result: Content) -> "Asked":
        """What a record says."""
        if (said := result.get("asked")) is not None:
            return cls(said.get("by", "run"), said.get("recipe"), tuple(said.get("settings", ())), said.get("threads"))
        return _told_by(result.get("command") or content["provenance"].get("command") or "")

    @classmethod
    def by_settings(cls, by: str, recipe: str | None, settings: tuple[str, ...], threads: int | None = None) -> "Asked":
        """What a command line says: `settings` are `key=value`."""
        names = (setting.partition("=")[0].strip() for setting in settings)
        return cls(by, recipe, tuple(name for name in names if _SETTING.fullmatch(name)), threads)

    def as_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        recipe = {"recipe": self.recipe} if self.by == "run" else {}
        threads = {} if self.threads is None else {"threads": self.threads}
        return {"by": self.by, **recipe, "settings": list(self.settings), **threads}


def _told_by(command: str) -> Asked:
    """What the command in an older record tells."""
    run, both, test = command.partition(" && ")
    try:
        words = shlex.split(test if both else run)
    except ValueError:
        return Asked()
    pairs = list(pairwise(words))
    settings = [value.partition("=")[0] for option, value in pairs if option == "--set"]
    recipe = next((value for option, value in pairs if option == "--recipe"), None)
    return Asked("test" if both else "run", recipe, tuple(one for one in settings if _SETTING.fullmatch(one)))


@dataclass(frozen=True)
class Places:
    """Folders of data on this machine, as far as they are known; a record names none."""

    data_root: Path | None = None
    test_data_root: Path | None = None
    weights: Path | None = None
    """The file of the backbone's initial values."""


def again(content: Content, result: Content, places: Places | None = None) -> str:
    """The command that makes this result of a record again, on this machine where its `places` are given."""
    first = content["results"][0]
    root = ["--data-root", str(places.data_root)] if places and places.data_root else []
    elsewhere = str(places.test_data_root) if places and places.test_data_root else ELSEWHERE
    asked = Asked.of(content, result)
    of_run = Asked.of(content, first) if asked.by == "test" else asked
    made = result if asked.by == "run" else first
    commands = [["fsbench", "run", *_words(run_options(content, made, of_run, places), elsewhere)]]
    if asked.by == "test":
        commands.append(
            ["fsbench", "test", content["run_id"], *_words(_test_options(content, first, result, asked), elsewhere)]
        )
    return " && ".join(shlex.join(printable(word, 1000) for word in [*words, *root]) for words in commands)


def _words(options: Mapping[str, Any], elsewhere: str) -> list[str]:
    pairs = [(option, value) for option, value in options.items() if value is not None and option != "settings"]
    words = [word for option, value in pairs for word in (f"--{option.replace('_', '-')}", str(value))]
    words = [elsewhere if word == ELSEWHERE else word for word in words]
    return words + [word for setting in options["settings"] for word in ("--set", setting)]


def run_options(content: Content, result: Content, asked: Asked, places: Places | None = None) -> dict[str, Any]:
    """The options of `fsbench run` that ask for a result, and under `settings` what `--set` takes."""
    train, test = content["train"], result["test"]
    default = "standard-regression" if _is_regression(result) else "standard"
    return {
        "method": _method(content),
        "dataset": _trained_on(content),
        **_tested_on(content, result),
        "ways": None if _is_regression(result) else test["ways"],
        "shots": test["shots"],
        "protocol": test["protocol"] if test["protocol"] != default or asked.recipe is not None else None,
        **_free(test),
        "recipe": asked.recipe,
        "seeds": train["seed"],
        "device": train["device"],
        "threads": asked.threads,
        "settings": _settings(content, result, asked, places),
    }


def _test_options(content: Content, first: Content, result: Content, asked: Asked) -> dict[str, Any]:
    before, test = first["test"], result["test"]
    changed = {key: test[key] if test[key] != before[key] else None for key in ("ways", "shots", "protocol")}
    return {
        **_to_be_named(content),
        **_tested_on(content, result),
        **changed,
        **_free(test),
        "threads": asked.threads,
        "settings": _settings(content, result, asked),
    }


def _to_be_named(content: Content) -> dict[str, Any]:
    """What is not installed, which a test imports only where it is named."""
    backbone = content["train"]["backbone"]
    named = {"method": _method(content), "backbone": backbone and backbone["name"], "dataset": _trained_on(content)}
    return {option: name for option, name in named.items() if name and is_uninstalled(name)}


def _is_regression(result: Content) -> bool:
    return is_regression(result["metric"])


def _free(test: Content) -> dict[str, Any]:
    """What the protocol leaves to the request."""
    known = PROTOCOLS.get(test["protocol"])
    free = known is None or known.queries is None
    return {key: test[key] if free else None for key in ("queries", "episodes")}


def _named(name: str, reference: str | None) -> str:
    """What a plugin is called by: its name, or where it is not installed its file or module."""
    return reference if ":" in name and reference else name


def _method(content: Content) -> str:
    return _named(content["train"]["method"], content["method"].get("reference"))


def _trained_on(content: Content) -> str:
    return _named(content["train"]["dataset"], content["data"].get("reference"))


def _tested_on(content: Content, result: Content) -> dict[str, Any]:
    """The data set of the test, where it is not the one that was trained on, be it one of that name which lies elsewhere."""
    data = result.get("data")
    if data is None:
        return {}
    name = _named(data["name"], data.get("reference"))
    return {"test_data_root": ELSEWHERE} if name == _trained_on(content) else {"test_dataset": name}


def _settings(content: Content, result: Content, asked: Asked, places: Places | None = None) -> list[str]:
    """`key=value` for each key that was set and that the specs hold; of a test its own section alone."""
    if not asked.settings:
        return []
    train = TrainSpec.model_validate(content["train"])
    test = TestSpec.model_validate(result["test"])
    held: dict[str, dict[str, Any]] = {"test": _fields(test), "test_data": test.data}
    if asked.by == "run":
        of_train, rules = _fields(train), train.validation
        held |= {
            "train": of_train,
            "validation": _fields(rules) if rules else {},
            "method": train.hparams,
            "data": train.data,
        }
    found = []
    for given in asked.settings:
        if given == VALIDATION:
            found.append(f"{VALIDATION}=none")
            continue
        if given in ("backbone", "train.backbone"):
            parts = [("", "name"), *((f".{part}", part) for part in _set_parts(train))]
            found += [f"{given}{end}={_value(_of_backbone(content, train, part, places))}" for end, part in parts]
            continue
        if (part := part_of(given)) is not None:
            value = _of_backbone(content, train, part, places)
            found += [f"{given}={_value(value)}"] if value is not None else []
            continue
        section, _, key = given.partition(".")
        owners = [section] if key and key in held.get(section, {}) else [name for name in held if given in held[name]]
        if owners:
            found.append(f"{given}={_value(held[owners[0]][key if owners == [section] else given])}")
    return list(dict.fromkeys(found))


def _set_parts(train: TrainSpec) -> list[str]:
    """The parts of the backbone, beside its name, that are not as they are where nothing is said."""
    if train.backbone is None:
        return []
    dumped = train.backbone.model_dump()
    plain = [part for part in ("weights", "frozen") if part in dumped]
    return plain + [f"options.{key}" for key in train.backbone.options]


def _of_backbone(content: Content, train: TrainSpec, part: str, places: Places | None) -> Any:
    """The value of a part of the backbone; of a file of weights its name, or where it lies here. None: it has none."""
    if train.backbone is None:
        return None
    if part == "weights":
        bare = content["method"].get("weights_file")
        return str(places.weights) if places and places.weights else bare and PurePath(bare).name
    _, _, option = part.partition("options.")
    return train.backbone.options.get(option) if option else getattr(train.backbone, part, None)


def _fields(spec: Any) -> dict[str, Any]:
    """The values of a section's keys, those that are left out in JSON too."""
    section = {"TrainSpec": "train", "TestSpec": "test"}.get(type(spec).__name__, "validation")
    return {key: getattr(spec, key) for key in type(spec).model_fields if key in KEYS[section]}


def _value(value: Any) -> str:
    """A setting's value as it is written after `--set`."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _OTHERWISE
    return str(value) if plain else canonical_json(value)
