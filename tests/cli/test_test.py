"""`fsbench test`: another result of the same checkpoint."""

import json
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from command_line import NAMED, PIXELS, TINY, Said, call, content, finished, only_run, snapshot

from fewshot_bench.identity import identify_result
from fewshot_bench.results.pooling import pool
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of seed 0."""
    out = tmp_path_factory.mktemp("trained")
    finished(*TINY, "--out", out)
    return only_run(out)


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change, alone in its folder of records."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def last_test(folder: Path) -> dict[str, object]:
    """The spec of the result that was added last."""
    test: dict[str, object] = load_record(folder).results[-1]["test"]
    return test


def test_a_result_is_added_and_the_earlier_one_and_the_checkpoint_stay(folder: Path) -> None:
    """Training is never touched."""
    before, files = content(folder), snapshot(folder)
    said = finished("test", folder, *NAMED, "--shots", "5")
    after = content(folder)
    assert after["results"][:1] == before["results"]
    assert {**after, "results": []} == {**before, "results": []}
    assert len(after["results"]) == 2
    for name in ("checkpoint.safetensors", "log.jsonl"):
        assert snapshot(folder)[name] == files[name]
    assert "5-way 5-shot" in said.out
    record = load_record(folder)
    assert [len(record.scores(result["id"])) for result in record.results] == [8, 8]


def test_what_is_not_asked_stays_as_the_run_was_tested(folder: Path) -> None:
    """`--shots 5` changes the shots alone, and with them the episodes."""
    finished("test", folder, *NAMED, "--shots", "5")
    first, second = load_record(folder).results
    assert second["test"] == {**first["test"], "shots": 5}
    assert first["digest"] != second["digest"]


def test_another_protocol_brings_its_own_conditions(folder: Path) -> None:
    """2,000 episodes of 15 queries, whatever the run was tested on."""
    finished("test", folder, *NAMED, "--protocol", "standard-transductive")
    test = last_test(folder)
    assert (test["protocol"], test["episodes"], test["queries"]) == ("standard-transductive", 2000, 15)
    assert (test["ways"], test["shots"]) == (5, 1)


def test_settings_of_the_test_can_be_set(folder: Path) -> None:
    """The seed of the episodes makes other episodes."""
    finished("test", folder, *NAMED, "--set", "test.seed=1")
    first, second = load_record(folder).results
    assert second["test"] == {**first["test"], "seed": 1}
    assert first["digest"] != second["digest"]


def test_the_same_test_twice_is_one_result(folder: Path) -> None:
    """Nothing is written the second time."""
    finished("test", folder, *NAMED, "--shots", "5")
    before = snapshot(folder)
    said = finished("test", folder, *NAMED, "--shots", "5")
    assert snapshot(folder) == before
    assert "holds this result" in said.err


def test_json_on_stdout_is_the_record_with_the_result(folder: Path) -> None:
    """And nothing else but the id of the result that was asked for."""
    said = finished("test", folder, *NAMED, "--ways", "3", "--json")
    record = load_record(folder)
    assert json.loads(said.out) == {"asked": record.results[1]["id"], **record.content}


def test_the_result_says_the_commands_that_make_it(folder: Path) -> None:
    """The training's command, then the test's by run id."""
    said = finished("test", folder, *NAMED, "--shots", "5", "--set", "test.seed=2")
    record = load_record(folder)
    first, second = (result["command"] for result in record.results)
    named = shlex.join(NAMED)
    assert second == f"{first} && fsbench test {record.run_id} {named} --shots 5 --queries 5 --episodes 8 --set test.seed=2"
    assert second in said.out


def test_a_test_of_a_loaded_checkpoint_equals_that_of_the_trained_model(folder: Path) -> None:
    """The weights on disk are those that were tested: the same episodes asked for again have the same scores."""
    finished("test", folder, *NAMED, "--episodes", "12")
    record = load_record(folder)
    first, second = (record.scores(result["id"]) for result in record.results)
    assert (first == second[:8]).all()
    assert first.std() > 0


def named(how: str, folder: Path) -> tuple[str, ...]:
    """The ways to name a run."""
    run_id = load_record(folder).run_id
    return {
        "folder": (str(folder),),
        "name": (folder.name, "--out", str(folder.parent)),
        "id": (run_id, "--out", str(folder.parent)),
        "start of its id": (run_id[:4], "--out", str(folder.parent)),
    }[how]


@pytest.mark.parametrize("how", ["folder", "name", "id", "start of its id"])
def test_a_run_is_named_by(how: str, folder: Path) -> None:
    """Its folder anywhere, or its name or id below `--out`."""
    finished("test", *named(how, folder), *NAMED, "--ways", "2")
    assert last_test(folder)["ways"] == 2


def refused(said: Said) -> str:
    """The complaint of a command that was refused."""
    assert said.code == 2, said.err
    assert said.out == ""
    return said.complaint


def test_a_name_of_two_runs_is_refused(folder: Path) -> None:
    """Both are named, and neither is changed."""
    other = Path(shutil.copytree(folder, folder.parent / folder.name.replace(folder.name[-6:], "ffffff")))
    before = snapshot(folder.parent)
    common = load_record(folder).run_id[:4]
    complaint = refused(call("test", common, *NAMED, "--out", folder.parent, "--ways", "2"))
    assert "2 runs" in complaint
    assert folder.name in complaint
    assert other.name in complaint
    assert snapshot(folder.parent) == before


def test_a_run_that_is_not_finished_is_refused(folder: Path) -> None:
    """It has no record yet."""
    (folder / "record.json").unlink()
    assert "No finished run" in refused(call("test", folder, *NAMED, "--out", folder.parent))


@pytest.fixture
def edited(tmp_path: Path) -> str:
    """The method of the run once it was edited: the farthest class mean wins."""
    source = tmp_path / "linear_method.py"
    source.write_text(Path(TINY[2].rpartition(":")[0]).read_text().replace("return -(query", "return (query"))
    return f"{source}:Linear"


def test_a_method_that_has_changed_since_is_tested_with_a_word_about_it(folder: Path, edited: str) -> None:
    """The new result carries the hash of the source that made it."""
    said = finished("test", folder, "--method", edited, "--shots", "5")
    assert "source" in said.err
    assert "has changed" in said.err
    results = load_record(folder).results
    assert results[0]["source_sha256"] != results[1]["source_sha256"]


def test_an_edited_method_is_tested_again_under_the_same_conditions(folder: Path, edited: str) -> None:
    """Its result stands beside the old one, and is no other seed of it."""
    said = finished("test", folder, "--method", edited)
    assert "Already done" not in said.err
    old, new = load_record(folder).results
    assert old["test"] == new["test"]
    assert new["mean"] < old["mean"]
    pooled, _ = pool([load_record(folder)])
    assert [one.interval.mean for one in pooled] == [old["mean"], new["mean"]]


def test_another_engine_tests_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of two numbers are two results."""
    monkeypatch.setattr("fewshot_bench.runs.session.ENGINE", 99)
    monkeypatch.setattr("fewshot_bench.runs.session.identify_result", partial(identify_result, engine=99))
    assert "Already done" not in finished("test", folder, *NAMED).err
    assert [one["engine"] for one in load_record(folder).results] == [1, 99]
    assert len(pool([load_record(folder)])[0]) == 2


