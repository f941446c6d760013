"""Output that nobody takes, and interrupts at any moment: no traceback, and the exit code that is meant."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PIXELS, TINY, environment, only_run

from fewshot_bench.cli import streams

FSBENCH = (sys.executable, "-c", "from fewshot_bench.cli.main import main; main()")
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "version": ("--version",),
    "a list": ("list", "methods"),
    "data sets": ("data", "list"),
}
ON_IMPORT = """
import os, signal, sys

wanted = sys.argv.pop(1)

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Interrupt())
if wanted != "yaml":  # these tests may run in the background themselves, where it is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
from fewshot_bench.cli.main import main
main()
"""
"""A run of `fsbench` that sends itself Ctrl-C when a module is about to be imported."""


def run(*arguments: object, shell: str = '"$@"', **variables: str) -> subprocess.CompletedProcess[str]:
    """`fsbench ARGUMENTS` in a process of its own, within a shell that redirects it."""
    command = ["bash", "-c", shell, "bash", *FSBENCH, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=environment(**variables), check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_stdout_is_said_in_a_line(command: str) -> None:
    """Exit 1: what was asked for was not written."""
    done = run(*COMMANDS[command], shell='"$@" >/dev/full')
    assert done.stderr == "fsbench: Cannot write the output: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_run_whose_output_cannot_be_written_leaves_its_record(tmp_path: Path) -> None:
    """Neither the progress nor the summary is shown; the exit code says that the summary was lost."""
    done = run(*PIXELS, "--out", tmp_path, shell='"$@" >/dev/full 2>/dev/full')
    assert (done.returncode, done.stderr) == (1, "")
    assert only_run(tmp_path)


@pytest.mark.parametrize("command", ["help", "a list"])
@pytest.mark.parametrize(
    "shell", ['"$@" | true; exit ${PIPESTATUS[0]}', '"$@" >&-', '"$@" 2>&-', '"$@" >&- 2>&-', '"$@" <&- >&- 2>&-']
)
def test_a_reader_that_has_gone_or_a_closed_stream_is_no_error(command: str, shell: str) -> None:
    """As of other programs: nothing is said, and the work is done."""
    done = run(*COMMANDS[command], shell=shell)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_does_not_reach_stdout_where_stderr_is_closed() -> None:
    """Nor a file that the program opens meanwhile."""
    done = run("show", "no-such-method", shell='"$@" 2>&-')
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_run_with_closed_streams_leaves_a_whole_record(tmp_path: Path) -> None:
    """No file of the record is what the streams' numbers lead to."""
    done = run(*TINY, "--out", tmp_path, shell='"$@" <&- >&-')
    assert done.returncode == 0, done.stderr
    assert run("table", tmp_path).returncode == 0


@pytest.mark.parametrize("coding", ["ascii", "ascii:strict", "cp437"])
@pytest.mark.parametrize("command", ["help", "data sets"])
def test_a_code_page_without_a_character_shows_another(command: str, coding: str) -> None:
    """Whatever the terminal can show, it is shown something."""
    done = run(*COMMANDS[command], PYTHONIOENCODING=coding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("coding", ["ascii"])
def test_a_summary_and_a_table_are_shown_in_any_code_page(coding: str, tmp_path: Path) -> None:
    """Their ± has an equivalent; a folder that no code page has is shown by numbers."""
    out = tmp_path / "実験→\udcff"
    done = run(*PIXELS, "--out", out, PYTHONIOENCODING=coding)
    assert done.returncode == 0, done.stderr
    assert "\\u5b9f\\u9a13->" in done.stdout
    table = run("table", out, PYTHONIOENCODING=coding)
    assert table.returncode == 0, table.stderr
    refused = run("table", out / "±→", PYTHONIOENCODING=coding)
    assert refused.returncode == 2
    assert "->" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_locale_without_characters_is_enough(tmp_path: Path) -> None:
    """POSIX's, which Python is told not to replace."""
    variables = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for arguments in ((*PIXELS, "--out", tmp_path), ("table", tmp_path), ("data", "list")):
        done = run(*arguments, **variables)
        assert done.returncode == 0, done.stderr


def test_what_stands_for_a_character_is_plain() -> None:
    """Ours have an equivalent, any other is shown by its number."""
    assert streams._shown(UnicodeEncodeError("ascii", "a±→\udcff\ud800z", 1, 5, "")) == ("+/-->\\udcff\\ud800", 5)


@pytest.mark.parametrize(
    "module", ["fewshot_bench.cli.streams", "typer", "fewshot_bench.specs", "numpy", "torch", "pyarrow"]
)
def test_an_interrupt_while_a_module_is_imported_leaves_at_once(module: str, tmp_path: Path) -> None:
    """A line, exit code 130, no traceback; what was not begun is not there."""
    command = [sys.executable, "-c", ON_IMPORT, module, *PIXELS, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "fsbench: Interrupted."
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("record.json"))


def test_an_interrupt_that_a_background_process_ignores_stays_ignored() -> None:
    """A script's shell starts `fsbench &` so."""
    shell = 'trap "" INT; "$@"'
    code = ON_IMPORT
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", code, "yaml", "show", "maml"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_libraries_are_not_taken_apart_at_the_end(tmp_path: Path) -> None:
    """What they do as the process ends may abort it; what Python has been asked to do then is done."""
    script = f"""
import atexit, ctypes, os
from pathlib import Path

aborts = ctypes.CFUNCTYPE(None)(os.abort)
ctypes.CDLL(None).__cxa_atexit(aborts, None, None)
atexit.register(Path({str(tmp_path / "left")!r}).touch)
from fewshot_bench.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script, "list", "methods"], capture_output=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert b"maml" in done.stdout
    assert (tmp_path / "left").is_file()
