"""Extra metrics of a test: computed where they are asked for, kept, checked when read, and shown."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import call, content, finished, one_thread, only_run
from sklearn.metrics import f1_score

from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.results.pooling import pool
from fewshot_bench.results.records import find_records, load_record
from fewshot_bench.results.score_files import read_scores, write_scores
from fewshot_bench.runs.scores import ExtraScores
from fewshot_bench.specs import TestSpec
from fewshot_bench.storage import write_json
from fewshot_leaderboard.page import page

EPISODES, WAYS, QUERIES = 12, 3, 4
RUN = ("run", "--method", "nearest-centroid", "--dataset", "digits", "--protocol", "custom", "--ways", WAYS)
SIZE = ("--episodes", EPISODES, "--queries", QUERIES)
EXTRA = ("--set", "test.extra_metrics=[macro-f1, ece]")
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose test has both extra metrics, beside the outputs and labels that were scored."""
    out, seen = tmp_path_factory.mktemp("made"), []
    usual = ExtraScores.__call__

    def spy(self: ExtraScores, source: Any, first: int, tasks: Any, outputs: torch.Tensor) -> None:
        seen.append((outputs.clone(), tasks.targets.clone()))
        usual(self, source, first, tasks, outputs)

    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(ExtraScores, "__call__", spy)
        finished(*RUN, *SIZE, *EXTRA, "--out", out)
    torch.save([torch.cat(each) for each in zip(*seen, strict=True)], out / "seen.pt")
    return only_run(out)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made, tmp_path / "runs" / made.name))


def test_the_scores_are_those_of_the_outputs(made: Path) -> None:
    """F1 by scikit-learn; each mean is that of the episodes' scores."""
    outputs, labels = torch.load(made.parent / "seen.pt")
    record = load_record(made)
    (result,) = record.results
    expected = [
        f1_score(true, said, average="macro", labels=range(WAYS), zero_division=0)
        for true, said in zip(labels.numpy(), outputs.argmax(-1).numpy(), strict=True)
    ]
    np.testing.assert_allclose(record.scores(result, "macro-f1"), expected, rtol=0, atol=1e-15)
    for name, said in result["extra"].items():
        assert said["mean"] == record.scores(result, name).mean()
        assert said["low"] < said["mean"] < said["high"]
        assert said["level"] == 0.95 and f"{EPISODES} episodes" in said["interval"]
    assert set(read_scores(made)) == {result["id"], f"{result['id']}/ece", f"{result['id']}/macro-f1"}


def test_what_is_not_asked_for_is_not_in_a_specification() -> None:
    """So that ids of tests without stay; another order is no other test."""
    plain = {"protocol": "custom", "dataset": "digits", "data": {}, "ways": 3, "shots": 1, "queries": 4, "episodes": 12}
    plain |= {"seed": 0, "normalisation": "none"}
    assert "extra_metrics" not in TestSpec(**plain).model_dump()
    assert TestSpec(**plain, extra_metrics=["macro-f1", "ece"]) == TestSpec(**plain, extra_metrics=["ece", "macro-f1"])


def test_the_main_scores_are_those_without_them(made: Path, tmp_path: Path) -> None:
    """Another result, of the same scores."""
    finished(*RUN, *SIZE, "--out", tmp_path)
    with_them, without = load_record(made), load_record(only_run(tmp_path))
    assert with_them.run_id == without.run_id
    assert with_them.results[0]["id"] != without.results[0]["id"]
    assert "extra" not in without.results[0]
    assert with_them.scores(with_them.results[0]).tolist() == without.scores(without.results[0]).tolist()


def test_shards_carry_them(folder: Path, tmp_path: Path) -> None:
    """Two parts are the whole test, bit for bit; a test keeps the metrics of the run's own."""
    whole = Path(shutil.copytree(folder, tmp_path / "whole" / folder.name))
    size = ("--shots", 2, "--episodes", 300)  # two batches
    with one_thread():
        finished("test", whole, *size)
        for part in ("2/2", "1/2"):
            finished("test", folder, *size, "--shard", part)
    assert content(folder) == content(whole)
    scores, wanted = read_scores(folder), read_scores(whole)
    assert scores.keys() == wanted.keys() and len(scores) == 6
    assert all(np.array_equal(scores[name], wanted[name]) for name in wanted)


def test_they_are_columns_of_every_form_of_a_table(folder: Path) -> None:
    """With their intervals in data; and lines of a run's summary."""
    result = load_record(folder).results[0]
    f1 = f"{100 * result['extra']['macro-f1']['mean']:.2f}"
    for form in ("text", "markdown", "latex"):
        said = call("table", folder, "--format", form).out
        assert f1 in said and "macro-F1" in said and "ECE" in said
    (row,) = json.loads(call("table", folder, "--json").out)["tables"][0]["rows"]
    assert [row["ece"], row["ece-low"]] == [result["extra"]["ece"][key] for key in ("mean", "low")]
    assert "macro-f1-high" in call("table", folder, "--format", "csv").out
    assert f1 in page([load_record(folder)])
    said = call(*RUN, *SIZE, *EXTRA, "--out", folder.parent).out
    assert f"macro-f1  {f1} ± " in said and "ece  " in said


