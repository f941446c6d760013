"""A training without validation, as of data that have classes of training and of test alone."""

import shlex
from pathlib import Path

import pytest
from command_line import LINEAR, call, content, finished, only_run
from picture_files import encoded, noise, write

from fewshot_bench.results.rerun_command import ELSEWHERE

TINY = ("--protocol", "custom", "--ways", "3", "--queries", "3", "--episodes", "8", "--set", "updates=2")
TINY += ("--set", "train.queries=3", "--set", "data.side=8")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A training on folders `train` and `test`, without the folder for its record."""
    files = {
        f"{split}/{split}{c}/{i}.png": encoded(noise(100 * k + 10 * c + i))
        for k, split in enumerate(("train", "test"))
        for c in range(4)
        for i in range(6)
    }
    root = write(tmp_path / "own", files)
    return ["run", "--method", LINEAR, "--dataset", "folder", "--data-root", str(root), *TINY]


def test_data_without_validation_classes_name_the_way_to_train(command: list[str], tmp_path: Path) -> None:
    """Exit 2; what the message names works, keeps the last weights, and its record's command makes the run again."""
    said = call(*command, "--out", tmp_path / "runs")
    assert said.code == 2
    assert "This data set has no classes in split 'val'; it has train, test." in said.complaint
    assert "To train without validation: --set validation=none" in said.complaint
    assert len(said.complaint.splitlines()) <= 3
    finished(*command, "--set", "validation=none", "--out", tmp_path / "runs")
    record = content(only_run(tmp_path / "runs"))
    assert (record["train"]["validation"], record["train"]["selection"]) == (None, "last")
    again = shlex.split(record["results"][0]["command"])[1:]
    assert ELSEWHERE not in again and "validation=none" in again
    finished(*again, *command[5:7], "--out", tmp_path / "again")
    assert content(only_run(tmp_path / "again"))["run_id"] == record["run_id"]


@pytest.mark.parametrize("written", ["null", "none"])
def test_a_recipe_may_have_no_validation(command: list[str], written: str, tmp_path: Path) -> None:
    """`validation: null` in its file, or none."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"train: {{updates: 2}}\nvalidation: {written}\n")
    finished(*command, "--recipe", recipe, "--out", tmp_path / "runs")
    assert content(only_run(tmp_path / "runs"))["train"]["validation"] is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["validation=none", "validation.ways=3"],
            "--set validation=none and validation.ways contradict each other: keep one.",
        ),
        (
            ["validation=none", "selection=best"],
            "without validation there is nothing to select on: add --set selection=last",
        ),
        (
            ["train.split=train+val", "validation.every=5"],
            "train+val trains on the validation classes, so no key",
        ),
        (["validation=5"], "--set validation=5: validation is a section."),
        (["validation=false"], "--set validation=none to train without validation."),
    ],
)
def test_what_contradicts_a_training_without_validation_is_refused(
    command: list[str], settings: list[str], told: str, tmp_path: Path
) -> None:
    """Exit 2, before any work."""
    said = call(*command, *(word for one in settings for word in ("--set", one)), "--out", tmp_path / "runs", "--dry-run")
    assert said.code == 2 and told in said.complaint


def test_data_without_test_classes_say_what_a_test_needs(tmp_path: Path) -> None:
    """Classes of its own, or other data."""
    files = {f"{split}/{split}{i // 6}/{i}.png": encoded(noise(i)) for split in ("train", "val") for i in range(18)}
    root = write(tmp_path / "own", files)
    command = ["run", "--method", "nearest-centroid", "--dataset", "folder", "--data-root", root, *TINY[:8]]
    said = call(*command, "--out", tmp_path / "runs")
    assert said.code == 2
    assert "A test needs classes of its own: state some of test, or name other data" in said.complaint
