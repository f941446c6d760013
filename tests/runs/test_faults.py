"""Whatever the system refuses is told in a line, and the same command goes through once it no longer does."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import PIXELS, TINY, Said, call, content, finished, only_run
from faults import failing

from fewshot_bench.results.records import load_record
from fewshot_bench.runs import training


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of prepared data, and a record, for these tests alone."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSBENCH_CACHE", str(place / "cache"))
        finished(*PIXELS, "--out", place / "record")
    return place


def assert_told(said: Said, where: list[str]) -> None:
    """Done all the same, or one to three lines with the right exit code."""
    assert said.code in (0, 1, 2, 3), (where, said)
    if said.code:
        assert 1 <= len(said.complaint.splitlines()) <= 3, (where, said.err)
        assert "Traceback" not in said.err


Command = Callable[[Path], tuple[Any, ...]]
COMMANDS: dict[str, tuple[Command, int]] = {
    "a run": (lambda out: (*PIXELS, "--out", out / "runs"), 3),
    "a training": (lambda out: (*TINY, "--out", out / "runs"), 13),
    "overwriting": (lambda out: (*PIXELS, "--out", out / "record", "--on-existing", "overwrite"), 11),
    "a test": (lambda out: ("test", only_run(out / "record"), "--episodes", "9"), 5),
    "a shard": (lambda out: ("test", only_run(out / "record"), "--episodes", "9", "--shard", "1/1"), 9),
    "a table": (lambda out: ("table", out / "record"), 1),
    "a list": (lambda out: ("list", "runs", "--out", out / "record"), 1),
    "a record shown": (lambda out: ("show", only_run(out / "record").name, "--out", out / "record"), 4),
    "data": (lambda out: ("data", "list"), 1),
    "a page": (lambda out: ("leaderboard", "build", out / "record", "--out", out / "site"), 5),
}
"""Each with how many of its operations are passed over for one that fails."""


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_operation_that_fails_is_told_and_loses_nothing(
    name: str, for_good: bool, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in turn, for one reason after another; without faults the same command then ends as it would have."""
    command, step = COMMANDS[name]
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    made: list[dict[str, Any]] = []
    at, count = 1 + 2 * for_good, 10**9
    step = 6 * step if for_good else step
    while at <= count:
        out = tmp_path / str(at)
        shutil.copytree(place, out)
        monkeypatch.setenv("FSBENCH_CACHE", str(out / "cache"))
        arguments = command(out)
        before = load_record(only_run(out / "record"))
        scores = before.scores(before.results[0]["id"])
        with failing(out, at=at, for_good=for_good) as faults:
            said = call(*arguments)
        count = faults.count if not faults.failed else count
        assert_told(said, faults.failed)
        if said.code:
            kept = load_record(only_run(out / "record"))
            assert name == "overwriting" or kept.results[0] == before.results[0], faults.failed
            assert np.array_equal(kept.scores(before.results[0]["id"]), scores), faults.failed
        finished(*arguments)
        left = not any(one.startswith("unlink") for one in faults.failed)
        assert not left or not list(out.rglob("*.tmp")), faults.failed
        if (out / "runs").exists():
            made.append({key: part for key, part in content(only_run(out / "runs")).items() if key != "provenance"})
        shutil.rmtree(out)
        at += step
    assert at > 5
    assert made == made[:1] * len(made)
