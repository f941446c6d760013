"""A run trains soon after its command: what it needs later, or never, is not imported first.

Help and lists are in cli/test_help.py.
"""

import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from command_line import environment

UNNEEDED = ("torch._dynamo", "torch._inductor", "sympy", "pandas", "pyarrow", "scipy", "sklearn", "jinja2", "PIL")
"""What no training needs: torch's compiler, what writes records and tables, what reads other data sets."""
TORCH = "import sys, torch; print(*sys.modules)"
FIRST_UPDATE = """
import sys
from fewshot_bench.cli.main import _main
from fewshot_bench.cli.progress import Bars

def first(self, at, loss):
    print(*sys.modules)
    sys.exit()

Bars.trained = first
sys.exit(_main(sys.argv[1:]))
"""
LISTING = "import sys; from fewshot_bench.cli.main import _main; _main(sys.argv[1:]); print(*sys.modules)"
ROUNDS, MOST = 3, 2.0


def modules(code: str, *arguments: object) -> set[str]:
    """The modules that a process of its own says it holds, in its last line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=100)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def training(method: str, out: Path) -> tuple[object, ...]:
    """The arguments of a run of one task an update."""
    return ("run", "--method", method, "--set", "meta_batch_size=1", "--device", "cpu", "--out", out)


@cache
def torchs_own() -> set[str]:
    """The modules that a bare `import torch` brings, which differ from version to version."""
    return modules(TORCH)


@pytest.mark.parametrize("method", ["maml", "prototypical-networks"])
def test_a_run_reaches_its_first_update_without_what_it_does_not_need(method: str, tmp_path: Path) -> None:
    """Nor anything of torch that `import torch` leaves out."""
    held = modules(FIRST_UPDATE, *training(method, tmp_path)) - torchs_own()
    assert f"fewshot_methods.{method.replace('-', '_')}" in held
    assert sorted(held & set(UNNEEDED)) == []


@pytest.mark.parametrize("arguments", [("--help",), ("list", "methods")], ids=" ".join)
def test_help_and_lists_build_no_specs(arguments: tuple[str, ...]) -> None:
    """Neither pydantic's models nor numpy; newer typers import pydantic itself where a command has options."""
    held = modules(LISTING, *arguments)
    assert sorted(held & {"numpy", "rich", "fewshot_bench.specs", "fewshot_bench.results.records"}) == []
    assert arguments != ("--help",) or "pydantic" not in held


def test_a_run_trains_within_twice_the_time_that_importing_torch_takes(tmp_path: Path) -> None:
    """From the start of its process to the end of its first update, against a process that only imports torch.

    Both in processor time, which is the wall's on an idle machine, in turns, the least of three each: a slow or a busy
    machine slows both. It is 1.2 times as long. Twice leaves room for noise and for a torch without CUDA, which is imported
    in half the time, and still none for work on all the data, or for the imports of records and tables.
    """
    arguments = training("maml", tmp_path)
    rounds = [(processor_s(FIRST_UPDATE, *arguments), processor_s(TORCH)) for _ in range(ROUNDS)]
    run_s, torch_s = (min(times) for times in zip(*rounds, strict=True))
    assert run_s < MOST * torch_s


def processor_s(code: str, *arguments: object) -> float:
    """Processor time of a process of its own, from its start to its end [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    modules(code, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
