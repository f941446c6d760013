"""Shards of a plan, and the script for SLURM."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from command_line import assert_refused, call, finished

from fewshot_bench.errors import UsageError
from fewshot_bench.sweeps.shard import Shard
from fewshot_bench.sweeps.slurm import script

SEVEN = "methods: [nearest-centroid]\nset: {test.episodes: [2, 3, 4, 5, 6, 7, 8]}\nprotocol: custom\n"


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A grid of seven runs."""
    (tmp_path / "seven.yaml").write_text(SEVEN)
    return tmp_path / "seven.yaml"


@pytest.mark.parametrize("count", [1, 3, 7, 32])
def test_shards_are_disjoint_and_together_the_plan(count: int) -> None:
    """Each run is in just one."""
    runs = list(range(7))
    parts = [Shard(index, count).of(runs) for index in range(count)]
    assert sorted(one for part in parts for one in part) == runs
    assert sum(not part for part in parts) == max(0, count - 7)


@pytest.mark.parametrize("text", ["32/32", "-1/32", "3/0", "3", "1/3/5", "a/b", "", "٣/32"])
def test_no_shard_outside_the_range(text: str) -> None:
    """The range is said."""
    with pytest.raises(UsageError, match=r"0-31|0-4"):
        Shard.parse(text)


def test_what_is_finished_moves_no_run_to_another_shard(seven: Path) -> None:
    """A shard is of the whole plan; an empty one has nothing to do."""
    out = seven.parent / "runs"
    before = json.loads(finished("sweep", seven, "--shard", "1/3", "--dry-run", "--json", "--out", out).out)["runs"]
    finished("run", "--method", "nearest-centroid", "--protocol", "custom", "--set", "test.episodes=3", "--out", out)
    after = json.loads(finished("sweep", seven, "--shard", "1/3", "--dry-run", "--json", "--out", out).out)["runs"]
    assert [run["result_id"] for run in before] == [run["result_id"] for run in after]
    assert [run["finished"] for run in after] == [True, False]
    said = finished("sweep", seven, "--shard", "31/32", "--out", out)
    assert "Nothing to do" in said.out


def indices(text: str) -> tuple[int, int]:
    """The largest index of the array, and the shards that its tasks take."""
    last, count = re.search(r"--array=0-(\d+)", text), re.search(r'SLURM_ARRAY_TASK_ID/(\d+)"', text)
    assert last and count
    return int(last[1]), int(count[1])


def test_the_array_stays_below_the_largest_index_and_covers_every_run() -> None:
    """2,500 runs under a cap of 1,001: indices to 1,000, each run once."""
    last, count = indices(script(["fsbench", "sweep", "grid.yaml"], 2500, Path("runs"), 1, 1001))
    assert (last, count) == (1000, 1001)
    assert sorted(run for index in range(last + 1) for run in Shard(index, count).of(range(2500))) == list(range(2500))


def programs(folder: Path, **texts: str) -> dict[str, str]:
    """Stand-ins for programs, first on the path."""
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_script_prepares_first_and_fails_where_sbatch_does(seven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cap is that of the cluster, its exit code that of `sbatch`."""
    folder = seven.parent / "bin"
    folder.mkdir()
    note = f'echo "$(basename "$0") $*" >> {seven.parent}/calls'
    given = programs(folder, scontrol="echo 'MaxArraySize            = 5'", sbatch=f"{note}; exit 1", fsbench=note)
    monkeypatch.setenv("PATH", given["PATH"])
    text = finished("sweep", seven, "--print-slurm", "--out", seven.parent / "runs").out
    assert indices(text) == (4, 5)
    assert "%A-%a.log" in text
    done = subprocess.run(["bash", "-s", "--", "--partition=x"], input=text, text=True, env=given)
    assert done.returncode == 1
    prepared, submitted = (seven.parent / "calls").read_text().splitlines()
    assert prepared.startswith("fsbench sweep")
    assert prepared.endswith("--prepare")
    assert submitted.startswith("sbatch")
    assert "--partition=x" in submitted
    programs(folder, fsbench=f"{note}; exit 3")
    (seven.parent / "calls").unlink()
    assert subprocess.run(["bash"], input=text, text=True, env=given).returncode == 3
    assert "sbatch" not in (seven.parent / "calls").read_text()


def test_options_that_exclude_each_other_are_refused(seven: Path) -> None:
    """Also unknown words and numbers that are none."""
    assert_refused(call("sweep", seven, "--print-slurm", "--shard", "0/2"), 2, "exclude each other")
    assert_refused(call("sweep", seven, "--stale", "yes"), 2, "keep")
    assert_refused(call("sweep", seven, "--jobs", "0"), 2, "--jobs")