def test_a_result_that_is_there_is_reused_refused_or_computed_again(folder: Path) -> None:
    """As `--on-existing` says."""
    (before,) = load_record(folder).results
    assert "--on-existing overwrite" in finished("test", folder, *NAMED).err
    assert "holds this result" in refused(call("test", folder, *NAMED, "--on-existing", "error"))
    assert "must be reuse, error or overwrite" in refused(call("test", folder, *NAMED, "--on-existing", "never"))
    assert "--shard" not in finished("test", folder, *NAMED, "--on-existing", "overwrite").err
    (after,) = load_record(folder).results
    assert after["mean"] == before["mean"]
    assert "whole test" in refused(call("test", folder, *NAMED, "--shard", "1/2", "--on-existing", "overwrite"))


def damaged(said: Said) -> str:
    """What a command said of damaged data."""
    assert said.code == 3
    assert "Traceback" not in said.err
    return said.complaint


def test_weights_of_another_run_are_refused(folder: Path, tmp_path: Path) -> None:
    """Of another seed, whatever their names and shapes."""
    finished(*TINY, "--seeds", "1", "--out", tmp_path / "other")
    shutil.copy(only_run(tmp_path / "other") / "checkpoint.safetensors", folder / "checkpoint.safetensors")
    before = (folder / "record.json").read_bytes()
    assert "holds the weights of run" in damaged(call("test", folder, *NAMED, "--shots", "5"))
    assert (folder / "record.json").read_bytes() == before


CHANGED = {
    "a missing tensor": (lambda tensors: {"map.bias": tensors["map.bias"]}, "map.weight [16, 784] is missing"),
    "one too many": (lambda tensors: tensors | {"head": torch.ones(2)}, "head [2] belongs nowhere"),
    "another shape": (lambda tensors: tensors | {"map.bias": torch.ones(3)}, "map.bias is [3] in place of [16]"),
    "other values": (lambda tensors: tensors | {"map.bias": torch.ones(16)}, "other weights than those that"),
}


@pytest.mark.parametrize("how", CHANGED)
def test_changed_weights_are_refused(how: str, folder: Path) -> None:
    """What does not fit is named, and values that are not the run's are told by their hash."""
    change, words = CHANGED[how]
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    save_tensors(folder / "checkpoint.safetensors", change(tensors), about)
    assert words in damaged(call("test", folder, *NAMED, "--shots", "5"))


