"""`fsbench verify` finds what a forger changes, even where every hash and mean in the record was made to fit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import NAMED, PIXELS, TINY, call, finished, only_run
from forgery import Content, forge

from fewshot_bench.results import answer_files
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors, weights_sha256
from fewshot_bench.storage import write_json


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run with its weights."""
    out: Path = tmp_path_factory.mktemp("honest")
    finished(*TINY, "--out", out)
    return only_run(out)


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    """A copy that may be forged."""
    folder = tmp_path / honest.name
    shutil.copytree(honest, folder)
    return folder


def standings(folder: Path, *more: str) -> dict[str, str]:
    """How each field stands; results' own fields without their ids."""
    said = call("verify", folder, *(more or NAMED), "--json")
    (found,) = json.loads(said.out)
    assert said.code == (4 if found["verdict"] == "differs" else 0)
    return {"verdict": found["verdict"]} | {
        check["field"].rpartition(" ")[2]: check["standing"] for check in found["checks"]
    }


def test_an_honest_record_is_recomputed(honest: Path) -> None:
    """Scores, digest, data and parameters; of the training and its cost nobody can vouch."""
    found = standings(honest)
    computed = {"verdict", "data", "splits", "pixels", "parameters", "weights", "digest", "scores", "queries"}
    assert {name for name, standing in found.items() if standing == "recomputed"} == computed
    assert {name for name, standing in found.items() if standing == "unvouched"} == {"training", "cost"}
    text = finished("verify", honest, *NAMED).out
    assert text.startswith(f"{honest.name}: recomputed")
    assert "all 8 are the same, bit for bit" in text


def test_without_its_weights_a_record_is_consistent(copy: Path) -> None:
    """Its scores rest on its word."""
    (copy / "checkpoint.safetensors").unlink()
    found = standings(copy)
    assert (found["verdict"], found["scores"], found["weights"]) == ("consistent", "unvouched", "unvouched")
    assert (found["digest"], found["mean"]) == ("recomputed", "consistent")


def test_a_method_that_is_not_installed_is_not_imported(copy: Path) -> None:
    """Unless it is named; the record alone is still checked."""
    (found,) = json.loads(finished("verify", copy, "--json").out)
    assert found["verdict"] == "consistent"
    assert any("not installed" in check["said"] for check in found["checks"] if check["field"].endswith("scores"))


def test_a_method_that_was_edited_since_says_nothing_against_a_record(tmp_path: Path) -> None:
    """Other parameters are the edit's; the digest is computed all the same."""
    file, before = tmp_path / "linear_method.py", "super().__init__(hparams, info, backbone)"
    text = Path(NAMED[1].rpartition(":")[0]).read_text()
    file.write_text(text)
    finished("run", "--method", f"{file}:Linear", *TINY[3:], "--out", tmp_path / "runs")
    folder = only_run(tmp_path / "runs")
    assert standings(folder, "--method", f"{file}:Linear")["verdict"] == "recomputed"
    file.write_text(text.replace(before, f"{before}\n        self.more = nn.Linear(2, 3)"))
    found = standings(folder, "--method", f"{file}:Linear")
    assert (found["verdict"], found["weights"], found["scores"]) == ("consistent", "unvouched", "unvouched")
    assert found["digest"] == "recomputed"
    assert "parameters" not in found


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


def a_ranking_protocol(folder: Path) -> None:
    def standard(content: Content) -> None:
        content["results"][0]["test"]["protocol"] = "standard"

    forge(folder, None, standard)


FORGERIES = {
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
    a_ranking_protocol: "protocol",
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda one: one.__name__)
def test_a_forgery_is_found_where_it_was_made(copy: Path, forgery: Callable[[Path], None]) -> None:
    """With the exit code 4 and the field that does not hold."""
    forgery(copy)
    found = standings(copy)
    assert found["verdict"] == "differs"
    assert found[FORGERIES[forgery]] == "differs"
    said = call("verify", copy, *NAMED)
    assert (said.code, copy.name in said.complaint) == (4, True)
    assert len(said.complaint.splitlines()) <= 3


def test_a_method_without_weights_is_recomputed(tmp_path: Path) -> None:
    """There is nothing to load."""
    finished(*PIXELS, "--out", tmp_path)
    (found,) = json.loads(finished("verify", tmp_path, "--json").out)
    assert found["verdict"] == "recomputed"


def test_other_bits_of_another_machine_are_within_a_bound(copy: Path) -> None:
    """A record of another processor may differ in few episodes and hardly in the mean; here it is one of eight: too many."""
    content = json.loads((copy / "record.json").read_text())
    content["provenance"]["processor"] = "another"
    write_json(copy / "record.json", content)
    assert standings(copy)["scores"] == "recomputed"
    one_score(copy)
    assert standings(copy)["scores"] == "differs"


def test_no_run_is_no_success(tmp_path: Path) -> None:
    """An empty folder verifies nothing."""
    assert call("verify", tmp_path).code == 2
