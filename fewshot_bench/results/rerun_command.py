"""The request that a result was made by, and the command that makes it again, built from what its record specifies.

A record is a stranger's file: the command that stands in it is never read or printed. The stored request says which recipe
and which keys were named; every value comes from the specifications.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from fewshot_bench.backbone_section import part_of
from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.errors import UsageError
from fewshot_bench.hashing import canonical_json
from fewshot_bench.metrics import is_regression
from fewshot_bench.plugins.registry import is_uninstalled
from fewshot_bench.recipes import KEYS, VALIDATION
from fewshot_bench.request import Request, TestRequest, line, words
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.specs import TestSpec, TrainSpec

ELSEWHERE = "TEST-DATA-ROOT"
"""In the place of a folder that must be said, and that a record does not name."""
_NAME = re.compile(r"(?!.*[.]ya?ml$)[\w.@+-]+")
"""A name that is no path, nor a recipe's file."""
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*")
_OTHERWISE = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf", "infinity"}
"""Words that YAML, or Python, reads as something else than text."""

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Places:
    """Folders of data on this machine, as far as they are known; a record names none."""

    data_root: Path | None = None
    test_data_root: Path | None = None
    weights: Path | None = None
    """The file of the backbone's initial values."""


def again(content: Content, result: Content, places: Places | None = None) -> str:
    """The command that makes this result of a record again, on this machine where its `places` are given."""
    here = places or Places()
    if StoredRequest.in_result(result).by == "run":
        return line(words(run_request(content, result, here)))
    run = run_request(content, content["results"][0], here)
    return f"{line(words(run))} && {line(words(test_request(content, result, here), [content['run_id']]))}"


def keeping(folder: Path, content: Content, result: Content) -> str:
    """The command that answers the queries of a result in `folder` again, and keeps the answers."""
    if result["id"] == content["results"][0]["id"]:
        elsewhere = {name: one for name, one in _tested_on(content, result, Places()).items() if name == "test_data_root"}
        request = TestRequest(keep="predictions", **elsewhere, **_to_be_named(content))
        return line(words(request, [str(folder)]))
    if StoredRequest.in_result(result).by == "run":
        return line(words(replace(run_request(content, result), keep="predictions"), out=folder.parent))
    return line(words(replace(test_request(content, result), keep="predictions"), [str(folder)]))


def request_of(content: Content) -> Request:
    """The request that a record's first result was made by, without places; raises `UsageError` where it names a file."""
    result, train = content["results"][0], content["train"]
    backbone = train["backbone"] and train["backbone"]["name"]
    if any(name and is_uninstalled(name) for name in (train["method"], train["dataset"], backbone)):
        raise UsageError("The record was made by what is not installed.")
    request = run_request(content, result)
    texts = [request.recipe, *train["data"].values(), *result["test"]["data"].values()]
    if any(isinstance(text, str) and not _NAME.fullmatch(text) for text in texts):
        raise UsageError("The record was asked for by a file.")
    return request


def run_request(content: Content, result: Content, places: Places = Places()) -> Request:
    """What `fsbench run` is asked for to train a record's run and test it as in this result."""
    train, test, stored = content["train"], result["test"], StoredRequest.in_result(result)
    regression = is_regression(result["metric"])
    default = "standard-regression" if regression else "standard"
    return Request(
        method=_method(content),
        dataset=_trained_on(content),
        ways=None if regression else test["ways"],
        shots=test["shots"],
        seed=train["seed"],
        recipe=stored.recipe,
        settings=_settings(content, result, stored, places),
        protocol=test["protocol"] if test["protocol"] != default or stored.recipe is not None else None,
        data_root=places.data_root,
        device=train["device"],
        threads=stored.threads,
        keep=stored.keep,
        **_tested_on(content, result, places),
        **_free(test),
    )


def test_request(content: Content, result: Content, places: Places = Places()) -> TestRequest:
    """What `fsbench test` is asked for to add this result to a record's run."""
    before, test, stored = content["results"][0]["test"], result["test"], StoredRequest.in_result(result)
    changed = {key: test[key] for key in ("ways", "shots", "protocol") if test[key] != before[key]}
    return TestRequest(
        settings=_settings(content, result, stored, places),
        data_root=places.data_root,
        threads=stored.threads,
        keep=stored.keep,
        **changed,
        **_to_be_named(content),
        **_tested_on(content, result, places),
        **_free(test),
    )


def _to_be_named(content: Content) -> dict[str, Any]:
    """What is not installed, which a test imports only where it is named."""
    backbone = content["train"]["backbone"]
    named = {"method": _method(content), "backbone": backbone and backbone["name"], "dataset": _trained_on(content)}
    return {option: name for option, name in named.items() if name and is_uninstalled(name)}


def _free(test: Content) -> dict[str, Any]:
    """What the protocol leaves to the request."""
    known = PROTOCOLS.get(test["protocol"])
    free = known is None or known.queries is None
    numbers = {key: test[key] if free else None for key in ("queries", "episodes")}
    return {**numbers, "sampling": test.get("sampling")}


def _named(name: str, reference: str | None) -> str:
    """What a plugin is called by: its name, or where it is not installed its file or module."""
    return reference if ":" in name and reference else name


def _method(content: Content) -> str:
    return _named(content["train"]["method"], content["method"].get("reference"))


def _trained_on(content: Content) -> str:
    return _named(content["train"]["dataset"], content["data"].get("reference"))


def _tested_on(content: Content, result: Content, places: Places) -> dict[str, Any]:
    """The data set of the test, where it is not the one that was trained on, be it one of that name which lies elsewhere."""
    data = result.get("data")
    if data is None:
        return {}
    name = _named(data["name"], data.get("reference"))
    same = name == _trained_on(content)
    return {"test_data_root": places.test_data_root or Path(ELSEWHERE)} if same else {"test_dataset": name}


def _settings(content: Content, result: Content, stored: StoredRequest, places: Places) -> tuple[str, ...]:
    """`key=value` for each key that was set and that the specs hold; of a test its own section alone."""
    if not stored.settings:
        return ()
    train = TrainSpec.model_validate(content["train"])
    test = TestSpec.model_validate(result["test"])
    held: dict[str, dict[str, Any]] = {"test": _fields(test), "test_data": test.data}
    if stored.by == "run":
        of_train, rules = _fields(train), train.validation
        held |= {
            "train": of_train,
            "validation": _fields(rules) if rules else {},
            "method": train.hparams,
            "data": train.data,
        }
    found = []
    for given in stored.settings:
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
    return tuple(dict.fromkeys(found))


def _set_parts(train: TrainSpec) -> list[str]:
    """The parts of the backbone, beside its name, that are not as they are where nothing is said."""
    if train.backbone is None:
        return []
    dumped = train.backbone.model_dump()
    plain = [part for part in ("weights", "frozen") if part in dumped]
    return plain + [f"options.{key}" for key in train.backbone.options]


def _of_backbone(content: Content, train: TrainSpec, part: str, places: Places) -> Any:
    """The value of a part of the backbone; of a file of weights its name, or where it lies here. None: it has none."""
    if train.backbone is None:
        return None
    if part == "weights":
        bare = content["method"].get("weights_file")
        return str(places.weights) if places.weights else bare and PurePath(bare).name
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
