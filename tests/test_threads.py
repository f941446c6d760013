"""How many threads: an option, `OMP_NUM_THREADS`, the affinity and the quotas of control groups; and what a fork may use."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import PIXELS, TINY, assert_refused, call, environment, finished, only_run
from heard import Heard

import fewshot_bench
from fewshot_bench import threads
from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.request import Request
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.training import Interrupted

V1 = "32 31 0:29 {root} {place} rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2 = "41 31 0:38 {root} {place} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
GROUPS: dict[str, tuple[str, str, str, dict[str, str], float]] = {
    "version 2": (V2, "/", "0::/box", {"box/cpu.max": "150000 100000"}, 1.5),
    "version 2, no bound": (V2, "/", "0::/box", {"box/cpu.max": "max 100000"}, math.inf),
    "version 2, of the group above": (V2, "/", "0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
    "version 2, the least of several": (V2, "/", "0::/a/b", {"a/cpu.max": "2 1", "a/b/cpu.max": "9 1"}, 2),
    "version 2, the container's own root": (V2, "/", "0::/", {"cpu.max": "300000 100000"}, 3),
    "version 2, moved out of its namespace": (V2, "/", "0::/../other", {"cpu.max": "300000 100000"}, 3),
    "version 2, a mount of a part": (V2, "/kube/pod", "0::/kube/pod/c", {"c/cpu.max": "7 2"}, 3.5),
    "version 1": (V1, "/", "4:cpu,cpuacct:/b", {"b/cpu.cfs_quota_us": "250000", "b/cpu.cfs_period_us": "100000"}, 2.5),
    "version 1, no bound": (V1, "/", "4:cpu:/b", {"b/cpu.cfs_quota_us": "-1", "b/cpu.cfs_period_us": "100000"}, math.inf),
    "version 1, in a container": (
        *(V1, "/docker/77", "4:cpu:/docker/77"),
        {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"},
        4,
    ),
    "of another controller": (V1, "/", "4:memory:/b", {"b/cpu.cfs_quota_us": "1", "b/cpu.cfs_period_us": "1"}, math.inf),
    "rubbish": (V2, "/", "0::/box", {"box/cpu.max": "many"}, math.inf),
    "no such files": (V2, "/", "0::/box", {}, math.inf),
}


@pytest.mark.parametrize("group", GROUPS)
def test_the_quota_of_a_control_group_is_read(group: str, tmp_path: Path) -> None:
    """The least that any group which the process lies in grants."""
    line, root, mine, files, expected = GROUPS[group]
    place = tmp_path / "a mount"
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(f"9:pids:/\n{mine}\n")
    mount = line.format(root=root, place=str(place).replace(" ", "\\040"))
    (tmp_path / "mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mount}\n")
    assert threads.quota(tmp_path) == expected


def test_where_there_are_no_control_groups_nothing_bounds(tmp_path: Path) -> None:
    """As on macOS and Windows."""
    assert threads.quota(tmp_path) == math.inf


@pytest.mark.parametrize(("share", "expected"), [(0.2, 1), (1.5, 2), (3.0, 3), (64.0, 4), (math.inf, 4)])
def test_cores_are_bounded_by_affinity_and_quota(share: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a core counts as one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    monkeypatch.setattr(threads, "quota", lambda proc: share)
    assert threads.cores() == expected


@pytest.mark.parametrize(
    ("variable", "given", "expected"),
    [(None, None, 4), ("", None, 4), ("1", None, 1), ("3,2", None, 3), (" 2 ", None, 2), ("1", 8, 8), ("rubbish", 2, 2)],
)
def test_threads_are_those_that_are_asked_for(
    variable: str | None, given: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, else by the variable, else as many as there are cores."""
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert threads.threads(given) == expected


