"""What a record must keep to be published: each rule with an example that breaks it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused, call
from forgery import Content, forge

from fewshot_bench.request import TestRequest
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.listener import Listener
from fewshot_bench.storage import write_json
from fewshot_leaderboard import gate
from fewshot_leaderboard.gate import RULES, broken_rules

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
PUBLISHED = next(RESULTS.glob("nearest-centroid-glyphs-*"))


def named(folder: Path) -> Path:
    """The folder under the name that its run has."""
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    train = content["train"]
    return folder.rename(folder.with_name(f"{train['method']}-{train['dataset']}-{content['run_id']}".replace("/", "-")))


def forged(folder: Path, change: Callable[[Content], None]) -> Path:
    """Changed, and every id made to fit."""
    forge(folder, None, change)
    return named(folder)


def a_file_of_code(folder: Path) -> Path:
    (folder / "method.py").write_text("raise SystemExit", encoding="utf-8")
    return folder


def a_link(folder: Path) -> Path:
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").symlink_to(PUBLISHED / "log.jsonl")
    return folder


def no_record(folder: Path) -> Path:
    (folder / "record.json").unlink()
    return folder


def large_weights(folder: Path) -> Path:
    (folder / "checkpoint.safetensors").write_bytes(bytes(gate.LARGEST))
    return folder


def a_mean(folder: Path) -> Path:
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    content["results"][0]["digest"] = "none"
    write_json(folder / "record.json", content)
    return folder


def another_folder(folder: Path) -> Path:
    return folder.rename(folder.with_name("the-best-method"))


def submitted_code(folder: Path) -> Path:
    """A method that would end this process if it were imported."""
    (folder.parent / "method.py").write_text("import os; os._exit(99)", encoding="utf-8")

    def change(content: Content) -> None:
        content["train"]["method"] = content["method"]["name"] = "method.py:Best"

    return forged(folder, change)


def an_unknown_protocol(folder: Path) -> Path:
    return forged(folder, lambda content: content["results"][0]["test"].update(protocol="standart"))


def one_score(folder: Path) -> Path:
    record = load_record(folder)
    scores = record.scores(record.results[0]["id"]).copy()
    scores[3] = 1.0 if scores[3] < 1 else 0.96
    forge(folder, scores)
    return folder


def better_scores(folder: Path) -> Path:
    """More than another torch could explain."""
    record = load_record(folder)
    forge(folder, np.minimum(record.scores(record.results[0]["id"]) + 0.04, 1.0))
    return folder


def other_code(folder: Path) -> Path:
    def change(content: Content) -> None:
        content["method"]["source_sha256"] = content["results"][0]["source_sha256"] = "a" * 64

    return forged(folder, change)


def a_result_in_place_of_another(folder: Path) -> Path:
    return forged(folder, lambda content: content["results"][0]["test"].update(protocol="custom"))


EXAMPLES = (
    ("files", a_file_of_code),
    ("files", a_link),
    ("files", no_record),
    ("size", large_weights),
    ("record", a_mean),
    ("folder", another_folder),
    ("names", submitted_code),
    ("names", an_unknown_protocol),
    ("verified", better_scores),
    ("unchanged", one_score),
    ("unchanged", a_result_in_place_of_another),
    ("run again", other_code),
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A published record that a stranger has copied."""
    return Path(shutil.copytree(PUBLISHED, tmp_path / PUBLISHED.name))


def rules(folder: Path) -> set[str]:
    """The names of those that a record breaks."""
    return {one.rule for one in broken_rules(folder, RESULTS, TestRequest(), Listener())}


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=lambda one: getattr(one, "__name__", one))
def test_a_record_that_breaks_a_rule_is_refused(
    rule: str, example: Callable[[Path], Path], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rule that is meant, and nothing that it brings is run."""
    monkeypatch.chdir(copy.parent)  # where a submitted file would be found
    assert rules(copy) == set()
    assert rule in rules(example(copy))


def test_every_rule_has_an_example_and_stands_in_the_guide() -> None:
    """Word for word."""
    assert {rule for rule, _ in EXAMPLES} == RULES.keys()
    guide = (RESULTS.parents[1] / "docs" / "how-to" / "submit.md").read_text(encoding="utf-8")
    assert all(f"| {rule} | {said} |" in guide for rule, said in RULES.items())


def test_the_command_says_which_rule_and_ends_with_4(copy: Path) -> None:
    """And with 0 where all are kept."""
    kept = call("leaderboard", "check", copy.parent, "--published", RESULTS)
    assert (kept.code, kept.out) == (0, f"{copy.name}: keeps every rule\n")
    refused = call("leaderboard", "check", one_score(copy), "--published", RESULTS)
    assert refused.out.startswith(f"{copy.name}: refused\n  unchanged: scores of result ")
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert "1 of 1 records break a rule" in refused.err


def test_a_fault_of_the_check_has_a_code_of_its_own(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes it for a verdict."""

    def fails(*given: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(gate, "verify_run", fails)
    assert_refused(call("leaderboard", "check", copy), 70, "The check itself failed", "RuntimeError", "no luck")


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_what_holds_no_record_is_said(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than that every rule is kept."""
    monkeypatch.chdir(tmp_path)
    assert_refused(call("leaderboard", "check", given), 2, given)
    assert_refused(call("leaderboard", "check", PUBLISHED, "--published", "nowhere"), 2, "--published nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(path.parent for path in RESULTS.glob("*/record.json")), ids=lambda path: path.name)
def test_every_published_record_keeps_every_rule(folder: Path) -> None:
    """Whatever data are here."""
    assert broken_rules(folder, RESULTS, TestRequest(), Listener()) == []
