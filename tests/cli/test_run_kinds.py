"""`fsbench run` of what is no episode of fixed shots: functions, batches of all classes, shots drawn for each update."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call, changed, content, finished, only_run
from tiny import SHAPE, blobs

from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource, VaryingShots
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.results.records import load_record
from fewshot_bench.results.statistics import score_interval
from fewshot_bench.results.tables import interval_text
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.training import Trainer
from fewshot_datasets.sinusoid import Sinusoid
from fewshot_methods.backbones.mlp import Mlp

WAVES = (
    *("run", "--method", "maml", "--dataset", "sinusoid", "--shots", "5", "--protocol", "custom", "--episodes", "12"),
    *("--set", "train.updates=4", "--set", "train.meta_batch_size=2", "--set", "validation.every=2"),
    *("--set", "validation.episodes=3", "--set", "test_inner_steps=3"),
)
CLASSES = (
    *("run", "--method", "simpleshot", "--protocol", "custom", "--episodes", "8", "--queries", "5"),
    *("--set", "updates=4", "--set", "batch_size=20", "--set", "validation.every=2", "--set", "validation.episodes=4"),
)


def test_a_regression_reports_the_error_after_each_inner_step(tmp_path: Path) -> None:
    """Lower is better; the last step is the result, with the interval of the episodes' scores."""
    said = finished(*WAVES, "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    (result,) = record.results
    assert (result["metric"], result["direction"]) == ("mse", "min")
    assert [row["inner_steps"] for row in result["by_step"]] == [1, 2, 3]
    last, interval = result["by_step"][-1], score_interval([record.scores(result["id"])], trials=0, metric="mse")
    assert (last["mean"], last["low"], last["high"]) == pytest.approx((interval.mean, interval.low, interval.high))
    assert result["mean"] == interval.mean
    assert f"mse       {result['mean']:.2f}" in said.out
    assert "%" not in said.out.splitlines()[0].partition("(")[0]
    assert f"3: {interval_text(interval, 'mse')}" in said.out
    assert "5 points" in finished("table", tmp_path).out


def test_the_error_is_that_of_the_functions_by_hand(tmp_path: Path) -> None:
    """Untrained and unadapted, with a head of zeros, the network says 0: the error is the mean of y squared."""
    settings = ("head_std=0", "inner_lr=1e-30", "train.updates=1", "train.lr=1e-30", "test.queries=100")
    finished(*changed(WAVES, *settings), "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    tasks = FunctionSource(FunctionSampler(Sinusoid(), "test", 5, 100, 0), torch.device("cpu"), torch.float64).tasks(0, 12)
    expected = tasks.targets.square().mean((1, 2)).numpy()
    np.testing.assert_allclose(record.scores(record.results[0]["id"]), expected, rtol=1e-5)


def test_regression_keeps_the_weights_of_the_lowest_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where validation says 3, 1, 2 after updates 2, 4, 6."""
    said = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr("fewshot_bench.runs.training.episode_scores", lambda *a: [np.array([next(said)])])
    finished(*changed(WAVES, "train.updates=6"), "--out", tmp_path)
    training = content(only_run(tmp_path))["training"]
    assert (training["best_update"], training["validation_score"]) == (4, 1.0)
    assert Trainer  # the module whose name is patched


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--method", "prototypical-networks"), "prototypical-networks does not support regression, which sinusoid needs."),
        (("--method", "maml", "--ways", "5"), "sinusoid is a family of functions, which have no ways: leave --ways out."),
        (("--method", "maml", "--protocol", "standard"), "Protocol 'standard' is for classification"),
        (("--method", "maml", "--set", "backbone=conv4-64"), "Backbone 'conv4-64' with data set 'sinusoid'"),
    ],
)
def test_what_is_no_regression_says_so_before_any_work(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    """One to three lines, exit code 2, nothing written."""
    said = call("run", "--dataset", "sinusoid", *arguments, "--out", tmp_path / "runs")
    assert said.code == 2
    assert complaint in said.err
    assert len(said.err.splitlines()) <= 3
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", sorted(registry.registered("methods")))
def test_every_method_without_regression_says_so_before_any_work(name: str, tmp_path: Path) -> None:
    """And no other does; one whose needs are not met says those."""
    said = call("run", "--dataset", "sinusoid", "--method", name, "--dry-run", "--out", tmp_path / "runs")
    plugin = registry.find("methods", name)
    if plugin.missing():
        assert said.code != 0
    elif "regression" in plugin.load().kinds:
        assert said.code == 0
    else:
        assert said.code == 2 and f"{name} does not support regression, which sinusoid needs." in said.err
    assert not (tmp_path / "runs").exists()


def test_training_on_all_classes_names_its_batches(tmp_path: Path) -> None:
    """Ways, shots and queries are none; the table says what it was trained on; the same command makes it again."""
    finished(*CLASSES, "--out", tmp_path / "a")
    train = content(only_run(tmp_path / "a"))["train"]
    assert (train["ways"], train["shots"], train["queries"], train["batch_size"]) == (None, None, None, 20)
    rows = json.loads(finished("table", tmp_path / "a", "--format", "json").out)
    assert "all classes, batches of 20" in json.dumps(rows)
    finished(*CLASSES, "--out", tmp_path / "b")
    assert content(only_run(tmp_path / "a")) == content(only_run(tmp_path / "b"))


def test_one_training_on_all_classes_serves_every_test(tmp_path: Path) -> None:
    """Another number of ways and shots is another test of the same run."""
    finished(*CLASSES, "--out", tmp_path)
    finished("test", only_run(tmp_path), "--ways", "3", "--shots", "4")
    sizes = {(result["test"]["ways"], result["test"]["shots"]) for result in content(only_run(tmp_path))["results"]}
    assert sizes == {(5, 1), (3, 4)}


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    """Before any work."""
    said = call(*changed(CLASSES, "batch_size=20000"), "--out", tmp_path)
    assert said.code == 2
    assert "batch_size 20,000 is more than the 16,200 images" in said.err


def test_a_method_of_fixed_support_refuses_more_shots(tmp_path: Path) -> None:
    """With the setting that would train it for them."""
    said = call("run", "--method", "snail", "--shots", "6", "--out", tmp_path)
    assert said.code == 2
    assert "trained with up to 5 shots, it cannot be tested with 6. Train it with --set train.max_shots=6." in said.err


def test_normalised_networks_must_say_how(tmp_path: Path) -> None:
    """Mode `none` on a network that normalises would quietly let queries see each other."""
    said = call("run", "--method", "maml", "--set", "train.normalisation=none", "--out", tmp_path)
    assert said.code == 2
    assert "Backbone 'conv4-64-strided' normalises its layers" in said.err


def test_shots_are_drawn_for_each_update() -> None:
    """All tasks of an update have the same; every number occurs about equally often; a function of the update alone."""
    bank = blobs()
    sources = [
        TaskSource(bank, EpisodeSampler(bank, 5, shots, 3, 0), torch.device("cpu"), torch.float32) for shots in (1, 2, 3)
    ]
    varying = VaryingShots(sources, tasks_per_update=4, seed=0)
    sizes = [varying.tasks(4 * update, 4).support_x.shape for update in range(300)]
    assert {size[:2] for size in sizes} == {(4, 5), (4, 10), (4, 15)}
    assert {size[2:] for size in sizes} == {SHAPE}
    counts = np.unique([size[1] for size in sizes], return_counts=True)[1]
    assert counts.min() > 70
    again = VaryingShots(sources, tasks_per_update=4, seed=0)
    assert [again.tasks(4 * update + 2, 1).support_x.shape[1] for update in (250, 3)] == [sizes[250][1], sizes[3][1]]


def test_the_mlp_has_the_papers_sizes() -> None:
    """1 -> 40 -> 40, weights and biases: 40 + 40 + 1,600 + 40; with the head's 40 + 1 it has 1,761 parameters."""
    assert sum(p.numel() for p in Mlp((1,)).parameters()) == 1720
    resolved = resolve(Request("maml", "sinusoid", shots=10, device="cpu"))
    assert sum(p.numel() for p in resolved.build_meta((1,)).parameters()) == 1761