@pytest.mark.parametrize("variable", ["0", "-1", "two", "1.5", "99999"])
def test_a_variable_that_is_no_number_of_threads_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any work, naming it and the option."""
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with pytest.raises(UsageError, match=r"OMP_NUM_THREADS .*\n.*--threads"):
        resolve(Request("nearest-centroid"))


@pytest.mark.parametrize("given", ["0", "-3", "100000"])
def test_an_option_that_is_no_number_of_threads_is_refused(given: str, tmp_path: Path) -> None:
    """Exit 2, for a test of a finished run too."""
    assert_refused(call(*PIXELS, "--threads", given, "--out", tmp_path), 2, "--threads", given.lstrip("-"))


def test_a_run_has_the_threads_that_it_was_given(tmp_path: Path) -> None:
    """The plan says so; its other tests have them unless they say otherwise."""
    finished(*PIXELS, "--threads", "3", "--out", tmp_path)
    record = fewshot_bench.load_record(only_run(tmp_path))
    assert record.content["plan"]["threads"] == 3
    assert "--threads 3" in record.content["provenance"]["command"]
    finished("test", record.folder, "--episodes", "9", "--threads", "2")
    record = fewshot_bench.load_record(record.folder)
    finished("test", record.folder, "--episodes", "10", "--threads", "1")
    assert "--threads 2" in record.results[-1]["command"]
    plans = [result["plan"]["threads"] for result in fewshot_bench.load_record(record.folder).results]
    assert plans == [3, 2, 1]


def test_a_training_goes_on_with_the_threads_that_it_began_with(tmp_path: Path) -> None:
    """With others it would end with other bits: a note says so."""

    class Stop(Heard):
        def stopped(self) -> bool:
            return True

    settings = tuple(word for word in TINY if "=" in word)
    request = Request(TINY[2], protocol="custom", episodes=8, queries=5, settings=settings, threads=2)
    with pytest.raises(Interrupted):
        execute(request, resolve(request), tmp_path, "reuse", Stop())
    said = finished(*TINY, "--out", tmp_path)
    assert "begun with 2 threads and goes on with as many, not 1" in said.err
    assert json.loads((only_run(tmp_path) / "record.json").read_text())["plan"]["threads"] == 2


FORKED = """
import os, signal, sys
import torch, fewshot_bench
from fewshot_bench import threads
from fewshot_bench.runs.plan import Plan

asked = dict(
    method="maml", protocol="custom", episodes=4, queries=2, on_existing="overwrite", device="cpu",
    settings={"updates": 2, "meta_batch_size": 2, "train.queries": 1, "split": "train+val", "selection": "last",
              "backbone": "conv4-32"},
)
out = sys.argv[1]
first = fewshot_bench.run(**asked, out=f"{out}/1", threads=2)
child = os.fork()
if not child:
    signal.alarm(200)
    image = torch.randn(64, 64, 32, 32, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.randn(64, 64, 3, 3)).sum().backward()
    torch.randn(900, 900) @ torch.randn(900, 900)
    record = fewshot_bench.run(**asked, out=f"{out}/2")
    print(record.content["plan"]["threads"], flush=True)
    try:
        Plan("cpu", 2, 1, 1).apply()
    except fewshot_bench.FewshotError as error:
        print(error, flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], first.content["plan"]["threads"], torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_that_is_forked_after_a_run_computes_on(tmp_path: Path) -> None:
    """With one thread, since OpenMP's others are gone and would be waited for; a plan of more is refused with what to do."""
    variables = {key: value for key, value in environment().items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    child, *refusal, parent = done.stdout.splitlines()
    assert child == "1"
    assert "spawn" in " ".join(refusal)
    assert parent == "0 2 2"


def test_a_plan_of_absurdly_many_threads_is_refused() -> None:
    """It may come from a stranger's record; OpenMP would end the process."""
    before = torch.get_num_threads()
    with pytest.raises(FewshotError, match="1,000,000,000 threads"):
        Plan("cpu", 10**9, 1, 1).apply()
    assert torch.get_num_threads() == before
