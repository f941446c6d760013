"""Twenty-odd kinds of forged records: each is refused where it is read, or found by `fsbench verify` where it was changed.

In most of them every hash, mean and interval was made to fit again (`forgery.forge`).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import NAMED, call, finished, only_run
from forgery import Content, forge

from fewshot_bench.results import answer_files
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors, weights_sha256
from fewshot_bench.storage import write_json


def standings(folder: Path, *more: str) -> dict[str, str]:
    """How each field stands; results' own fields without their ids."""
    (found,) = json.loads(call("verify", folder, *more, "--json").out)
    checks = sorted(found["checks"], key=lambda check: check["standing"] == "differs")  # which is kept of two of one name
    return {"verdict": found["verdict"]} | {check["field"].rpartition(" ")[2]: check["standing"] for check in checks}


def changed(folder: Path, change: Callable[[Content], None]) -> None:
    """Change a record, and let its ids and means fit."""
    forge(folder, None, change)


def one_score(folder: Path) -> None:
    scores = load_record(folder).scores(load_record(folder).results[0]["id"]).copy()
    scores[3] = 1.0 if scores[3] < 1 else 0.96
    forge(folder, scores)


def all_scores(folder: Path) -> None:
    forge(folder, np.full(8, 0.92) + np.tile([0.04, -0.04], 4))


def other_queries(folder: Path) -> None:
    """As many right in each episode, but others."""
    record = load_record(folder)
    answers = record.answers(record.results[0])
    assert answers is not None
    turned = answers.right.reshape(8, -1)[:, ::-1].reshape(-1)
    content = answer_files.packed({record.results[0]["id"]: replace(answers, right=turned)})
    (folder / answer_files.NAME).write_bytes(content)


def a_mean(folder: Path) -> None:
    content = json.loads((folder / "record.json").read_text())
    content["results"][0] |= {"mean": 0.9, "low": 0.8, "high": 0.95}
    write_json(folder / "record.json", content)


def the_best_episodes(folder: Path) -> None:
    record = load_record(folder)
    scores = np.sort(record.scores(record.results[0]["id"]))[::-1][:4].copy()

    def fewer(content: Content) -> None:
        content["results"][0]["test"]["episodes"] = 4

    forge(folder, scores, fewer)


def easier_episodes(folder: Path) -> None:
    def seeded(content: Content) -> None:
        content["results"][0]["test"]["seed"] = 5

    forge(folder, None, seeded)


def other_weights(folder: Path) -> None:
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    changed = {name: tensor + 0.5 for name, tensor in tensors.items()}
    save_tensors(folder / "checkpoint.safetensors", changed, about)


def other_weights_and_their_hash(folder: Path) -> None:
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    changed = {name: tensor.flip(-1) for name, tensor in tensors.items()}
    save_tensors(folder / "checkpoint.safetensors", changed, about)

    def hashed(content: Content) -> None:
        content["weights_sha256"] = weights_sha256(changed)

    forge(folder, None, hashed)


def another_seed(folder: Path) -> None:
    def seeded(content: Content) -> None:
        content["train"]["seed"] = 1

    forge(folder, None, seeded)
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    save_tensors(folder / "checkpoint.safetensors", tensors, about)  # still the weights of seed 0


def other_data(folder: Path) -> None:
    def named(content: Content) -> None:
        content["data"]["identity"] = "omniglot-v1-98d4a4b27b22"

    forge(folder, None, named)


def fewer_parameters(folder: Path) -> None:
    def counted(content: Content) -> None:
        content["method"]["parameters"] = 7

    forge(folder, None, counted)


def a_digest(folder: Path) -> None:
    def digested(content: Content) -> None:
        content["results"][0]["digest"] = "d" * 64

    forge(folder, None, digested)


def a_test_on_other_data(folder: Path) -> None:
    changed(folder, lambda content: content["results"][0]["test"].update(dataset="omniglot"))


def more_classes(folder: Path) -> None:
    """Ten classes more in the split that the data are said to have."""

    def counted(content: Content) -> None:
        split = content["data"]["splits"]["test"]
        each = split["images"] // split["classes"]
        split |= {"classes": split["classes"] + 10, "images": split["images"] + 10 * each}

    changed(folder, counted)


def a_longer_training(folder: Path) -> None:
    changed(folder, lambda content: content["train"].update(updates=60000))


def weights_that_are_no_numbers(folder: Path) -> None:
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    broken = {name: tensor * float("nan") for name, tensor in tensors.items()}
    save_tensors(folder / "checkpoint.safetensors", broken, about)
    changed(folder, lambda content: content.update(weights_sha256=weights_sha256(broken)))


def another_name(folder: Path) -> None:
    changed(folder, lambda content: content["data"].update(name="omniglot"))


def another_device(folder: Path) -> None:
    changed(folder, lambda content: content["plan"].update(device="cuda"))


FOUND = {
    one_score: "scores",
    all_scores: "scores",
    other_queries: "queries",
    a_mean: "mean",
    the_best_episodes: "digest",
    easier_episodes: "digest",
    other_weights: "weights",
    other_weights_and_their_hash: "scores",
    another_seed: "weights",
    other_data: "data",
    fewer_parameters: "parameters",
    a_digest: "digest",
    a_test_on_other_data: "data",
    more_classes: "splits",
    a_longer_training: "updates",
    another_device: "plan",
    weights_that_are_no_numbers: "scores",
    another_name: "name",
}


