"""`fsbench run` and `test` on episodes that differ in size, and on episodes with unlabelled images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import LINEAR, PIXELS, TINY, call, content, finished, only_run

from fewshot_bench.results.records import load_record
from fewshot_bench.results.statistics import score_interval

SOFT = f"{Path(__file__).parents[1] / 'support' / 'soft_k_means.py'}:SoftKMeans"
VARYING = ("test.max_ways=8", "test.max_shots=4", "test.imbalanced=true")
MORE = {"max_ways": 8, "max_shots": 4, "imbalanced": True}


def settings(*given: str) -> list[str]:
    """The options that make these settings."""
    return [word for setting in given for word in ("--set", setting)]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of pixels, tested on episodes of one size and then on varying ones."""
    out = tmp_path_factory.mktemp("tested")
    finished(*PIXELS, "--out", out)
    finished("test", only_run(out), "--protocol", "custom", *settings(*VARYING))
    return only_run(out)


@pytest.fixture
def folder(tested: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(tested, tmp_path / tested.name))


def last(folder: Path) -> dict[str, Any]:
    """The result that was added last."""
    return load_record(folder).results[-1]


def test_the_record_says_how_the_episodes_vary(tested: Path) -> None:
    """In the spec of the test; what is not asked for is not in it, so that earlier results keep their ids."""
    first, second = (result["test"] for result in load_record(tested).results)
    assert second == {**first, **MORE}


def test_a_varying_test_asked_for_at_once_is_the_same(tested: Path, tmp_path: Path) -> None:
    """Digest, scores and interval do not depend on whether the run or a later test asks for it."""
    finished(*PIXELS, *settings(*VARYING), "--out", tmp_path)
    record, at_once = load_record(only_run(tmp_path)), last(only_run(tmp_path))
    same = ("id", "test", "predictions", "digest", "mean", "low", "high", "interval")
    assert [at_once[key] for key in same] == [last(tested)[key] for key in same]
    assert record.scores(at_once["id"]).tolist() == load_record(tested).scores(at_once["id"]).tolist()


def test_the_interval_of_a_varying_test_counts_the_queries_that_there_were(tested: Path) -> None:
    """More than in as many episodes of the fewest ways, fewer than in as many of the most."""
    result = last(tested)
    assert 8 * 5 * 15 < result["predictions"] < 8 * 8 * 15
    interval = score_interval([load_record(tested).scores(result["id"])], trials=result["predictions"] / 8)
    assert (result["low"], result["high"]) == (interval.low, interval.high)


def test_varying_results_stand_in_a_table_of_their_own(tested: Path) -> None:
    """Whose title says the bounds."""
    said = finished("table", tested)
    assert "glyphs, 5-way 1-shot, protocol custom" in said.out
    assert "glyphs, 5–8-way 1–4-shot, imbalanced, protocol custom" in said.out


def test_the_summary_says_the_bounds(folder: Path) -> None:
    """As the table does."""
    said = finished("test", folder, *settings("test.max_ways=6", "test.unlabelled=2", "test.distractors=1"))
    assert "5–6-way 1-shot, 2 unlabelled a class, 1 distractor classes" in said.out


def test_another_test_keeps_how_the_run_was_tested_within_its_protocol(tmp_path: Path) -> None:
    """`null` takes a bound away; another protocol has none."""
    finished(*PIXELS, *settings(*VARYING), "--out", tmp_path)
    folder = only_run(tmp_path)
    for command, expected in (
        (("--episodes", "9"), MORE),
        (settings("test.max_ways=null"), {"max_shots": 4, "imbalanced": True}),
        (("--protocol", "finn"), {}),
    ):
        finished("test", folder, *command)
        assert {key: value for key, value in last(folder)["test"].items() if key in MORE} == expected


def test_the_recorded_command_makes_the_result_again(tmp_path: Path) -> None:
    """With its settings."""
    finished(*PIXELS, *settings(*VARYING), "--out", tmp_path / "a")
    command = str(last(only_run(tmp_path / "a"))["command"]).split()
    assert command[0] == "fsbench"
    finished(*command[1:], "--out", tmp_path / "b")
    assert content(only_run(tmp_path / "a")) == content(only_run(tmp_path / "b"))


@pytest.mark.parametrize("count", [2, 5])
def test_shards_of_a_varying_test_merge_into_the_whole(folder: Path, count: int) -> None:
    """Each episode is a batch of its own, so any number of parts up to that of the episodes will do."""
    request = ["--protocol", "custom", *settings("test.max_ways=7", "test.unlabelled=3")]
    whole = Path(shutil.copytree(folder, folder.with_name("whole")))
    finished("test", whole, *request)
    for i in range(count, 0, -1):
        finished("test", folder, *request, "--shard", f"{i}/{count}")
    assert content(folder) == content(whole)
    wanted = last(whole)["id"]
    assert load_record(folder).scores(wanted).tolist() == load_record(whole).scores(wanted).tolist()


def test_unlabelled_images_change_a_method_that_uses_them(tmp_path: Path) -> None:
    """The record says how many there are; the digest is another."""
    for name, given in (("with", settings("test.unlabelled=4", "test.distractors=2")), ("without", [])):
        finished("run", "--method", SOFT, *PIXELS[3:], *given, "--out", tmp_path / name)
    one, other = last(only_run(tmp_path / "with")), last(only_run(tmp_path / "without"))
    assert one["test"] == {**other["test"], "unlabelled": 4, "distractors": 2}
    assert one["digest"] != other["digest"]
    assert one["mean"] != other["mean"]


