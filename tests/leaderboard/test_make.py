"""`make.py --papers` trains each recipe `paper` once and tests it as the paper does."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fewshot_bench.plugins import registry
from fewshot_bench.request import Request, TestRequest
from fewshot_bench.runs.requests.resolve import Resolved, another_test, resolve
from fewshot_leaderboard.published import published

MAKE = Path(__file__).parents[2] / "leaderboard" / "results" / "make.py"


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    """The script."""
    spec = importlib.util.spec_from_file_location("make", MAKE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "make", module)  # where dataclasses look for it
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def jobs(make: ModuleType) -> list[list[Resolved]]:
    """Those of `--papers`, each as its training with its own test and with each of the others."""
    return [carried_out(job) for job in make.papers()]


def carried_out(job: Any) -> list[Resolved]:
    """What a job's commands would do."""
    run = resolve(Request(**options_of(job.arguments), device="cpu"))
    return [run, *(another_test(run, asked_by(words), run.test) for words in job.tests)]


def asked_by(words: tuple[str, ...]) -> TestRequest:
    """The request of `fsbench test RUN` with these options."""
    options = options_of(words)
    return TestRequest(settings=(options.pop("set"),), **options)


def options_of(words: tuple[str, ...]) -> dict[str, Any]:
    """`--name value ...` by name, whole numbers as such."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return {name.removeprefix("--"): int(value) if value.isdecimal() else value for name, value in pairs}


def in_full(run: Resolved) -> tuple[str, str]:
    """A training and its test."""
    return run.train.model_dump_json(), run.test.model_dump_json()


def test_every_paper_recipe_is_asked_for(make: ModuleType) -> None:
    """Each entry of each card whose method can be imported."""
    names = [name for name, plugin in registry.registered("methods").items() if not plugin.missing()]
    cards = {name: registry.find("methods", name).card().get("recipes", {}) for name in names}
    asked = {(one.method, one.recipe, one.dataset) for name in names for one in make.paper_requests(name)}
    entries = {
        (n, r, e["for"]["dataset"]) for n, card in cards.items() for r in card if r.startswith("paper") for e in card[r]
    }
    assert asked == entries


def test_the_most_wanted_come_first(jobs: list[list[Resolved]]) -> None:
    """MAML, prototypical networks, MT-net and SNAIL."""
    names = list(dict.fromkeys(run.method.name for run, *_ in jobs))
    assert names[:4] == ["maml", "prototypical-networks", "mt-net", "snail"]


def test_no_two_jobs_are_one_training(jobs: list[list[Resolved]]) -> None:
    """Two at once would train it twice."""
    trainings = [run.train.model_dump_json() for run, *_ in jobs]
    assert len(set(trainings)) == len(trainings)


def test_each_recipe_is_trained_and_tested_as_it_says(make: ModuleType, jobs: list[list[Resolved]]) -> None:
    """By a job of its own or as another test of the same training."""
    said = [resolve(request) for name in {run.method.name for run, *_ in jobs} for request in make.paper_requests(name)]
    assert {in_full(run) for run in said} == {in_full(run) for job in jobs for run in job}


def test_what_validation_does_not_choose_is_trained_once(jobs: list[list[Resolved]]) -> None:
    """For all ways, shots and normalisations that it is tested with."""
    runs = [run for run, *_ in jobs if run.train.selection == "last"]
    trainings = [run.train.model_dump_json(exclude={"validation"}) for run in runs]
    assert len(set(trainings)) == len(trainings)


@pytest.mark.parametrize("method", ["maml", "meta-sgd"])
def test_errors_of_10_and_20_points_are_measured_after_a_training_with_5(jobs: list[list[Resolved]], method: str) -> None:
    """As they were printed: Li et al. 2017, table 1, 100 waves of 100 points."""
    dataset = "sinusoid-varying-frequency"
    (job,) = [job for job in jobs if (job[0].method.name, job[0].train.dataset) == (method, dataset)]
    found = [(run.train.shots, run.test.shots, run.test.episodes, run.test.queries) for run in job]
    assert found == [(5, shots, 100, 100) for shots in (5, 10, 20)]
    assert all(published(method, dataset, None, shots, "mse", train_shots=5) for shots in (5, 10, 20))
