"""The rows of `fsbench list backbones`: what each is, its options, and the size of its embeddings."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.errors import UsageError
from fewshot_bench.plugins.declarations import FACTORY

IMAGES = {"28x28": (1, 28, 28), "84x84": (3, 84, 84)}
POINT = {"a point": (1,)}
"""The inputs for which a backbone is built: those of Omniglot and mini-ImageNet, or a function's if it takes no images."""


def backbone_row(title: str, factory: Callable[..., Any]) -> dict[str, Any]:
    """Title, options with their defaults, and features by input; raises `UsageError` for one that takes no input."""
    made, refusals = _features(factory, IMAGES)
    if not made:
        made, _ = _features(factory, POINT)
    if not made:
        raise UsageError(f"It can be built neither for images nor for points: {refusals[0]}.\nRemember: {FACTORY}.")
    return {"title": title or first_sentence(factory), "options": options_of(factory), "features": made}


def _features(factory: Callable[..., Any], shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], list[str]]:
    """The size of an embedding by input, and why other inputs were refused."""
    made: dict[str, int] = {}
    refusals: list[str] = []
    with seeded(0, torch.device("cpu")):
        for name, shape in shapes.items():
            try:
                made[name] = int(factory(shape).features)
            except Exception as error:  # a plugin's, for an input that it does not take
                refusals.append(f"{type(error).__name__}: {error}".splitlines()[0])
    return made, refusals


def first_sentence(factory: Callable[..., Any]) -> str:
    """The first line of the documentation of a class or function, also one whose options `partial` has set."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return (inspect.getdoc(factory) or "").partition("\n")[0]


def options_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """What `--set backbone.options.KEY=VALUE` can set, and the defaults; None where an option has none."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())[1:]  # the first is the shape of an input
    except (TypeError, ValueError):  # it has no signature
        return {}
    named = (one for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))
    return {one.name: None if one.default is one.empty else one.default for one in named}


def backbone_lines(row: dict[str, Any]) -> list[str]:
    """The lines below a backbone's title."""
    sizes = ", ".join(f"{size:,} of {name}" for name, size in row["features"].items())
    options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
    return [f"features: {sizes}", *([f"options: {options}"] if options else [])]
