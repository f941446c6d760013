"""What a plugin's class or callable must declare, checked when it is loaded. An error says what the interface expects."""

import inspect
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from fewshot_bench.errors import UsageError

FLAGS = (
    *("trained", "needs_backbone", "fixed_ways", "fixed_support", "balanced_support"),
    *("transductive", "way_equivariant", "support_order_invariant"),
)
"""The declarations of a method that are true or false."""
METHODS = ("predict", "predict_steps", "loss", "batch_loss", "embed_images", "after_update", "inner_steps")
"""The names in a method that must be functions."""
FACTORY = "a backbone is registered as a callable (input_shape) -> fewshot_bench.Backbone"


def check_method(name: str, found: Any) -> None:
    """Refuse a method class whose declarations cannot be read; raises `UsageError`."""
    from fewshot_bench.specs import Kind, Normalisation  # pydantic, which a list of plugins does without

    for flag in FLAGS:
        if not isinstance(value := getattr(found, flag), bool):
            raise UsageError(f"{name}: {flag} must be True or False, got {value!r}.")
    for function in METHODS:
        if not callable(value := getattr(found, function)):
            raise UsageError(f"{name}: {function} must be a method, got {value!r}.")
    if found.trains_on not in ("episodes", "classes"):
        raise UsageError(f"{name}: trains_on must be 'episodes' or 'classes', got {found.trains_on!r}.")
    _check_words(f"{name}: kinds", found.kinds, get_args(Kind))
    _check_words(f"{name}: modes", found.modes, get_args(Normalisation))
    if found.default_mode not in found.modes:
        raise UsageError(f"{name}: default_mode {found.default_mode!r} is not one of its modes: {', '.join(found.modes)}.")
    _check_hparams(name, found.Hparams)


def check_backbone(name: str, found: Any) -> None:
    """Refuse what cannot be called with an input shape; raises `UsageError`."""
    from torch import nn

    if isinstance(found, nn.Module):
        raise UsageError(f"{name} is a network that is already built ({type(found).__name__}): {FACTORY}.")
    if not callable(found):
        raise UsageError(f"{name} cannot be called, it is {type(found).__name__}: {FACTORY}.")
    if isinstance(found, type) and (missing := ", ".join(sorted(getattr(found, "__abstractmethods__", ())))):
        raise UsageError(f"{name} is not a complete Backbone: it must define {missing}.")
    try:
        inspect.signature(found).bind((1, 1, 1))
    except TypeError as error:
        raise UsageError(f"{name} cannot be called with the shape of an input ({error}): {FACTORY}.") from None
    except ValueError:  # it has no signature
        pass


def check_command(name: str, found: Any) -> None:
    """Refuse what cannot be added to the command line; raises `UsageError`."""
    import typer

    if not isinstance(found, typer.Typer):
        raise UsageError(f"{name} is not a command, it is {type(found).__name__}: a command is a typer.Typer.")


def check_card(name: str, card: dict[str, Any]) -> None:
    """Refuse a card whose parts are not what they must be; raises `UsageError`."""
    where = f"The card of {name!r}"
    for key in ("title", "summary", "paper"):
        if not isinstance(card.get(key, ""), str):
            raise UsageError(f"{where}: {key!r} must be a text, not {card[key]!r}.")
    needs = card.get("needs")
    if needs is not None and not (
        isinstance(needs, dict) and all(isinstance(needs.get(k), str) for k in ("module", "install"))
    ):
        raise UsageError(f"{where}: 'needs' must map 'module' and 'install' to texts.")
    recipes = card.get("recipes", {})
    if not isinstance(recipes, dict) or not all(isinstance(entries, list) for entries in recipes.values()):
        raise UsageError(f"{where}: 'recipes' must map names to lists of entries.")
    for recipe, entries in recipes.items():
        if not isinstance(recipe, str):
            raise UsageError(f"{where}: the name of a recipe must be a text, not {recipe!r}.")
        if not all(isinstance(entry, dict) and isinstance(entry.get("for", {}), dict) for entry in entries):
            raise UsageError(f"{where}: each entry of recipe {recipe!r} must be a mapping.")


def _check_words(what: str, given: Any, valid: Iterable[str]) -> None:
    """A set of some of the `valid` words, at least one."""
    words = set(given) if isinstance(given, set | frozenset | tuple | list) else None
    if not words or not words <= set(valid):
        raise UsageError(f"{what} must be a set of some of {', '.join(valid)}, got {given!r}.")


def _check_hparams(name: str, hparams: Any) -> None:
    from fewshot_bench.plugins.hparam_types import check_defaults, is_plain  # pydantic

    if not (isinstance(hparams, type) and is_dataclass(hparams)):
        raise UsageError(f"{name}: Hparams must be a frozen dataclass of hyper-parameters, not {hparams!r}.")
    if not hparams.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UsageError(f"{name}: {hparams.__name__} must be frozen: write @dataclass(frozen=True) above it.")
    try:
        hints = get_type_hints(hparams, include_extras=True)
    except NameError as error:
        raise UsageError(f"{name}: the types of {hparams.__name__} cannot be read: {error}.") from None
    for field in fields(hparams):
        if not is_plain(hints[field.name]):
            raise UsageError(
                f"{name}: {hparams.__name__}.{field.name} must be a bool, int, float or str, a Literal of them, "
                f"one of these with bounds, or one of them or None, not {field.type!r}: a specification holds nothing else."
            )
    try:
        check_defaults(hparams)
    except ValueError as error:
        raise UsageError(f"{name}: {hparams.__name__}: {error}") from None
