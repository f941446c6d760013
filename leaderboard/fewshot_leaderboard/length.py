"""How long a training is beside the recipe of a paper, and whether a result is one of that recipe at full length.

Recipes named in `OURS` are this project's own. Every other one, `paper` or named for whose conditions it reproduces, is a
paper's. A result is at full length where this version's recipe, asked for the result's ways and shots, gives the very
training and the very test that the record specifies.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from fewshot_bench.errors import FewshotError
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.runs.requests.resolve import Resolved, resolve
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_leaderboard.measured import Measured
from fewshot_leaderboard.published import VARIANTS

OURS = ("default", "short", "controlled", "transductive", "long")
"""First words of the names of recipes that reproduce no paper's conditions."""


@dataclass(frozen=True)
class Length:
    """The length of a training beside a paper's recipe for the same method, data set, ways and shots."""

    recipe: str
    images: int
    """Training images, or points of functions, of the whole recipe."""
    share: float
    """Of these, that the training saw."""
    asked: bool
    """Whether the training was asked for by this recipe, and not by another."""
    full: bool
    """Whether training and test are the recipe's very own."""

    @property
    def text(self) -> str:
        """`4 % of the images of the recipe paper`."""
        if self.full:
            return f"full, by the recipe {self.recipe}"
        what = "updates" if self.asked else "images"
        return f"{percent(self.share)} of the {what} of the recipe {self.recipe}"


def percent(share: float) -> str:
    """A share in percent, with two figures below ten."""
    return f"{100 * share:.{2 if share < 0.01 else 1 if share < 0.1 else 0}f} %"


def length_of(row: Measured) -> Length | None:
    """The length of a row's training; None where there is no recipe of a paper's for it, or nothing was trained."""
    if not row.images:
        return None
    asked = StoredRequest.in_result(row.content["results"][0]).recipe
    names = papers_recipes(row.method)
    dataset, ways, shots = row.benchmark
    for name in sorted(names, key=lambda name: (name != asked, names.index(name))):
        if resolved := _resolved(row.method, dataset, ways, shots, name, _variants(row)):
            images, own = resolved.train.images, name == asked
            full = own and _as_resolved(row.pooled.train, row.pooled.test, resolved)
            return Length(name, images, row.images / images, own, full)
    return None


def papers_recipes(method: str) -> list[str]:
    """The recipes of an installed method that reproduce a paper's conditions, `paper` first."""
    plugin = registry.registered("methods").get(method)
    names = plugin.card().get("recipes", {}) if plugin else {}
    return sorted(
        (str(name) for name in names if str(name).split("-")[0] not in OURS), key=lambda name: (name != "paper", name)
    )


def _variants(row: Measured) -> tuple[str, ...]:
    """The settings that make the row's method another one in the literature."""
    on = row.cells["hparams"].value
    return tuple(f"method.{key}=true" for method, key in VARIANTS if method == row.method and on.get(key) is True)


@cache
def _resolved(
    method: str, dataset: str, ways: int | None, shots: int, recipe: str, settings: tuple[str, ...]
) -> Resolved | None:
    with suppress(FewshotError), registry.only_installed():  # the card has no such recipe for this size
        return resolve(Request(method, dataset, ways, shots, recipe=recipe, settings=settings, device="cpu"))
    return None


def _as_resolved(train: Mapping[str, Any], test: Mapping[str, Any], resolved: Resolved) -> bool:
    """Whether a training, whatever its seed and device, and a test are those of a resolved request."""
    with suppress(ValueError):
        trained = TrainSpec.model_validate({**train, "seed": resolved.train.seed, "device": resolved.train.device})
        tested = TestSpec.model_validate(dict(test)).model_copy(update={"extra_metrics": resolved.test.extra_metrics})
        return trained == resolved.train and tested == resolved.test
    return False
