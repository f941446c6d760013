"""The settings that a row of a table stands for, and those by which rows are told apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fewshot_bench.hashing import canonical_json
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.specs import BackboneSpec

_IN_THE_ROW = {
    *("method", "backbone", "batch_size", "split"),
    *("ways", "max_ways", "shots", "max_shots", "imbalanced", "unlabelled", "distractors"),
}
"""Training settings that have a column of their own."""


def row_differences(results: Sequence[Pooled]) -> list[dict[str, Any]]:
    """The settings in which each result differs from rows that would otherwise look the same."""
    settings = [_settings(pooled) for pooled in results]
    looks = [_looks(pooled) for pooled in results]
    alike: dict[str, list[dict[str, str]]] = defaultdict(list)
    for look, one in zip(looks, settings, strict=True):
        alike[look].append({name: canonical_json(value) for name, value in one.items()})
    varying: dict[str, set[str]] = {}
    for look, group in alike.items():
        names = {name for one in group for name in one}
        varying[look] = {name for name in names if len({one.get(name) for one in group}) > 1}
    return [
        {name: value for name, value in one.items() if name in varying[look]}
        for look, one in zip(looks, settings, strict=True)
    ]


def differing(results: Sequence[Pooled]) -> list[str]:
    """The settings in which each result differs from the others of its method, as `--set` has them; their code and data
    where nothing else differs."""
    plain = ("code", "source", "engine", "test source", "test engine", "data", "digest")
    flat = [{**_shown(pooled), **_settings(pooled)} for pooled in results]
    texts = [{name: option_text(value) for name, value in one.items()} for one in flat]
    said = []
    for pooled, own in zip(results, texts, strict=True):
        same = [t for other, t in zip(results, texts, strict=True) if other.train["method"] == pooled.train["method"]]
        varying = [name for name in own if len({one.get(name) for one in same}) > 1]
        named = [name for name in varying if name not in plain] or varying
        said.append(", ".join(f"{name}={own[name]}" for name in named))
    return said


def backbone_text(backbone: Mapping[str, Any] | None) -> str | None:
    """The network of a training in words: `conv4-64`, or `conv4-64 (frozen)`."""
    return str(BackboneSpec.model_construct(**backbone)) if backbone else None


def option_text(value: Any) -> str:
    """A setting's value as it is written after `--set`."""
    return value if isinstance(value, str) else canonical_json(value)


def _shown(pooled: Pooled) -> dict[str, Any]:
    """The settings that have a column in the tables, but for the method."""
    train = {name: pooled.train.get(name) for name in sorted(_IN_THE_ROW - {"method", "backbone"})}
    named = {"backbone": backbone_text(pooled.train["backbone"]), "test.normalisation": pooled.test["normalisation"]}
    return {**named, **_flat(train, "train.")}


def _looks(pooled: Pooled) -> str:
    """What the table's own columns say of a row's settings."""
    shown = [pooled.train.get(name) for name in sorted(_IN_THE_ROW)]
    return canonical_json([*shown, pooled.test["normalisation"]])


def _settings(pooled: Pooled) -> dict[str, Any]:
    """Everything that a row stands for and that has no column, flat, the method's hyper-parameters first."""
    train = {name: value for name, value in pooled.train.items() if name not in _IN_THE_ROW}
    test = {name: value for name, value in pooled.test.items() if name not in ("normalisation", "episodes")}
    flat = {**train.pop("hparams"), **_flat(train, "train."), **_flat(test, "test.")}
    source, _, engine = pooled.scored_by.partition("-")
    code = {"source": pooled.source[:8], "engine": pooled.engine, "test source": source[:8], "test engine": engine}
    return {**flat, **code, "data": pooled.data, "digest": pooled.digest[:8]}


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