MANY = ("--episodes", "90")
"""Three batches of up to 34 episodes."""


def summary_of(said: Said) -> list[str]:
    """The lines of a summary but for times and folders."""
    return [line for line in said.out.splitlines() if not line.startswith(("time", "record"))]


def test_shards_are_computed_in_any_order_and_the_last_one_merges_them(folder: Path, trained: Path, tmp_path: Path) -> None:
    """Until then it says which parts are missing, and the record is untouched; then it says what the whole test says."""
    before = (folder / "record.json").read_bytes()
    assert finished("test", folder, *NAMED, *MANY, "--shard", "3/3").out.startswith(
        "1 of 3 parts are there; missing: 1-2.\n"
    )
    assert finished("test", folder, *NAMED, *MANY, "--shard", "1/3").out.startswith("2 of 3 parts are there; missing: 2.\n")
    assert (folder / "record.json").read_bytes() == before
    said = finished("test", folder, *NAMED, *MANY, "--shard", "2/3")
    whole = Path(shutil.copytree(trained, tmp_path / "whole"))
    assert summary_of(said) == summary_of(finished("test", whole, *NAMED, *MANY))
    assert content(folder) == content(whole)
    assert snapshot(folder).keys() == snapshot(whole).keys()
    assert "--shard" not in said.out


def test_a_shard_in_json_is_its_standing(folder: Path) -> None:
    """Nothing else on stdout; the record once it is merged, and when it was there already."""
    first = json.loads(finished("test", folder, *NAMED, *MANY, "--shard", "2/2", "--json").out)
    assert (first["shard"], first["done"], first["missing"], first["record"]) == ("2/2", [2], [1], None)
    for shard in ("1/2", "2/2"):
        said = json.loads(finished("test", folder, *NAMED, *MANY, "--shard", shard, "--json").out)
        assert (said["shard"], said["done"], said["missing"]) == (shard, [1, 2], [])
        assert said["record"] == load_record(folder).content
        assert said["result"] == first["result"] == load_record(folder).results[-1]["id"]


def test_a_shard_that_is_there_is_not_computed_again(folder: Path) -> None:
    """A note says so; nothing is written."""
    finished("test", folder, *NAMED, *MANY, "--shard", "2/3")
    before = snapshot(folder)
    said = finished("test", folder, *NAMED, *MANY, "--shard", "2/3")
    assert "Already there: part 2/3." in said.err
    assert snapshot(folder) == before


def test_a_result_that_is_there_has_no_shards(folder: Path) -> None:
    """The run's own test is done; nothing is written."""
    before = snapshot(folder)
    said = finished("test", folder, *NAMED, "--shard", "1/2")
    assert "holds this result" in said.err
    assert "5-way 1-shot" in said.out
    assert snapshot(folder) == before


BAD_SHARDS = {
    "none": (["--shard", "0/4"], "i/k with i from 1 to k, such as 1/4; got '0/4'"),
    "beyond the last": (["--shard", "5/4"], "'5/4'"),
    "no numbers": (["--shard", "a/b"], "'a/b'"),
    "one number": (["--shard", "2"], "'2'"),
    "nothing": (["--shard", ""], "''"),
    "negative": (["--shard", "-1/4"], "'-1/4'"),
    "no value": (["--shard"], "--shard"),
    "more than batches": ([*MANY, "--shard", "2/4"], "The 90 episodes", "3 batches of up to 34", "--shard 1/3, got 2/4"),
    "transductive under an inductive protocol": (
        ["--protocol", "standard", "--set", "test.normalisation=joint", "--shard", "1/4"],
        "'joint'",
    ),
    "too many ways": (["--ways", "400", "--shard", "1/4"], "at most --ways 324"),
}


@pytest.mark.parametrize("name", BAD_SHARDS)
def test_a_shard_that_cannot_be_is_refused(name: str, folder: Path) -> None:
    """In one to three lines, before any episode; nothing is written."""
    arguments, *words = BAD_SHARDS[name]
    before = snapshot(folder)
    said = call("test", folder, *NAMED, *arguments)
    complaint = refused(said)
    assert 1 <= len(complaint.splitlines()) <= 3
    assert "Traceback" not in said.err
    assert [word for word in words if word not in complaint] == []
    assert snapshot(folder) == before


def test_what_is_not_trained_can_be_tested_in_shards(tmp_path: Path) -> None:
    """It needs no weights; each batch holds 256 episodes here."""
    finished(*PIXELS, "--out", tmp_path)
    folder = only_run(tmp_path)
    finished("test", folder, "--queries", "2", "--episodes", "300", "--shard", "2/2")
    assert "5-way 1-shot" in finished("test", folder, "--queries", "2", "--episodes", "300", "--shard", "1/2").out
