"""A record's provenance can be told on every system, and what cannot be told is null and ends no run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PIXELS, environment, finished, only_run

from fewshot_bench.runs import provenance

ELSEWHERE = """
import sys
from pathlib import Path

sys.modules["resource"] = None  # as on Windows: it cannot be imported

def read_text(path, encoding, errors):
    raise FileNotFoundError(path)

Path.read_text = read_text
from fewshot_bench.runs.provenance import peak_mib

print(peak_mib())
"""
GITS = {
    "hangs": "exec sleep 60",
    "hangs, and leaves a process that holds the pipe": "sleep 60 & sleep 60",
    "prints no UTF-8": r"printf '\377\376\n'",
    "prints nothing": "exit 0",
    "says something else": "echo no commit",
    "fails": "echo 'fatal: detected dubious ownership' >&2; exit 128",
    "ends by a signal": "kill -9 $$",
    "asks for a password": "read word && echo $word",
}
"""Programs that are called `git`."""


def test_the_peak_is_none_where_the_system_does_not_tell() -> None:
    """Neither /proc nor the module `resource` is there on Windows; a process of its own imports without them."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("git", GITS)
def test_a_git_that_tells_nothing_is_null_in_the_record(git: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends, and its record says that the state of the source is not known."""
    (tmp_path / "git").write_text(f"#!/bin/sh\n{GITS[git]}\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_S", 0.5)
    finished(*PIXELS, "--out", tmp_path / "runs")
    assert json.loads((only_run(tmp_path / "runs") / "record.json").read_text())["provenance"]["git"] is None


def test_no_git_at_all_is_null(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of that name on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.environment()["git"] is None


def test_the_environment_does_not_send_git_to_another_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a hook, where git sets the folder of its own repository."""
    here = provenance.environment()["git"]
    if here is None:
        pytest.skip("this is no git checkout")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert provenance.environment()["git"]["commit"] == here["commit"]


@pytest.mark.parametrize("name", ["version", "_processor", "_git"])
def test_a_question_that_fails_is_null_and_the_others_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised."""

    def broken(*arguments: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(provenance, name, broken)
    told = provenance.environment()
    unknown = {"version": told["versions"]["torch"], "_processor": told["processor"], "_git": told["git"]}
    assert unknown[name] is None
    assert told["versions"]["python"] == sys.version.split()[0]
    assert told["platform"]


@pytest.mark.parametrize("damage", ["entry_points.txt", "METADATA"])
def test_a_damaged_installation_hides_no_other(damage: str, tmp_path: Path) -> None:
    """Some package of the machine has files that are no text: methods are listed all the same."""
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[fewshot_bench.methods]\nbroken = broken:Broken\n")
    (folder / damage).write_bytes(b"\xff\xfe[]=\n\0")
    code = "from fewshot_bench.cli.main import main; main()"
    command = [sys.executable, "-c", code, "list", "methods"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(PYTHONPATH=str(tmp_path)), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "maml" in done.stdout


@pytest.mark.parametrize("changed", ["fewshot_bench/runs/plan.py", "methods/maml.py", "datasets/glyphs.py", "README.md"])
def test_a_change_of_the_code_is_dirty(changed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the core, of a method and of a data set, wherever the file lies; not of a text."""
    files = ("fewshot_bench/__init__.py", "fewshot_bench/runs/plan.py", "methods/maml.py", "datasets/glyphs.py", "README.md")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "-A"), (*author, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "fewshot_bench")
    assert provenance.environment()["git"]["dirty"] is False
    (tmp_path / changed).write_text("after")
    assert provenance.environment()["git"]["dirty"] is (changed != "README.md")


def test_git_is_asked_of_this_package() -> None:
    """The folder that holds the core, beside which methods and data sets lie."""
    assert (provenance.PACKAGE / "__init__.py").is_file()
    assert provenance.PACKAGE.name == "fewshot_bench"
