"""Help and lists are immediate: nothing heavy is imported for them."""

import re
import resource
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import call, environment

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "fsbench")
QUICK = {
    "the bare command": ([], 2),
    "--help": (["--help"], 0),
    "--version": (["--version"], 0),
    "run --help": (["run", "--help"], 0),
    "bench --help": (["bench", "--help"], 0),
    "data": (["data"], 2),
    "data verify --help": (["data", "verify", "--help"], 0),
    "list": (["list"], 2),
    "list methods": (["list", "methods"], 0),
    "list datasets": (["list", "datasets"], 0),
    "list runs": (["list", "runs"], 0),
    "an unknown command": (["rum"], 2),
}
HEAVY = ("torch", "pandas", "pyarrow", "scipy", "sklearn", "PIL")

quick = pytest.mark.parametrize("name", QUICK)


def processor_s() -> float:
    """Processor time of all child processes that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@quick
def test_it_answers_in_half_a_second(name: str, tmp_path: Path) -> None:
    """The installed command, from its start to its end: in processor time, which is the wall's on an idle machine, and
    the best of five, because a busy machine slows that down too."""
    arguments, code = QUICK[name]
    took: list[float] = []
    while len(took) < 5 and min(took, default=9.0) > 0.5:
        before = processor_s()
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, env=environment(), cwd=tmp_path, timeout=60)
        took.append(processor_s() - before)
        assert done.returncode == code, done.stderr
    assert 0 < min(took) < 0.5


@quick
def test_it_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    """A process of its own says which modules it holds at its end."""
    arguments, code = QUICK[name]
    script = f"import sys; from fewshot_bench.cli.main import _main; code = _main({arguments!r}); "
    script += f"sys.exit(f'{{code}} ' + ' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stderr.splitlines()[-1] == f"{code} "


def test_the_bare_command_shows_the_help() -> None:
    """On stderr, because nothing was done: examples before options and commands."""
    bare, asked = call(), call("--help")
    assert (bare.code, bare.out) == (2, "")
    assert (asked.code, asked.err) == (0, "")
    assert bare.err == asked.out
    assert 0 < asked.out.index("fsbench run --method maml") < asked.out.index("Options:") < asked.out.index("Commands:")


@pytest.mark.parametrize("command", ["run", "sweep", "test", "show", "table", "bench", "list"])
def test_help_fits_a_terminal_of_80_columns(command: str) -> None:
    """Nothing wraps, and each command says what it is for."""
    said = call(command, "--help")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert f"fsbench {command}" in said.out


def test_run_shows_at_most_twelve_options_outside_the_advanced_panel() -> None:
    """The rest stand under their own title."""
    plain, title, advanced = call("run", "--help").out.partition("\nAdvanced:\n")
    assert title
    options = re.findall(r"^  (--[a-z-]+)", plain, re.MULTILINE)
    assert {"--method", "--dataset", "--ways", "--shots", "--seeds", "--set", "--json", "--dry-run"} <= set(options)
    assert len([option for option in options if option != "--help"]) <= 12
    shown = re.findall(r"^  (--[a-z-]+)", advanced, re.MULTILINE)
    assert shown == [
        "--backbone",
        "--test-dataset",
        "--test-data-root",
        "--device",
        "--threads",
        "--queries",
        "--episodes",
        "--sampling",
        "--images",
        "--keep",
        "--on-existing",
        "--expect",
    ]


def test_every_option_has_a_help_text() -> None:
    """In the help of every command."""
    for command in (["run"], ["test"], ["show"], ["table"], ["bench"], ["list", "runs"], ["list", "methods"]):
        text = call(*command, "--help").out
        options = re.findall(r"^  (--\S+.*(?:\n {10,}.*)*)", text, re.MULTILINE)
        assert options
        assert [option for option in options if not re.search(r"\s{2,}\w[\w ,]+", option)] == [], command


def test_the_version_is_the_distributions() -> None:
    """`fsbench --version` says what pip says."""
    assert call("--version").out == f"fewshot-bench {version('fewshot-bench')}\n"
