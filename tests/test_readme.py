"""What the README tells a plugin's author to do works, word for word."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import blobs, tasks_of
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks

README = Path(__file__).parents[1] / "README.md"
HEADING = "## Write your own method"
FSBENCH = (sys.executable, "-c", "from fewshot_bench.cli.main import main; main()")
SETTINGS = ("updates=3", "validation.every=2", "validation.episodes=4")
TINY = ["--protocol", "custom", "--episodes", "8", *(f"--set={setting}" for setting in SETTINGS)]


def section() -> str:
    """The README's section on plugins."""
    text = README.read_text(encoding="utf-8")
    assert HEADING in text, f"README.md has no section {HEADING!r}"
    return text.partition(HEADING)[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the section's files: each fenced block after a line that names it."""
    folder = tmp_path_factory.mktemp("written")
    for name, text in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages into which pip has installed the README's plugin."""
    target = tmp_path_factory.mktemp("packages")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(target), "."]
    done = subprocess.run(install, cwd=written, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of prepared data for these tests alone."""
    return tmp_path_factory.mktemp("cache")


def fsbench(*arguments: str, cwd: Path, cache: Path, packages: Path | None = None) -> str:
    """What the command prints in a process of its own, with a folder of packages beside the installed ones."""
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))}
    env = os.environ | {"FSBENCH_CACHE": str(cache)} | (path if packages else {})
    done = subprocess.run([*FSBENCH, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands(words: str) -> list[str]:
    """The section's commands that begin with these words, without their comments."""
    lines = re.findall(r"^```sh\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    every = [line.partition("#")[0].strip() for block in lines for line in block.splitlines()]
    return [line for line in every if line.startswith(words)]


def test_the_section_has_one_complete_plugin(written: Path) -> None:
    """A project file, a module and its card stand there, and nothing is missing for pip."""
    assert {path.suffix for path in written.iterdir()} == {".toml", ".py", ".yaml"}


def test_the_plugin_runs_from_its_file(written: Path, cache: Path) -> None:
    """The README's first command, made tiny, leaves a record under the card's title."""
    [command] = [line for line in commands("fsbench run") if ".py:" in line]
    records = json.loads(fsbench(*command.split()[1:], *TINY, "--json", cwd=written, cache=cache))
    assert records[0]["method"]["title"] == "Cosine prototypes"
    assert records[0]["training"]["updates"] == 3


def test_the_plugin_runs_under_its_name_once_it_is_installed(installed: Path, cache: Path, tmp_path: Path) -> None:
    """The README's last command, made tiny, leaves a record of the distribution that pip installed."""
    [command] = [line for line in commands("fsbench run") if ".py:" not in line]
    fsbench(*command.split()[1:], *TINY, cwd=tmp_path, cache=cache, packages=installed)
    [record] = [json.loads(path.read_text("utf-8")) for path in (tmp_path / "runs").glob("*/record.json")]
    assert record["method"]["plugin"] == "cosine-prototypes 1.0"
    assert record["train"]["ways"] == 20, "the card's recipe"
    assert 0.2 < record["results"][0]["mean"] <= 1


@pytest.mark.parametrize("words", ["fsbench list", "fsbench show"])
def test_the_other_commands_know_the_plugin(installed: Path, cache: Path, tmp_path: Path, words: str) -> None:
    """The README's `list` and `show` commands print the plugin's title."""
    [command] = commands(words)
    assert "Cosine prototypes" in fsbench(*command.split()[1:], cwd=tmp_path, cache=cache, packages=installed)


def test_the_draws_of_a_task_are_its_own_wherever_it_stands() -> None:
    """The README's example draws alike for a task alone and among others, and otherwise for each."""
    [example] = [block for block in re.findall(r"^```python\n(.*?)^```$", section(), re.M | re.S) if "tasks.key" in block]

    def drawn(tasks: Tasks) -> tuple[Tensor, Tensor]:
        names: dict[str, Any] = {"tasks": tasks}
        exec(example, names)
        return names["noise"], names["order"]

    tasks = tasks_of(blobs())
    for together, alone in zip(drawn(tasks), drawn(tasks.some(slice(2, 3))), strict=True):
        assert together.shape[2] == 8
        assert torch.equal(together[2:3], alone)
        assert not torch.equal(together[1:2], alone)
