"""A twin of the process says what this one would have said before; whatever becomes of it, the test goes on."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cheats import FitsClass, Honest
from inductive_test import build, checked
from torch import Tensor

from fewshot_bench.errors import FewshotError
from fewshot_bench.runs.checks import twin
from fewshot_bench.runs.checks.twin import Twin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no twin elsewhere")
NUMBERS = [1]


def test_it_knows_what_was_there_when_it_was_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps what it was told since."""
    monkeypatch.setattr(sys.modules[__name__], "NUMBERS", [1])

    def told(more: int) -> list[int]:
        NUMBERS.append(more)
        return list(NUMBERS)

    one = Twin(told)
    NUMBERS.append(2)
    assert one.ask(3) == [1, 3]
    assert one.ask(4) == [1, 3, 4]
    one.close()
    assert one.ask(5) is None
    with pytest.raises(ProcessLookupError):
        os.kill(one.pid, 0)


def test_one_that_fails_or_ends_is_not_asked_again() -> None:
    """It has no answer."""
    for act in (lambda x: 1 / x, lambda x: os._exit(x)):
        one = Twin(act)
        assert one.ask(0) is None
        assert not one.close.alive


def test_one_that_waits_for_ever_is_given_up_and_one_that_works_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another thread held when it was forked is never released there."""
    monkeypatch.setattr(twin, "PATIENCE_S", 0.3)
    assert Twin(lambda x: threading.Event().wait()).ask(0) is None

    def work(seconds: float) -> float:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass
        return seconds

    assert Twin(work).ask(1.0) == 1.0


def test_without_an_answer_a_test_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system where there is no twin."""
    monkeypatch.setattr(Twin, "ask", lambda *_: None)
    assert checked(build(Honest), episodes=40).mean() > 0.3
    monkeypatch.setattr(Twin, "possible", lambda *_: False)
    assert checked(build(Honest), episodes=40).mean() > 0.3


def test_threads_of_the_process_do_not_stop_it() -> None:
    """OpenMP's are not there in a twin."""
    torch.set_num_threads(2)
    try:
        torch.ones(1000, 1000) @ torch.ones(1000, 1000)
        one = Twin(lambda size: float((torch.ones(size, size) @ torch.ones(size, size)).sum()))
        assert one.ask(1000) == 1e9
    finally:
        torch.set_num_threads(1)


def test_what_a_file_keeps_of_the_first_call_is_of_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the queries of the test."""
    monkeypatch.chdir(tmp_path)
    seen: list[Tensor] = []

    class FitsFile(FitsClass):
        def centre(self, support: Tensor, query: Tensor) -> Tensor:
            seen.append(query)
            if not Path("mean.pt").exists():
                torch.save(query.mean((0, 1)), "mean.pt")
            found: Tensor = torch.load("mean.pt")
            return found.to(query)

    checked(build(FitsFile), episodes=300)
    kept: Any = torch.load("mean.pt")
    assert not any(torch.equal(kept, query.mean((0, 1))) for query in seen)
    assert (kept - 0.5).abs().max() < 0.3  # uniform


def test_what_gathers_in_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that is asked again meets more of it."""
    monkeypatch.chdir(tmp_path)

    class Gathers(FitsClass):
        def centre(self, support: Tensor, query: Tensor) -> Tensor:
            before: Tensor = torch.load("mean.pt") if Path("mean.pt").exists() else query.new_zeros(())
            torch.save(0.5 * (before + query.mean((0, 1)).float()), "mean.pt")
            return before.to(query)

    with pytest.raises(FewshotError, match="when the same is asked of a copy"):
        checked(build(Gathers))
