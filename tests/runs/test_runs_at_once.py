"""Two processes that are asked for one run at the same time."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import ENOLCK
from pathlib import Path
from unittest.mock import Mock

import pytest
from command_line import TINY, environment, finished, only_run

from fewshot_bench.errors import UsageError
from fewshot_bench.request import Request
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.retest import OnExisting
from fewshot_bench.storage import only_one

WAITING = "waiting for it"
PROGRAM = "import sys; from fewshot_bench.cli.main import main; sys.exit(main())"


@contextmanager
def started(*arguments: object) -> "Iterator[subprocess.Popen[str]]":
    """`fsbench ARGUMENTS` as a process of its own, which ends with the block."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def waits(process: "subprocess.Popen[str]") -> bool:
    """Whether a process says that it waits for another, before it ends."""
    assert process.stderr is not None
    return any(WAITING in line for line in process.stderr)


def test_two_tests_of_one_training_are_both_recorded(tmp_path: Path) -> None:
    """One process trains, the other waits for it and tests the same weights; the record is that of one after the other."""
    once = (*TINY, "--set", "train.shots=1", "--set", "validation.shots=1", "--shots")
    for shots in (1, 2):
        finished(*once, shots, "--out", tmp_path / "apart")
    folder = tmp_path / "together" / only_run(tmp_path / "apart").name
    to = ("--out", folder.parent)
    with ExitStack() as lock, started(*once, 1, *to) as one, started(*once, 2, *to) as other:
        lock.enter_context(only_one(folder))
        assert waits(one) and waits(other)
        lock.close()
        assert [one.wait(100), other.wait(100)] == [0, 0]
    apart, together = (
        {result["id"]: (result["test"], result["mean"], result["command"]) for result in load_record(one).results}
        for one in (only_run(tmp_path / "apart"), folder)
    )
    assert apart == together
    assert [len(load_record(folder).scores(one)) for one in together] == [8, 8]


class Waiting(Listener):
    """Has another finish the run as soon as this one waits for it, and counts the tests of its own."""

    def __init__(self, request: Request, out: Path) -> None:
        self.request, self.out, self.tests = request, out, 0
        self.lock = ExitStack()
        self.lock.enter_context(only_one(out / resolve(request).folder_name))

    def note(self, text: str) -> None:
        """What is said of the run."""
        if WAITING in text:
            self.lock.close()
            execute(self.request, resolve(self.request), self.out, "reuse", Listener())

    def testing(self, episodes: int) -> None:
        """A test begins."""
        self.tests += 1


@pytest.mark.parametrize(("on_existing", "tests"), [("reuse", 0), ("overwrite", 1)])
def test_a_run_that_another_finished_meanwhile_counts_as_one_that_was_there(
    tmp_path: Path, on_existing: OnExisting, tests: int
) -> None:
    """It is reused or made again."""
    request = Request(method="nearest-centroid", protocol="custom", episodes=8)
    listener = Waiting(request, tmp_path)
    assert len(execute(request, resolve(request), tmp_path, on_existing, listener)[0].results) == 1
    assert listener.tests == tests


def test_a_run_that_another_finished_meanwhile_is_refused_where_it_must_not_exist(tmp_path: Path) -> None:
    """As one that was there before."""
    request = Request(method="nearest-centroid", protocol="custom", episodes=8)
    with pytest.raises(UsageError, match="exists already"):
        execute(request, resolve(request), tmp_path, "error", Waiting(request, tmp_path))


def test_a_folder_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some clusters' file systems: the run is made as if it were alone."""
    monkeypatch.setattr("filelock.FileLock.acquire", Mock(side_effect=OSError(ENOLCK, "No locks available")))
    request = Request(method="nearest-centroid", protocol="custom", episodes=8)
    assert len(execute(request, resolve(request), tmp_path, "reuse", Listener())[0].results) == 1
