"""Right or wrong, a bit a query: kept in the order of the episodes, checked against the scores, bounded."""

import json
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import NAMED, TINY, call, finished, one_thread, only_run
from safetensors.numpy import load_file, save_file

from fewshot_bench.errors import DataError
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.scores import ExtraScores

SIZED = ("--dataset", "digits", "--protocol", "custom", "--episodes", 9, "--queries", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two results, the second of episodes of 2 to 5 ways, beside what was answered and what was right."""
    out, seen = tmp_path_factory.mktemp("made"), []

    def spy(self: ExtraScores, source: object, first: int, tasks: object, outputs: torch.Tensor) -> None:
        seen.append((outputs.tolist(), tasks.targets.tolist()))  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(ExtraScores, "__call__", spy)
        finished("run", "--method", "nearest-centroid", "--ways", 3, *SIZED, "--out", out)
        finished("test", only_run(out), "--ways", 2, "--set", "test.max_ways=5")
    (out / "seen.json").write_text(json.dumps(seen))
    return only_run(out)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made, tmp_path / "runs" / made.name))


def test_they_are_those_of_the_outputs_query_by_query(made: Path) -> None:
    """By a plain loop over what the method said, for episodes of one size and of several."""
    seen = json.loads((made.parent / "seen.json").read_text())
    expected = [
        [said.index(max(said)) == label for said, label in zip(outputs, labels, strict=True)]
        for block, targets in seen
        for outputs, labels in zip(block, targets, strict=True)
    ]
    record = load_record(made)
    fixed, varying = (record.answers(result) for result in record.results)
    assert fixed is not None and varying is not None
    assert fixed.right.tolist() == list(chain(*expected[:9]))
    assert varying.right.tolist() == list(chain(*expected[9:]))
    assert varying.sizes.tolist() == [len(one) for one in expected[9:]]
    assert len(set(varying.sizes)) > 1
    assert (varying.shares() == record.scores(record.results[1])).all()


def test_a_standard_test_takes_nineteen_kilobytes() -> None:
    """A bit a query, whatever they are."""
    random = np.random.Generator(np.random.Philox(0))
    answers = Answers(np.full(2000, 75), random.integers(0, 2, 150_000).astype(bool))
    content = answer_files.packed({"0" * 12: answers})
    assert len(content) < 19_000
    back = answer_files.unpacked(content, Path("x"), "0" * 12, 2000)
    assert back is not None and np.array_equal(back.right, answers.right) and np.array_equal(back.sizes, answers.sizes)


def flip(tensors: dict[str, np.ndarray], name: str) -> None:
    tensors[name][0] ^= 1


DAMAGE = {
    "another answer": (lambda t, name: flip(t, name), "episode 0 has"),
    "a bit too many": (lambda t, name: t.update({name: t[name] | 128}), "the bits of result"),
    "a byte too few": (lambda t, name: t.update({name: t[name][:-1]}), "the bits of result"),
    "other numbers": (lambda t, name: t.update({name: t[name].astype(np.float32)}), "the bits of result"),
    "no sizes": (lambda t, name: t.pop(f"{name}/sizes"), "the sizes of the episodes"),
    "sizes of nothing": (lambda t, name: t.update({f"{name}/sizes": np.zeros(9, np.int32)}), "the sizes of the episodes"),
    "sizes of another test": (lambda t, name: t.update({f"{name}/sizes": np.array([9], np.int32)}), "the bits of result"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_answers_are_refused_and_the_scores_stay(folder: Path, kind: str) -> None:
    """Where the answers are read, not where the scores are; `verify` names them, and no test is added beside them."""
    change, said = DAMAGE[kind]
    tensors = load_file(folder / answer_files.NAME)
    name = load_record(folder).results[1]["id"]
    change(tensors, name)
    save_file(tensors, folder / answer_files.NAME)
    record = load_record(folder)
    with pytest.raises(DataError, match=said):
        record.answers(name)
    assert len(record.scores(name)) == 9
    assert call("table", folder).code == 0
    if kind == "another answer":
        assert (call("verify", folder).code, call("pack", folder, folder.parent / "x.zip").code) == (4, 3)
        assert call("test", folder, "--shots", 2).code == 3


@pytest.mark.parametrize("content", [b"", b"PK", b"\xff" * 99, (2**40).to_bytes(8, "little") + b"{}"])
def test_what_is_no_file_of_answers_is_said(folder: Path, content: bytes) -> None:
    """In two lines, the second of which says what to do."""
    (folder / answer_files.NAME).write_bytes(content)
    record = load_record(folder)
    with pytest.raises(DataError, match=r"is damaged: .*\n.*delete it"):
        record.answers(record.results[0])


def test_a_file_larger_than_due_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a stranger's."""
    monkeypatch.setattr(answer_files, "SPARE_BYTES", 100)
    (folder / answer_files.NAME).write_bytes(bytes(1000))
    record = load_record(folder)
    with pytest.raises(DataError, match="more than"):
        record.answers(record.results[0])


def test_what_kept_no_answers_has_none(folder: Path) -> None:
    """A record of an older version is whole without; a test that is added brings its own."""
    (folder / answer_files.NAME).unlink()
    record = load_record(folder)
    assert [record.answers(one) for one in record.results] == [None, None]
    finished("verify", folder)
    finished("test", folder, "--shots", 2)
    kept = [record.answers(one) is not None for record in [load_record(folder)] for one in record.results]
    assert kept == [False, False, True]


def test_regression_has_none(tmp_path: Path) -> None:
    """Nothing is right or wrong."""
    size = ("--protocol", "custom", "--episodes", 4, "--queries", 3)
    method = ("--method", "maml", "--dataset", "sinusoid", "--set", "updates=1", "--set", "validation=none")
    finished("run", *method, *size, "--out", tmp_path)
    folder = only_run(tmp_path)
    assert not (folder / answer_files.NAME).exists()
    record = load_record(folder)
    assert record.answers(record.results[0]) is None


def test_a_run_that_is_overwritten_has_its_new_answers(tmp_path: Path) -> None:
    """Damaged ones are in nobody's way; `verify` computes all again, and a copy by `pack` holds them."""
    finished(*TINY, "--out", tmp_path / "runs")
    folder = only_run(tmp_path / "runs")
    finished("test", folder, *NAMED, "--shots", 2)
    whole = (folder / answer_files.NAME).read_bytes()
    assert len(load_file(folder / answer_files.NAME)) == 4
    (folder / answer_files.NAME).write_bytes(b"damaged")
    finished(*TINY, "--out", tmp_path / "runs", "--on-existing", "overwrite")
    record = load_record(folder)
    assert [record.answers(one) is not None for one in record.results] == [True, False]
    finished("test", folder, *NAMED, "--shots", 2, "--on-existing", "overwrite")
    assert (folder / answer_files.NAME).read_bytes() == whole
    said = finished("verify", folder, *NAMED).out
    assert said.count("recomputed  ") >= 4 and "all 200 are right or wrong as the record says" in said
    finished("pack", folder, tmp_path / "run.zip")
    finished("unpack", tmp_path / "run.zip", "--out", tmp_path / "others")
    assert (tmp_path / "others" / folder.name / answer_files.NAME).read_bytes() == whole
