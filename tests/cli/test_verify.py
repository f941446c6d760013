"""`fsbench verify` finds what a forger changes, even where every hash and mean in the record was made to fit."""

import json
from pathlib import Path

from command_line import NAMED, PIXELS, TINY, call, finished, only_run
from forgery import forge

from fewshot_bench.results.records import load_record
from fewshot_bench.storage import write_json


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
    said = {"training", "cost", "provenance", "log", "recipe"}  # the method is not installed, and so its recipe is unknown
    assert {name for name, standing in found.items() if standing == "unvouched"} == said
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
    scores = load_record(copy).scores(content["results"][0]["id"]).copy()
    scores[3] = 1.0 if scores[3] < 1 else 0.96
    forge(copy, scores)
    assert standings(copy)["scores"] == "differs"


def test_no_run_is_no_success(tmp_path: Path) -> None:
    """An empty folder verifies nothing."""
    assert call("verify", tmp_path).code == 2
