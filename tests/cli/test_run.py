"""`fsbench run`: what it prints, what it leaves, what it leaves alone."""

import json
import shlex
from pathlib import Path

import pytest
from command_line import NAMED, PIXELS, TINY, call, content, finished, only_run, snapshot

from fewshot_bench.arguments import parse_seeds
from fewshot_bench.errors import UsageError
from fewshot_bench.results.records import find_records, load_record
from fewshot_bench.results.score_files import read_scores
from fewshot_bench.results.statistics import score_interval


def summary(text: str) -> dict[str, str]:
    """The lines of a closing summary by their names."""
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in text.splitlines())}


def test_the_summary_says_what_was_measured_where_it_is_and_how_to_repeat_it(tmp_path: Path) -> None:
    """Accuracy and interval, episodes, seeds, protocol, time, record, command: all on stdout."""
    said = finished(*TINY, "--out", tmp_path)
    lines = summary(said.out)
    record = load_record(only_run(tmp_path))
    result = record.results[0]
    assert lines["accuracy"].startswith(f"{100 * result['mean']:.2f} ± {100 * (result['high'] - result['low']) / 2:.2f} %")
    assert "8 episodes" in lines["accuracy"]
    assert "one seed" in lines["accuracy"]
    assert lines["protocol"].startswith("custom, 8 episodes, 5 queries a class")
    assert lines["seeds"] == "0"
    assert "training" in lines["time"]
    assert "testing" in lines["time"]
    assert lines["record"] == str(record.folder)
    assert lines["again"] == record.content["provenance"]["command"]


