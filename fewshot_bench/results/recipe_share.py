"""How much of its recipe's length a training had: a training that was cut short never stands as its recipe's."""

from collections.abc import Mapping
from typing import Any

from fewshot_bench.text.printable import printable


def recipe_share(content: Mapping[str, Any]) -> float | None:
    """The share of its recipe's updates that a record's training had, where that is less than all of them; None where it
    had them all, or more, or its record does not say (as earlier ones do not)."""
    training = content.get("training") or {}
    planned, made = training.get("recipe_updates"), training.get("updates", 0)
    return made / planned if planned and made < planned else None


def share_text(content: Mapping[str, Any]) -> str:
    """`25 % of its updates`, rounded down; empty where `recipe_share` is None."""
    share = recipe_share(content)
    if share is None:
        return ""
    percent = f"{int(100 * share + 1e-9)}" if share >= 0.01 else "less than 1"
    return f"{percent} % of its updates"


def recipe_text(content: Mapping[str, Any]) -> str:
    """The name of a training's recipe, with the share of its updates where that is not all: `paper, 25 % of its updates`."""
    name = content["results"][0].get("request", {}).get("recipe") or "default"
    return ", ".join(filter(None, [printable(str(name)), share_text(content)]))