@pytest.mark.parametrize("forgery", FOUND, ids=lambda one: one.__name__)
def test_a_forgery_is_found_where_it_was_made(copy: Path, forgery: Callable[[Path], None]) -> None:
    """With the exit code 4 and the field that does not hold."""
    forgery(copy)
    found = standings(copy, *NAMED)
    assert found["verdict"] == "differs"
    assert found[FOUND[forgery]] == "differs"
    said = call("verify", copy, *NAMED)
    assert (said.code, copy.name in said.complaint) == (4, True)
    assert len(said.complaint.splitlines()) <= 3


def a_ranking_protocol(content: Content) -> None:
    """Eight episodes of five queries under the name of 2,000 of fifteen."""
    content["results"][0]["test"]["protocol"] = "standard"


def half_of_the_episodes(content: Content) -> None:
    content["results"][0]["test"] |= {"protocol": "standard", "queries": 15, "episodes": 1000}


def a_transductive_mode(content: Content) -> None:
    test = content["results"][0]["test"]
    test |= {"protocol": "standard", "queries": 15, "episodes": 2000, "normalisation": "separate"}


def easier_sizes(content: Content) -> None:
    test = content["results"][0]["test"]
    test |= {"protocol": "standard", "queries": 15, "episodes": 2000, "max_shots": 20, "normalisation": "none"}


def impossible_episodes(content: Content) -> None:
    content["results"][0]["test"]["ways"] = 5000


REFUSED = {
    a_ranking_protocol: "Protocol 'standard' has 15 queries and 2,000 episodes, not 5 and 8",
    half_of_the_episodes: "Protocol 'standard' has 2,000 episodes, not 1000",
    a_transductive_mode: "protocol 'standard' is inductive",
    easier_sizes: "Protocol 'standard' has independent episodes of one size",
    impossible_episodes: "episodes of 5,000 classes, of a split that has",
}


@pytest.mark.parametrize("forgery", REFUSED, ids=lambda one: one.__name__)
@pytest.mark.parametrize("command", ["verify", "table", "compare"])
def test_what_contradicts_its_protocol_is_refused_where_it_is_read(
    copy: Path, forgery: Callable[[Content], None], command: str
) -> None:
    """By every command that reads records, with what it contradicts."""
    changed(copy, forgery)
    said = call(command, copy, *([copy] if command == "compare" else []))
    assert said.code != 0
    assert REFUSED[forgery] in said.err
    assert "Traceback" not in said.err


def test_data_that_the_specification_does_not_name_are_found(copy: Path) -> None:
    """Glyphs described as omniglot; the record's own test names glyphs."""
    changed(copy, lambda content: content["results"][0].update(data=content["data"] | {"name": "omniglot"}))
    said = call("verify", copy, *NAMED)
    assert (said.code, "the test is on glyphs, the data are omniglot" in said.complaint) == (4, True)


def test_scores_of_a_device_that_is_not_here_are_unvouched(copy: Path) -> None:
    """And the next record is verified all the same."""
    content = json.loads((copy / "record.json").read_text())
    content["results"][0]["plan"] = content["plan"] | {"device": "cuda"}
    write_json(copy / "record.json", content)
    found = standings(copy, *NAMED)
    assert (found["scores"], found["verdict"]) == ("unvouched", "consistent")


def test_other_pixels_under_the_same_names_leave_the_scores_unvouched(copy: Path) -> None:
    """A fingerprint of one's own makes no record verified."""
    changed(copy, lambda content: content["data"].update(fingerprint="0" * 64))
    found = standings(copy, *NAMED)
    assert (found["pixels"], found["scores"], found["verdict"]) == ("unvouched", "unvouched", "consistent")


def test_what_a_training_states_is_that_of_its_recipe_and_its_curve(tmp_path: Path) -> None:
    """A training that was cut short cannot state a shorter recipe; where it states none, nobody vouches for it. Its best
    validation score is that of the learning curve."""
    few = ("--set", "updates=2", "--set", "validation.every=2", "--set", "validation.episodes=2")
    run = ("run", "--method", "prototypical-networks", "--protocol", "custom", "--episodes", "4", "--queries", "2")
    finished(*run, *few, "--out", tmp_path)
    folder = only_run(tmp_path)
    assert standings(folder)["recipe"] == "recomputed"
    assert standings(folder)["validation"] == "consistent"
    score = load_record(folder).content["training"]["validation_score"]
    changed(folder, lambda content: content["training"].update(validation_score=0.99))
    assert standings(folder)["validation"] == "differs"
    changed(folder, lambda content: content["training"].update(validation_score=score))
    changed(folder, lambda content: content["training"].update(recipe_updates=3))
    assert standings(folder)["recipe"] == "differs"
    changed(folder, lambda content: content["provenance"].update(git={"commit": "a" * 40, "dirty": False}))
    assert standings(folder)["recipe"] == "unvouched"  # another version may have had another recipe
    changed(folder, lambda content: content["training"].pop("recipe_updates"))
    assert standings(folder)["recipe"] == "unvouched"
    changed(folder, lambda content: content["results"][0]["request"].pop("settings"))  # as if nobody had asked for fewer
    assert standings(folder)["recipe"] == "unvouched"


def test_a_method_without_weights_has_no_hash_of_any(tmp_path: Path) -> None:
    """It says nothing of the scores, but it is no word of ours."""
    finished("run", "--method", "nearest-centroid", "--protocol", "custom", "--episodes", "4", "--out", tmp_path)
    folder = only_run(tmp_path)
    assert standings(folder)["weights"] == "recomputed"
    changed(folder, lambda content: content.update(weights_sha256="a" * 64))
    assert standings(folder)["weights"] == "differs"
