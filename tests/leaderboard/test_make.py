"""`make.py --papers` trains each recipe `paper` once and tests it as the paper does."""

import pytest

from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import Resolved, another_test, resolve
from fewshot_leaderboard.published import published
from training_queue import jobs as jobs_module
from training_queue.jobs import HOUSE, Job, paper_requests, papers
from training_queue.order import ORDER, by_value
from training_queue.plan import further_test, planned, request_of


@pytest.fixture(scope="module")
def asked() -> list[Job]:
    """The jobs of `--papers`."""
    return papers()


@pytest.fixture(scope="module")
def jobs(asked: list[Job]) -> list[list[Resolved]]:
    """Each as its training with its own test and with each of the others."""
    return [carried_out(job) for job in asked]


def carried_out(job: Job) -> list[Resolved]:
    """What a job's commands would do."""
    run = resolve(request_of(job.arguments, "cpu"))
    return [run, *(another_test(run, further_test(words), run.test) for words in job.tests)]


def in_full(run: Resolved) -> tuple[str, str]:
    """A training and its test."""
    return run.train.model_dump_json(), run.test.model_dump_json()


def test_every_recipe_of_somebody_else_s_conditions_is_asked_for() -> None:
    """Each entry of each card whose method can be imported."""
    names = [name for name, plugin in registry.registered("methods").items() if not plugin.missing()]
    cards = {name: registry.find("methods", name).card().get("recipes", {}) for name in names}
    asked = {(one.method, one.recipe, one.dataset) for name in names for one in paper_requests(name)}
    entries = {
        (n, r, e["for"]["dataset"]) for n, card in cards.items() for r in card if not r.startswith(HOUSE) for e in card[r]
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


def test_each_recipe_is_trained_and_tested_as_it_says(jobs: list[list[Resolved]]) -> None:
    """By a job of its own or as another test of the same training."""
    said = [resolve(request) for name in {run.method.name for run, *_ in jobs} for request in paper_requests(name)]
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


def test_the_queue_takes_the_most_valued_first(asked: list[Job]) -> None:
    """Each training of the papers once for each seed, by tier; none is left out."""
    found = list(by_value(asked))
    assert [line.tier for _, line in found] == sorted(line.tier for _, line in found)
    trainings = [job.training for job, _ in found]
    assert len(set(trainings)) == len(trainings)
    assert {job.training for job in asked} <= set(trainings)
    assert trainings[0] == "prototypical-networks omniglot paper 5 1"
    assert {f"maml omniglot paper 5 1{seed}" for seed in ("", " seed 1", " seed 2")} <= set(trainings)


def test_a_recipe_that_comes_later_has_its_place_in_the_order() -> None:
    """Whatever it is called; what the list does not name comes last."""
    later = [
        Job(("--method", "some-method", "--dataset", "cifar-fs", "--recipe", "paper", "--ways", "5", "--shots", "1")),
        Job(("--method", "logistic-regression", "--dataset", "cifar-fs", "--recipe", "rfs", "--ways", "5", "--shots", "1")),
    ]
    assert [(job.training.split()[0], line.tier) for job, line in by_value(later)] == [
        ("logistic-regression", 1),
        ("some-method", ORDER[-1].tier + 1),
    ]


def test_a_recipe_that_is_refused_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a job that cannot run here, with the reason."""
    asked = [Request("maml", "glyphs", 5, 1, recipe=name) for name in ("papier", "default")]
    monkeypatch.setattr(jobs_module, "paper_requests", lambda name: asked if name == "maml" else [])
    good, bad = papers()
    assert planned(good, "cpu").missing == ""
    assert planned(bad, "cpu").missing.startswith("Unknown recipe of maml 'papier'.")
    assert planned(bad, "cpu").folder == ""
