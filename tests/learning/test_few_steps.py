"""How often a method goes round on one task is bounded, and a trial of it goes round only a few times."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field

from fewshot_bench.data.dataset import checked_options
from fewshot_bench.errors import PluginError, UsageError
from fewshot_bench.learning.answers import checked_scores
from fewshot_bench.learning.few_steps import FEW, few_steps
from fewshot_bench.learning.hparams import build_hparams


@dataclass(frozen=True)
class Hparams:
    """Some that say how often, and one that does not."""

    inner_steps: int = 1
    epochs: int = 1
    max_iterations: int = 1
    hidden: int = 1
    warmup_steps: Annotated[int, Field(le=10**7)] = 1


@pytest.mark.parametrize("key", ["inner_steps", "epochs", "max_iterations"])
def test_a_number_of_steps_is_bounded(key: str) -> None:
    """The error names the key and the bound."""
    assert getattr(build_hparams(Hparams, {key: 100_000}), key) == 100_000
    with pytest.raises(UsageError, match=f"{key} must be a whole number <= 100,000, got 1,000,000,000,000"):
        build_hparams(Hparams, {key: 10**12})


def test_what_is_no_number_of_steps_or_says_its_own_bound_is_free() -> None:
    """A size, and a number of steps whose type has an upper bound."""
    given = {"hidden": 10**6, "warmup_steps": 10**6}
    assert vars(build_hparams(Hparams, given)) == vars(Hparams(**given))


def test_a_trial_takes_few_steps_and_says_how_many_times_as_many_there_are() -> None:
    """Afterwards the method is as it was."""
    method: Any = SimpleNamespace(hparams=Hparams(inner_steps=50 * FEW))
    with few_steps(method) as times:
        assert (method.hparams.inner_steps, times) == (FEW, 50)
    assert method.hparams.inner_steps == 50 * FEW


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a decimal": ({"side": 100.0}, "data.side must be a whole number, not 100.0: write 100."),
    "too large": ({"split_seed": 2**63 - 1}, r"data.split_seed must be at most 2\^53"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_number_of_a_data_set_is_told_with_what_is_right(name: str) -> None:
    """How it is written, or its bound."""
    given, words = WRONG[name]
    with pytest.raises(UsageError, match=words):
        checked_options({"side": 84, "split_seed": 0}, given)


def test_sparse_scores_are_refused_with_what_the_interface_wants() -> None:
    """Before torch fails on them."""
    tasks: Any = SimpleNamespace(kind="classification", targets=torch.zeros(1, 4, dtype=torch.int64), ways=2)
    method: Any = SimpleNamespace()
    with pytest.raises(PluginError, match=r"sparse tensor .* are dense"):
        checked_scores(method, torch.zeros(1, 4, 2).to_sparse(), tasks)