def test_a_row_has_the_metrics_that_all_its_runs_have(folder: Path) -> None:
    """A seed without them is pooled with one that has them: the main number is of both, the others of none."""
    finished(*RUN, *SIZE, "--seeds", 1, "--out", folder.parent)
    (pooled,), conflicts = pool(find_records(folder.parent))
    assert (len(pooled.runs), pooled.extra, conflicts) == (2, {}, [])
    finished(*RUN, *SIZE, *EXTRA, "--seeds", 1, "--out", folder.parent)  # the second seed has both results now
    (pooled,), conflicts = pool(find_records(folder.parent))
    assert (len(pooled.runs), set(pooled.extra), conflicts) == (2, {"ece", "macro-f1"}, [])


def test_records_that_say_other_extra_scores_of_one_run_contradict_each_other(folder: Path, tmp_path: Path) -> None:
    """As those do that say other main scores."""
    other = Path(shutil.copytree(folder, tmp_path / "runs" / "other"))
    record = load_record(other)
    result = record.results[0]
    scores = read_scores(other)
    scores[f"{result['id']}/ece"] = scores[f"{result['id']}/ece"][::-1].copy()
    write_scores(other, scores)
    rows, (conflict,) = pool(find_records(tmp_path / "runs"))
    assert rows == [] and conflict.ids == record.run_id


def extra_of(record: dict[str, Any]) -> Any:
    """What the record says of them."""
    return record["results"][0]["extra"]


def ece_of(record: dict[str, Any]) -> Any:
    """What the record says of one."""
    return extra_of(record)["ece"]


DAMAGES: dict[str, tuple[Change, str]] = {
    "none": (
        lambda record: record["results"][0].pop("extra"),
        "extra must hold what test.extra_metrics names: ece, macro-f1",
    ),
    "one of two": (lambda record: extra_of(record).pop("ece"), "extra must hold what test.extra_metrics names"),
    "unknown": (
        lambda record: extra_of(record).update(f1=ece_of(record)),
        r"extra\.f1.* it takes macro-f1 and ece",
    ),
    "above 1": (lambda record: ece_of(record).update(mean=1.5, high=1.6), r"extra\.ece\.mean 1\.5 is no ece"),
    "below 0": (lambda record: ece_of(record).update(mean=-0.5, low=-0.6), r"extra\.ece\.mean -0\.5 is no ece"),
    "a word": (lambda record: ece_of(record).update(mean="0.5"), r"extra\.ece\.mean: must be a number"),
    "outside its interval": (lambda record: ece_of(record).update(low=1.0), r"extra\.ece: low, mean and high"),
    "no interval": (lambda record: ece_of(record).pop("low"), r"extra\.ece\.low is missing"),
    "another mean": (lambda record: ece_of(record).update(mean=ece_of(record)["high"]), "their mean is"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_record_that_cannot_be_is_named_with_its_fault(name: str, folder: Path) -> None:
    """What the record says of its extra metrics is checked as the rest is."""
    change, fault = DAMAGES[name]
    record = copy.deepcopy(load_record(folder).content)
    change(record)
    write_json(folder / "record.json", record)
    with pytest.raises(DataError, match=fault):
        find_records(folder)


@pytest.mark.parametrize(
    ("scores", "fault"),
    [
        (None, "0 in place of 12 episodes"),
        (np.full(EPISODES + 1, 0.5), "13 in place of 12 episodes"),
        (np.full(EPISODES, 1.5), "one is no ece"),
        (np.full(EPISODES, np.nan), "not finite"),
        (np.full(EPISODES, 0.5), "their mean is 0.5"),
    ],
    ids=["missing", "too many", "above 1", "no number", "another mean"],
)
def test_scores_that_cannot_be_are_named(scores: np.ndarray | None, fault: str, folder: Path) -> None:
    """With the metric."""
    name = f"{load_record(folder).results[0]['id']}/ece"
    present = {key: one for key, one in read_scores(folder).items() if key != name}
    write_scores(folder, present | ({} if scores is None else {name: scores}))
    with pytest.raises(DataError, match=f"scores of result {name} are damaged: .*{fault}"):
        find_records(folder)


def test_a_metric_that_a_result_has_not_is_refused(folder: Path) -> None:
    """With those that it has."""
    with pytest.raises(UsageError, match=r"has no 'f1'\. It has: accuracy, ece, macro-f1"):
        load_record(folder).scores(load_record(folder).results[0], "f1")


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (("--set", "test.extra_metrics=f1"), "it takes macro-f1 and ece, got 'f1'"),
        (("--set", "test.extra_metrics=accuracy"), "it takes macro-f1 and ece, got 'accuracy'"),
        (("--set", "test.extra_metrics=ece,macro-f1"), "several are written in brackets"),
        (("--set", "test.extra_metrics=[ece, ece]"), "each metric is named once"),
        (
            ("--set", "test.extra_metrics=ece", "--dataset", "sinusoid"),
            "ece cannot measure regression, which sinusoid needs",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(asked: tuple[str, ...], fault: str) -> None:
    """In one line."""
    said = call("run", "--method", "maml", *asked)
    assert said.code == 2 and fault in said.err and len(said.err.splitlines()) == 1
