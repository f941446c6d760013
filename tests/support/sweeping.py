"""Sweeps for tests: grids of the smallest runs, stand-ins for the process of a run, processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command_line import LINEAR, environment

from fewshot_bench.request import Request
from fewshot_bench.sweeps.carry_out import Ended, Standing
from fewshot_bench.sweeps.grid import read_grid
from fewshot_bench.sweeps.plan import Plan, make_plan

FSBENCH = (sys.executable, "-c", "from fewshot_bench.cli.main import main; main()")
PIXELS = "methods: [nearest-centroid]\nprotocol: custom\nset: {test.episodes: 8}\n"


def linear(updates: int, seeds: str, method: str = LINEAR) -> str:
    """A grid of a linear map under some seeds."""
    settings = {"train.updates": updates, "train.meta_batch_size": 2, "validation.every": 2, "validation.episodes": 4}
    return json.dumps(
        {
            "methods": [method],
            "seeds": seeds,
            "protocol": "custom",
            "set": settings | {"test.episodes": 8, "test.queries": 5},
        }
    )


def planned(folder: Path, text: str) -> Plan:
    """The plan of a grid of that text."""
    (folder / "grid.yaml").write_text(text, encoding="utf-8")
    return make_plan(read_grid(folder / "grid.yaml"), Request("maml"))


class Heard:
    """What a sweep has told."""

    def __init__(self) -> None:
        self.runs: list[Ended] = []
        self.notes: list[str] = []

    def ended(self, run: Ended, at: Standing) -> None:
        """Keep it."""
        self.runs.append(run)

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def tick(self, at: Standing) -> None:
        """Nothing."""


def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    """`fsbench sweep` in a process of its own."""
    return subprocess.Popen(
        [*FSBENCH, "sweep", *map(str, arguments)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: int) -> list[int]:
    """The processes that a process has started and that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def until(holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What a condition comes to once it holds."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)
    return found


def is_alive(process: int) -> bool:
    """Whether a process runs: one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(process: int) -> None:
    """End it as `kill -9` does."""
    os.kill(process, signal.SIGKILL)
