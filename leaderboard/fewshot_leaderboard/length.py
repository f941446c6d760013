"""How long a training is beside the recipe of a paper, and whether a result is one of that recipe at full length.

Recipes named in `OURS` are this project's own. Every other one, `paper` or named for whose conditions it reproduces, is a
paper's. A result is at full length where this version's recipe, asked for the result's ways and shots, gives the very
training and the very test that the record specifies.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from fewshot_bench.errors import FewshotError
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.results.row_settings import backbone_text
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
    """Whether the training was asked for by this recipe's name."""
    same_training: bool
    """Whether the training is the recipe's very own."""
    same_test: bool
    same_network: bool
    unit: str = "images"

    @property
    def full(self) -> bool:
        """Whether training and test are the recipe's very own."""
        return self.same_training and self.same_test

    @property
    def text(self) -> str:
        """`4.0 % of the images of the recipe paper`."""
        if self.same_training:
            return f"full, by the recipe {self.recipe}" + ("" if self.same_test else ", in another test than the recipe's")
        return f"{percent(self.share)} of the {self.unit} of the recipe {self.recipe}"


def percent(share: float) -> str:
    """A share in percent, with two figures below ten, rounded down: what is cut short is never 100 %."""
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    return f"{math.floor(100 * share * 10**digits + 1e-6) / 10**digits:.{digits}f} %"


def length_of(row: Measured) -> Length | None:
    """The length of a row's training beside the paper's recipe that it is; else that it was asked for by; else the first
    of those that have its network, or of all.

    None where there is no recipe of a paper's for it, or nothing was trained.
    """
    if not row.images:
        return None
    asked = StoredRequest.in_result(row.content["results"][0]).recipe
    lengths = [
        Length(
            name,
            resolved.train.images,
            row.images / resolved.train.images,
            name == asked,
            _same_training(row.pooled.train, resolved.train),
            _same_test(row.pooled.test, resolved.test),
            str(resolved.train.backbone) == backbone_text(row.pooled.train["backbone"]),
            "images" if row.benchmark[1] else "points",
        )
        for name in papers_recipes(row.method)
        if (resolved := _resolved(row.method, *row.benchmark, name, _variants(row)))
    ]
    order = sorted(lengths, key=lambda one: (not one.full, not one.same_training, not one.asked, not one.same_network))
    return order[0] if order else None


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


def _same_training(train: Mapping[str, Any], recipe: TrainSpec) -> bool:
    """Whether a training, whatever its seed and device, is a recipe's."""
    with suppress(ValueError):
        return TrainSpec.model_validate({**train, "seed": recipe.seed, "device": recipe.device}) == recipe
    return False


def _same_test(test: Mapping[str, Any], recipe: TestSpec) -> bool:
    """Whether a test, whatever its extra metrics, is a recipe's."""
    with suppress(ValueError):
        return TestSpec.model_validate({**test, "extra_metrics": recipe.extra_metrics}) == recipe
    return False
