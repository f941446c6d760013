"""What a method or a data set says of itself: whether it can be imported, its hyper-parameters, its recipes."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from fewshot_bench.audit.verdicts import Fault, Skip
from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.learning.base import Method
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins.meanings import meanings
from fewshot_bench.plugins.registry import Plugin
from fewshot_bench.recipes import describe_for
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import resolve

SHOTS = (1,)
"""A recipe's entry that leaves the shots open is tried with these."""
WRONG = 3
"""Entries that a message names."""


def imports(plugin: Plugin) -> str:
    """Import a plugin and read its card, as `fsbench list --check` does; raises `FewshotError` with what is wrong."""
    card = plugin.card()
    found = plugin.load()
    where = "its card is read" if card else "it has no card"
    return f"{getattr(found, '__name__', plugin.reference)} of {plugin.distribution}; {where}"


def hyper_parameters(method_class: type[Method]) -> str:
    """That each hyper-parameter has a default that its type takes, and a comment that says what it is."""
    build_hparams(method_class.Hparams, {})
    names = [one.name for one in fields(method_class.Hparams)]
    said = meanings(method_class.Hparams)
    if not names:
        return "it has none"
    if missing := [name for name in names if not said.get(name, "").strip()]:
        raise Fault(
            f"without a comment at the end of the line: {', '.join(missing)} ({len(missing)} of {len(names)}); it says the "
            "meaning, unit, the paper's value (fsbench show prints it)"
        )
    return f"{len(names)} of {len(names)} say what they mean"


def recipes(plugin: Plugin) -> str:
    """That each entry of each recipe resolves for what it is for."""
    every = list(_requests(plugin))
    if not every:
        raise Skip("it has no recipes" if plugin.card() else "it has no card, and so no recipes")
    wrong, absent = [], []
    for request, name in every:
        try:
            resolved = resolve(request)
            resolved.build_meta(resolved.dataset.shape)
        except DataError:
            absent.append(name)
        except FewshotError as error:
            wrong.append(f"{name}: {' '.join(str(error).split())}")
    if wrong:
        raise Fault(f"{len(wrong)} of {len(every)} do not resolve: {'; '.join(wrong[:WRONG])}")
    if len(absent) == len(every):
        raise Skip("the files of its data sets are not here")
    rest = f"; {len(absent)} need files that are not here" if absent else ""
    return f"{len(every) - len(absent)} of {len(every)} resolve{rest}"


def _requests(plugin: Plugin) -> Iterator[tuple[Request, str]]:
    """A request for each entry, and the entry in words."""
    reference = plugin.reference if ":" in plugin.name else plugin.name
    given: dict[str, Any] = {"classes": {"method": plugin.given}} if plugin.given else {}
    for recipe, entries in plugin.card().get("recipes", {}).items():
        for entry in entries:
            wanted = {key: value for key, value in entry.get("for", {}).items() if key in ("dataset", "ways", "shots")}
            for shots in [wanted["shots"]] if "shots" in wanted else SHOTS:
                request = Request(reference, **{**wanted, "shots": shots}, recipe=recipe, device="cpu", **given)
                yield request, f"{recipe} for {describe_for(entry)}"