def test_the_interval_is_that_of_the_episode_scores(tmp_path: Path) -> None:
    """What the record says follows from the scores that it keeps."""
    finished(*TINY, "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    (result,) = record.results
    scores = record.scores(result["id"])
    interval = score_interval([scores], trials=25)
    assert len(scores) == result["test"]["episodes"] == 8
    assert (result["mean"], result["low"], result["high"]) == (interval.mean, interval.low, interval.high)


def test_the_command_of_the_summary_makes_the_same_record_again(tmp_path: Path) -> None:
    """The same run id, results and weights in another folder."""
    again = summary(finished(*TINY, "--ways", "4", "--seeds", "3", "--set", "dropout=0.25", "--out", tmp_path / "a").out)
    program, *arguments = shlex.split(again["again"])
    assert program == "fsbench"
    finished(*arguments, "--out", tmp_path / "b")
    first, second = only_run(tmp_path / "a"), only_run(tmp_path / "b")
    assert first.name == second.name
    assert content(first) == content(second)
    weights = "checkpoint.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()


def test_the_command_names_the_device_that_auto_found(tmp_path: Path) -> None:
    """On a machine with another accelerator it is still the same run."""
    finished(*PIXELS, "--out", tmp_path)
    record = content(only_run(tmp_path))
    assert f"--device {record['train']['device']}" in record["provenance"]["command"]


def test_a_record_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    """Neither where it lies nor where the data came from."""
    root = tmp_path / "data"
    root.mkdir()
    finished(*PIXELS, "--out", tmp_path / "runs", "--data-root", root)
    assert str(tmp_path) not in (only_run(tmp_path / "runs") / "record.json").read_text()


def test_one_query_is_no_queries(tmp_path: Path) -> None:
    """In the summary of a test."""
    said = finished(
        "run", "--method", "nearest-centroid", "--protocol", "custom", "--queries", "1", "--episodes", "4", "--out", tmp_path
    )
    assert "4 episodes, 1 query a class" in said.out


def test_json_on_stdout_is_the_record_and_nothing_else(tmp_path: Path) -> None:
    """A list of one record a seed; progress is on stderr."""
    said = finished(*TINY, "--json", "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    assert json.loads(said.out) == [{"asked": record.result["id"], **record.content}]
    assert "update 6/6" in said.err


def test_progress_is_on_stderr_without_colours_or_bars_where_it_is_no_terminal(tmp_path: Path) -> None:
    """Loss, validation score and position in plain lines."""
    said = finished(*TINY, "--out", tmp_path)
    assert "loss" in said.err
    assert "validation" in said.err
    assert "\x1b" not in said.err + said.out
    assert "loss" not in said.out


def test_a_dry_run_writes_nothing_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither records nor prepared data, though it names the run and its folder."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    said = finished("run", "--method", "maml", "--dry-run", "--json")
    (plan,) = json.loads(said.out)
    assert list(tmp_path.iterdir()) == []
    assert plan["prepared"] is False
    assert plan["folder"] == f"runs/maml-glyphs-{plan['run_id']}"
    assert plan["parameters"] == 111_749  # 3x3x1x64 + 3 x 3x3x64x64 + 4 x 64 shifts + 64 x 5 + 5


def test_a_dry_run_tells_the_run_id_and_the_specs_of_the_real_run(tmp_path: Path) -> None:
    """What is announced is what is done."""
    (plan,) = json.loads(finished(*TINY, "--dry-run", "--json", "--out", tmp_path).out)
    assert not list(tmp_path.iterdir())
    finished(*TINY, "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    assert plan["folder"] == str(record.folder)
    assert plan["run_id"] == record.run_id
    assert plan["train"] == record.content["train"]
    assert plan["test"] == record.results[0]["test"]
    assert plan["parameters"] == record.content["method"]["parameters"]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    """By default it is reused: nothing is written, and the summary is the same."""
    first = finished(*TINY, "--out", tmp_path)
    before = snapshot(tmp_path)
    second = finished(*TINY, "--out", tmp_path)
    assert snapshot(tmp_path) == before
    assert second.out == first.out
    assert "Already done" in second.err


def test_a_finished_run_is_an_error_where_that_is_asked(tmp_path: Path) -> None:
    """Exit 2, the folder, the ways out; the record stays."""
    finished(*PIXELS, "--out", tmp_path, "--on-existing", "error")
    before = snapshot(tmp_path)
    said = call(*PIXELS, "--out", tmp_path, "--on-existing", "error")
    assert said.code == 2
    assert str(only_run(tmp_path)) in said.err
    assert "reuse" in said.err
    assert "overwrite" in said.err
    assert snapshot(tmp_path) == before


def test_overwriting_runs_again_and_keeps_other_results_of_the_same_weights(tmp_path: Path) -> None:
    """A result that was added to the old record stays where the weights come out as they were."""
    finished(*TINY, "--out", tmp_path)
    folder = only_run(tmp_path)
    before, weights = content(folder), (folder / "checkpoint.safetensors").read_bytes()
    finished("test", folder, *NAMED, "--episodes", "9")
    added = content(folder)
    (folder / "checkpoint.safetensors").write_bytes(b"damaged")
    finished(*TINY, "--out", tmp_path, "--on-existing", "overwrite")
    assert content(folder) == added
    assert added["results"][0] == before["results"][0]
    assert (folder / "checkpoint.safetensors").read_bytes() == weights
    assert set(read_scores(folder)) == {result["id"] for result in added["results"]}


def test_another_test_of_a_finished_run_is_added_without_training(tmp_path: Path) -> None:
    """The same training asked for with other test conditions is one run with two results, each with its command."""
    finished(*TINY, "--out", tmp_path)
    folder = only_run(tmp_path)
    weights = (folder / "checkpoint.safetensors").read_bytes()
    said = finished(*TINY, "--episodes", "9", "--out", tmp_path)
    assert "update" not in said.err
    assert "custom, 9 episodes" in said.out
    record = load_record(only_run(tmp_path))
    assert [result["test"]["episodes"] for result in record.results] == [8, 9]
    assert ["--episodes 9" in result["command"] for result in record.results] == [False, True]
    assert summary(said.out)["again"] == record.results[1]["command"]
    assert (folder / "checkpoint.safetensors").read_bytes() == weights


def test_two_seeds_make_two_records_and_one_pooled_summary(tmp_path: Path) -> None:
    """The seeds see the same episodes, and the interval is over both."""
    said = finished(*TINY, "--seeds", "0-1", "--out", tmp_path)
    records = find_records([tmp_path])
    assert sorted(record.content["train"]["seed"] for record in records) == [0, 1]
    assert len({record.results[0]["digest"] for record in records}) == 1
    scores = [record.scores(record.results[0]["id"]) for record in records]
    interval = score_interval(scores, trials=25)
    lines = said.out.splitlines()
    assert sum(line.startswith("accuracy") for line in lines) == 1
    assert f"{100 * interval.mean:.2f}" in lines[0]
    assert "8 episodes crossed with 2 seeds" in lines[0]
    assert summary(said.out)["seeds"] == "0, 1"
    assert all(str(record.folder) in said.out for record in records)
    assert all(record.content["provenance"]["command"] in said.out for record in records)


def test_seeds_train_different_weights(tmp_path: Path) -> None:
    """The seed decides the initial weights and the training episodes."""
    finished(*TINY, "--seeds", "0,7", "--out", tmp_path)
    first, second = (record.folder / "checkpoint.safetensors" for record in find_records([tmp_path]))
    assert first.read_bytes() != second.read_bytes()


def test_a_data_set_is_named_by_its_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a method is: prepared in the cache, recorded without the folder of the file, tested again."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    file = Path(__file__).parents[1] / "support" / "plugin" / "fewshot_example" / "stripes.py"
    finished(*PIXELS, "--dataset", f"{file}:Stripes", "--out", tmp_path / "runs")
    folder = only_run(tmp_path / "runs")
    assert folder.parent == tmp_path / "runs"
    assert content(folder)["train"]["dataset"] == "stripes:Stripes"
    assert len(list(tmp_path.glob("cache/stripes-Stripes-*"))) == 1
    finished("test", folder, "--dataset", f"{file}:Stripes", "--ways", "2")


def test_a_recipe_file_is_one_layer_between_defaults_and_settings(tmp_path: Path) -> None:
    """`--set` wins over the file, the file over the defaults."""
    recipe = tmp_path / "my.yaml"
    recipe.write_text("train: {updates: 5, lr: 1e-2}\nvalidation: {every: 2}\nmethod: {features: 8}\n")
    command = ("run", "--method", TINY[2], "--recipe", recipe, "--set", "updates=4", "--dry-run", "--json")
    train = json.loads(finished(*command).out)[0]["train"]
    assert (train["updates"], train["lr"], train["validation"]["every"]) == (4, 0.01, 2)
    assert (train["hparams"], train["queries"]) == ({"features": 8, "dropout": 0.5}, 15)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [3]), ("0-4", [0, 1, 2, 3, 4]), ("0,2,5-7", [0, 2, 5, 6, 7]), ("4294967295", [2**32 - 1])]
)
def test_seeds_are_numbers_ranges_or_lists(text: str, seeds: list[int]) -> None:
    """As the help says."""
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0-0-1", "1-", "-", ",", "0,,1", "²", "1.0"])
def test_seeds_that_say_nothing_clear_are_refused(text: str) -> None:
    """With what was given."""
    with pytest.raises(UsageError, match=r"--seeds takes numbers from 0 up"):
        parse_seeds(text)
