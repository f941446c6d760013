"""What a run takes is known before it starts: what cannot fit in memory is refused, what takes more than a day is said."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import PIXELS, TINY, call, changed, content, finished, only_run, snapshot
from plugin_file import plugin, refused

from fewshot_bench import memory
from fewshot_bench.episodes import function_tasks
from fewshot_bench.episodes.function_tasks import FunctionSampler
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.faults import told_fault
from fewshot_bench.runs.checks import memory_need, run_time

BIG = 10**12
TOO_MUCH = {
    "test episodes": ([*PIXELS, "--episodes", BIG], "1,000,000,000,000 test episodes", "--episodes"),
    "validation episodes": (changed(TINY, f"validation.episodes={BIG}"), "validation episodes", "validation.episodes"),
    "points of a test": (["run", "--method", "maml", "--dataset", "sinusoid", "--shots", BIG], "a test task", "--shots"),
    "query points of a test": (
        ["run", "--method", "maml", "--dataset", "sinusoid", "--protocol", "custom", "--queries", BIG],
        "a test task with 1,000,000,000,001 points",
        "--queries",
    ),
    "points of a training": (
        ["run", "--method", "maml", "--dataset", "sinusoid", "--set", f"train.queries={BIG}"],
        "a training task",
        "train.queries",
    ),
    "points of a validation": (
        ["run", "--method", "maml", "--dataset", "sinusoid", "--set", f"validation.queries={BIG}"],
        "a validation task",
        "validation.queries",
    ),
    "points that fit, but not what they lead to": (
        ["run", "--method", "maml", "--dataset", "sinusoid", "--shots", 20_000_000],
        "its gradient",
        "--shots",
    ),
    "parameters": (
        ["run", "--method", TINY[2], "--set", f"features={BIG}"],
        "parameters",
        "hyper-parameters",
    ),
}


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GiB, wherever this runs."""
    monkeypatch.setattr(memory_need, "memory_bytes", lambda: 2**33)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_cannot_fit_in_memory_is_refused_with_the_option_that_says_less(name: str, tmp_path: Path) -> None:
    """In a dry run and in a run, before any work: how much it needs, how much there is."""
    arguments, *words = TOO_MUCH[name]
    for more in (("--dry-run",), ("--out", tmp_path / "runs")):
        refused(call(*arguments, *more), 2, "cannot fit in memory", "GiB, and there is 8.0 GiB", *words)
    assert snapshot(tmp_path) == {}


@pytest.mark.usefixtures("small_machine")
def test_another_test_of_a_finished_run_is_refused_alike(tmp_path: Path) -> None:
    """The record stays as it was."""
    finished(*PIXELS, "--out", tmp_path)
    before = snapshot(tmp_path)
    refused(call("test", only_run(tmp_path), "--episodes", BIG), 2, "cannot fit in memory", "--episodes")
    assert snapshot(tmp_path) == before


def test_images_of_which_two_do_not_fit_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """Whatever makes them."""
    (tmp_path / "vast.py").write_text(VAST)
    said = call(*PIXELS, "--dataset", f"{tmp_path / 'vast.py'}:Vast", "--dry-run")
    refused(said, 2, "cannot fit in memory: a pair of images of 10000000×10000000")


VAST = """
from fewshot_bench import Dataset
class Vast(Dataset):
    shape = (1, 10**7, 10**7)
    def identity(self): return "vast"
    def classes(self): raise RuntimeError("not asked")
    def images(self, progress): raise RuntimeError("not asked")
"""

