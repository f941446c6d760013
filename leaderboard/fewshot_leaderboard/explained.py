"""Why a measured number lies outside the published one, as far as an experiment or a longer recipe says.

What was tried is written down by hand in `explanations.yaml`, which says how.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fewshot_bench.inputs import plain_yaml
from fewshot_bench.plugins import registry
from fewshot_leaderboard.length import length_of
from fewshot_leaderboard.measured import EARLIER, Measured


@dataclass(frozen=True)
class Experiment:
    """What was run to explain a number outside, what it gave, and whether that accounts for the difference."""

    experiment: str
    gave: str
    explains: bool

    @property
    def text(self) -> str:
        """Both in one phrase."""
        return f"{self.experiment}: {self.gave}"


def explained(row: Measured) -> str:
    """What is known to differ from the paper, and the experiment that would explain a number outside; empty where neither
    is to be said."""
    kinds = {True: "transductive", False: "inductive"}
    known = ""
    if row.printed and row.printed.transductive != row.transductive:
        known = f"the paper's test is {kinds[row.printed.transductive]}, this one {kinds[row.transductive]}"
    if row.within is not False:
        return known and f"{known}."
    tried = "; ".join(one.text for one in experiments(row))
    experiment = tried or remark(row) or "not explained yet."
    return f"{known}; {experiment}" if known else experiment


def experiments(row: Measured) -> list[Experiment]:
    """The experiments that were run to explain a row."""
    return [
        Experiment(str(entry["experiment"]), str(entry["gave"]), entry["explains"] is True)
        for entry in _entries(row)
        if "experiment" in entry
    ]


def remark(row: Measured) -> str:
    """What `explanations.yaml` or the method's card remarks, else which recipe is to be run; empty where none is."""
    said = next((str(entry["text"]) for entry in _entries(row) if "text" in entry), "")
    plugin = registry.registered("methods").get(row.method)
    return said or (str(plugin.card().get("notes", {}).get("outside", "")) if plugin else "") or _paper_recipe(row)


def _entries(row: Measured) -> Iterator[dict[str, Any]]:
    """The entries of `explanations.yaml` that speak of a row."""
    dataset, ways, shots = row.benchmark
    recipe = row.recipe.removesuffix(EARLIER)
    about = {"method": row.method, "protocol": row.protocol, "recipe": recipe}
    about |= {"dataset": dataset, "ways": ways, "shots": shots}  # type: ignore[dict-item]
    return (entry for entry in explanations() if all(about[key] == value for key, value in entry["for"].items()))


def _paper_recipe(row: Measured) -> str:
    """That a recipe of a paper's conditions would tell, and how much longer it trains."""
    length = length_of(row)
    if length is None or length.asked or length.same_training:
        return ""
    seen = "training images" if row.benchmark[1] else "points in training"
    return f"to be run: the recipe {length.recipe}, which sees {length.images:,} {seen} where this run saw {row.images:,}."


@cache
def explanations() -> list[dict[str, Any]]:
    """The entries of `explanations.yaml`."""
    text = files("fewshot_leaderboard").joinpath("explanations.yaml").read_text(encoding="utf-8")
    return plain_yaml.read(text, "explanations.yaml") or []
