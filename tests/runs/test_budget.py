"""A budget of training images, the same for any method."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import LINEAR, call, finished, only_run
from example_records import draw_scores, make_record
from plugin_file import refused

import fewshot_bench
from fewshot_bench.request import Request
from fewshot_bench.results.records import load_record
from fewshot_bench.results.tables import results_tables
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_leaderboard.page import page

pytestmark = pytest.mark.usefixtures("records_of_any_length")

SMALL = (
    *("run", "--method", LINEAR, "--protocol", "custom", "--episodes", "8", "--queries", "5"),
    *("--set", "meta_batch_size=2", "--set", "validation.every=2", "--set", "validation.episodes=4"),
)
"""A tiny run whose length is left open: tasks of 5 x (1 + 15) images, two an update."""


def trained(method: str, images: int, *settings: str, **more: Any) -> Any:
    """The specification of a training under a budget."""
    return resolve(Request(method, images=images, settings=settings, device="cpu", **more)).train


@pytest.mark.parametrize("method", ["maml", "prototypical-networks", "baseline", "reptile", "snail"])
def test_any_method_sees_as_many_images_as_the_budget_says_but_for_part_of_an_update(method: str) -> None:
    """Whatever an update of its recipe sees."""
    spec = trained(method, 100_000)
    each = spec.batch_size or spec.meta_batch_size * spec.ways * (
        (spec.shots + (spec.max_shots or spec.shots)) / 2 + spec.queries
    )
    assert 100_000 - each < spec.images <= 100_000
    assert spec.updates == 100_000 // each


def test_what_a_recipe_counts_in_updates_keeps_its_place_within_the_training() -> None:
    """Halvings of the rate and validations, as many as in the recipe."""
    recipe = resolve(Request("baseline", device="cpu")).train
    spec = trained("baseline", 3 * recipe.images)
    assert spec.updates == 3 * recipe.updates
    assert spec.lr_halve_every == 3 * recipe.lr_halve_every
    assert spec.validation.every == 3 * recipe.validation.every
    assert spec.lr == recipe.lr


def test_what_the_request_itself_counts_in_updates_stays() -> None:
    """A step of the rate, a validation."""
    spec = trained("baseline", 160_000, "lr_halve_every=7", "validation.every=9")
    assert (spec.updates, spec.lr_halve_every, spec.validation.every) == (10_000, 7, 9)


def test_the_steps_of_a_rate_follow(tmp_path: Path) -> None:
    """Of a recipe of one's own, whose updates are replaced."""
    recipe = {"train": {"updates": 100, "batch_size": 10, "lr_steps": [[50, 0.1], [51, 0.05], [90, 0.01]], "lr": 0.5}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(recipe))
    spec = trained("baseline", 200, recipe=str(tmp_path / "my.yaml"))
    assert spec.updates == 20
    assert spec.lr_steps == ((10, 0.05), (18, 0.01))  # two of them fell on one update: the later holds


def test_the_budget_is_the_same_run_as_its_updates() -> None:
    """How a number of updates was said is no part of what determines the numbers."""
    spec = trained("maml", 48_000, "validation.every=10")
    other = resolve(Request("maml", settings=(f"updates={spec.updates}", "validation.every=10"), device="cpu")).train
    assert spec == other


REFUSED = {
    "beside updates": (["--images", "9000", "--set", "updates=3"], "leave --set updates out"),
    "none": (["--images", "0"], "--images must be a whole number of at least 1, got 0"),
    "less than an update": (["--images", "79"], "less than the 80 of one update: at least --images 80"),
    "more than can be": (["--images", "9" * 26], "--images must be below 2^63"),
    "a decimal": (["--images", "1.5"], "'1.5' is not a whole number"),
    "no training": (["--images", "9000", "--method", "nearest-centroid"], "nearest-centroid learns nothing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_budget_that_cannot_be_is_refused(name: str) -> None:
    """Exit 2; what would be right."""
    arguments, *words = REFUSED[name]
    refused(call("run", "--method", LINEAR, *arguments, "--dry-run"), 2, *words)


def test_a_dry_run_says_what_the_budget_became() -> None:
    """The updates, what each sees, that it is rounded down, what followed."""
    (plan,) = json.loads(finished("run", "--method", LINEAR, "--images", "1000", "--dry-run", "--json").out)
    assert plan["train"]["updates"] == 12
    told = "--images 1,000: 12 updates of 80 images, 960 in all (rounded down to whole updates); validation.every=2."
    assert plan["budget"] == told


def test_a_run_says_what_its_budget_became_and_its_command_makes_it_again(tmp_path: Path) -> None:
    """The command in the record names what came of it: the updates, and the schedule that follows them."""
    place = SMALL.index("validation.every=2")
    said = finished(*SMALL[: place - 1], *SMALL[place + 1 :], "--images", "480", "--out", tmp_path / "a")
    assert "--images 480: 3 updates of 160 images" in said.err
    first = load_record(only_run(tmp_path / "a"))
    command = first.content["provenance"]["command"]
    assert "--set train.updates=3" in command
    assert "--set validation.every=1" in command
    finished(*shlex.split(command)[1:], "--out", tmp_path / "b")
    assert load_record(only_run(tmp_path / "b")).run_id == first.run_id


def test_python_takes_a_budget_too(tmp_path: Path) -> None:
    """`images=`."""
    record = fewshot_bench.run(
        LINEAR, images=480, protocol="custom", queries=5, episodes=4, settings={"validation.episodes": 4}, out=tmp_path
    )
    assert record.content["training"]["updates"] == 6


@pytest.mark.parametrize(("updates", "shown"), [(8000, False), (4000, True)])
def test_a_table_shows_the_images_where_its_rows_differ_in_them(updates: int, shown: bool, tmp_path: Path) -> None:
    """With separators for people; so does the page."""
    records = [
        make_record(tmp_path, name, draw_scores(name, 0.9), train_updates=length)
        for name, length in (("maml", 8000), ("reptile", updates))
    ]
    (table,) = results_tables(records)
    text = table.text(200)
    assert ("images" in text) is shown
    assert ("3,840,000" in text) is shown  # 8,000 x 16 x 5 x (1 + 5)
    assert (">3,840,000<" in page(records)) is shown


def test_what_learns_nothing_does_not_bring_the_column(tmp_path: Path) -> None:
    """A floor beside methods that all saw as much."""
    records = [make_record(tmp_path, "maml", draw_scores("a", 0.9))]
    records.append(make_record(tmp_path, "nearest-centroid", draw_scores("b", 0.4), train_updates=0))
    (table,) = results_tables(records)
    assert "images" not in table.text(200)