LONG = {
    "updates": (["run", "--method", TINY[2], "--set", f"updates={BIG}"], "training", "fewer --set updates"),
    "tasks an update": (["run", "--method", TINY[2], "--set", f"meta_batch_size={BIG}"], "training", "meta_batch_size"),
    "test episodes": ([*PIXELS, "--episodes", BIG], "(test ", "--episodes"),
    "batches": (["run", "--method", "CLASSES", "--set", f"updates={BIG}"], "training", "--images"),
    "validations": (
        ["run", "--method", TINY[2], "--set", "validation.every=1", "--set", f"validation.episodes={BIG}"],
        "validation ",
        "validation.every",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_what_takes_more_than_a_day_is_said_before_it_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr: how long, of what, and what says less."""
    monkeypatch.setattr(memory_need, "memory_bytes", lambda: 2**60)
    arguments, *words = LONG[name]
    given = [plugin(tmp_path, declared="trains_on = 'classes'") if word == "CLASSES" else word for word in arguments]
    said = finished(*given, "--dry-run")
    assert said.complaint.startswith("fsbench: This takes about ")
    assert [word for word in (*words, "Shorter: ") if word not in said.complaint] == [], said.complaint


def test_a_usual_run_says_nothing_of_its_length() -> None:
    """Nor is it tried at full size."""
    assert finished(*TINY, "--dry-run").err == ""


def test_trying_how_long_a_run_takes_leaves_no_trace_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is the same, bit for bit."""
    finished(*TINY, "--out", tmp_path / "a")
    monkeypatch.setattr(run_time, "DAY_S", 1e-9)
    assert "This takes about" in finished(*TINY, "--out", tmp_path / "b").err
    one, other = only_run(tmp_path / "a"), only_run(tmp_path / "b")
    assert content(one) == content(other)
    assert (one / "checkpoint.safetensors").read_bytes() == (other / "checkpoint.safetensors").read_bytes()


HUGE = {
    "updates": ["--set", f"updates={2**63}"],
    "meta_batch_size": ["--set", f"meta_batch_size={10**30}"],
    "shots": ["--shots", 2**63],
    "episodes": ["--protocol", "custom", "--episodes", 10**30],
    "features": ["--set", f"features={10**30}"],
}


@pytest.mark.parametrize("name", HUGE)
def test_a_whole_number_beyond_64_bits_is_refused(name: str) -> None:
    """Exit 2, with its name."""
    refused(call("run", "--method", TINY[2], *HUGE[name], "--dry-run"), 2, name, "below 2^63")


WRITTEN = {"2e3": "write 2000", "1,000": "write 1000", "15.0": "write 15", "1.5": "is not a whole number.", "9" * 5000: "…"}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_whole_number_that_is_written_otherwise_is_refused_with_how_to_write_it(text: str) -> None:
    """`2e3` is 2000; a text of any length is told in short."""
    said = call(*PIXELS, "--episodes", text, "--dry-run")
    refused(said, 2, WRITTEN[text], "--episodes")
    assert len(said.complaint) < 300


def test_a_limit_of_the_process_counts_as_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ulimit -v`, where that is less than the machine has."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (12345, 12345))
    assert memory.memory_bytes() == 12345


def test_a_limit_of_a_control_group_counts_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the process's own group, and of those around it; `max` is none."""
    (tmp_path / "pod" / "job").mkdir(parents=True)
    (tmp_path / "pod" / "memory.max").write_text("54321\n")
    (tmp_path / "pod" / "job" / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_own_groups", lambda root: memory._limits(tmp_path, "pod/job", "memory.max"))
    assert memory.memory_bytes() == 54321


GROUPS = {"0::/pod/job": ["pod/job/memory.max", "pod/memory.max", "memory.max"]}
GROUPS["7:cpu:/a\n5:memory,hugetlb:/b"] = ["memory/b/memory.limit_in_bytes", "memory/memory.limit_in_bytes"]
GROUPS["7:cpu:/a"] = []


@pytest.mark.parametrize("text", GROUPS)
def test_the_control_groups_of_a_process_are_read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of version 2 and of version 1."""
    monkeypatch.setattr(Path, "read_text", lambda path: text if str(path) == "/proc/self/cgroup" else "")
    found = [str(path.relative_to(tmp_path)) for path in memory._own_groups(tmp_path)]
    assert [one for one in found if one != "memory.limit_in_bytes"] == GROUPS[text]


@pytest.mark.parametrize("at_once", [1, 40, 300])
def test_a_digest_of_functions_is_the_same_however_few_are_drawn_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a digest of many points needs no more memory than one of few."""
    sampler = FunctionSampler(registry.find("datasets", "sinusoid").load()(), "test", 3, 4, seed=1)
    whole = sampler.digest(600)
    monkeypatch.setattr(function_tasks, "WORDS_AT_ONCE", at_once * sampler.words)
    assert sampler.digest(600) == whole


ALLOCATIONS: dict[str, Any] = {
    "python": lambda: [0] * 10**15,
    "numpy": lambda: np.empty(10**15),
    "torch": lambda: torch.empty(10**15),
}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_want_of_memory_is_told_in_two_lines_whoever_asked_for_it(name: str) -> None:
    """Not as a plugin's own fault."""
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        ALLOCATIONS[name]()
    told = told_fault(caught.value)
    assert told is not None
    assert str(told).startswith("There is not enough memory")
    assert len(str(told).splitlines()) == 2