def test_validation_shows_unlabelled_images_as_the_test_does(tmp_path: Path) -> None:
    """Unless it is told otherwise; training shows them where it is told so."""
    dry = ["--dry-run", "--json", "--out", tmp_path]
    (plan,) = json.loads(finished(*TINY, *settings("test.unlabelled=4", "test.distractors=2"), *dry).out)
    assert {"unlabelled": 4, "distractors": 2}.items() <= plan["train"]["validation"].items()
    assert "unlabelled" not in plan["train"]
    given = settings("test.unlabelled=4", "validation.unlabelled=0", "train.unlabelled=3")
    (plan,) = json.loads(finished(*TINY, *given, *dry).out)
    assert "unlabelled" not in plan["train"]["validation"]
    assert plan["train"]["unlabelled"] == 3


TRAINING = settings("train.max_ways=7", "train.max_shots=3", "train.imbalanced=true", "train.unlabelled=2")


def test_training_on_episodes_of_different_sizes_is_reproducible(tmp_path: Path) -> None:
    """One task at a time; the spec says how they vary, and the table what was trained on."""
    for name in ("a", "b"):
        finished(*TINY, *TRAINING, "--out", tmp_path / name)
    record = content(only_run(tmp_path / "a"))
    assert record == content(only_run(tmp_path / "b"))
    assert {"ways": 5, "max_ways": 7, "shots": 1, "max_shots": 3, "imbalanced": True}.items() <= record["train"].items()
    assert record["plan"]["train_chunk"] == 1
    (table,) = json.loads(finished("table", tmp_path / "a", "--format", "json").out)["tables"]
    assert table["rows"][0]["trained"] == "5–7-way 1–3-shot, imbalanced, 2 unlabelled a class"
    plain = only_run_of(tmp_path / "plain", *TINY)
    assert record["run_id"] != load_record(plain).run_id


def only_run_of(out: Path, *command: str) -> Path:
    """The folder of the run that a command makes."""
    finished(*command, "--out", out)
    return only_run(out)


REFUSED = {
    "a protocol of fixed sizes": (
        [*PIXELS[:3], "--protocol", "standard", *settings("test.max_ways=9", "test.unlabelled=2")],
        "Protocol 'standard' has independent episodes of one size, without unlabelled images, not max_ways=9, unlabelled=2. "
        "For a test of your own add --protocol custom.",
    ),
    "no upper bound for each class": ([*PIXELS, *settings("test.imbalanced=true")], "set max_shots too"),
    "a bound below what it bounds": ([*PIXELS, *settings("test.max_ways=4")], "max_ways 4 is below ways 5"),
    "a validation of one way": (
        [*TINY, *settings("validation.ways=1")],
        "A validation of 1 way has nothing to tell apart: at least --set validation.ways=2.",
    ),
    "distractors without images": ([*PIXELS, *settings("test.distractors=4")], "set unlabelled too"),
    "more classes than there are": (
        [*PIXELS, *settings("test.max_ways=6000")],
        "Test: 6000 ways are more than the 324 classes of this split: at most --set test.max_ways=324.",
    ),
    "more images than there are": (
        [*PIXELS, *settings("test.unlabelled=5")],
        "1 shot, 15 queries and 5 unlabelled need 21 images of each class",
    ),
    "fixed ways, tested": (
        ["run", "--method", "maml", "--protocol", "custom", *settings("test.max_ways=6")],
        "maml has one output for each way: its episodes cannot have 5 to 6 ways. Leave max_ways out.",
    ),
    "fixed ways, trained": (
        ["run", "--method", "maml", "--protocol", "custom", *settings("train.max_ways=6")],
        "maml has one output for each way",
    ),
    "a fixed support": (
        ["run", "--method", "snail", "--protocol", "custom", *settings("test.max_shots=6")],
        "trained with up to 5 shots, it cannot be tested with 6. Train it with --set train.max_shots=6.",
    ),
    "functions, tested": (
        ["run", "--method", "maml", "--dataset", "sinusoid", "--protocol", "custom", *settings("test.max_shots=6")],
        "Functions have no classes, and a test on them has one number of shots: leave test.max_shots out.",
    ),
    "functions, trained": (
        ["run", "--method", "maml", "--dataset", "sinusoid", *settings("train.unlabelled=6")],
        "leave train.unlabelled out.",
    ),
    "batches of classes": (
        ["run", "--method", "simpleshot", *settings("train.max_ways=6")],
        "max_ways, imbalanced, unlabelled and distractors need episodes",
    ),
    "which section": (
        [*PIXELS, *settings("unlabelled=2")],
        "write train.unlabelled or validation.unlabelled or test.unlabelled",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_any_work(case: str, tmp_path: Path) -> None:
    """With what would fit."""
    command, words = REFUSED[case]
    said = call(*command, "--out", tmp_path / "runs")
    assert said.code == 2
    assert words in " ".join(said.complaint.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("section", ["train", "test"])
def test_a_method_that_declares_a_balanced_support_refuses_another(section: str, tmp_path: Path) -> None:
    """In training as in a test; varying shots that are the same for all classes it takes."""
    plugin = tmp_path / "balanced.py"
    source = Path(LINEAR.rpartition(":")[0]).read_text()
    plugin.write_text(source.replace("needs_backbone = False", "needs_backbone = False\n    balanced_support = True"))
    command = ["run", "--method", f"{plugin}:Linear", *TINY[3:], *settings(f"{section}.max_shots=3"), "--out", tmp_path]
    said = call(*command, *settings(f"{section}.imbalanced=true"))
    assert said.code == 2
    assert "needs equally many support images of each class: leave imbalanced out." in said.complaint
    finished(*command)
