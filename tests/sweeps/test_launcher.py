"""What starts a run where the system does not end it with its parent."""

import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import is_alive, until

from fewshot_bench.sweeps import launcher

WATCH = "import runpy, sys; runpy.run_path(sys.argv[1])['watch'](sys.argv[2:])"
SAYS_WHO_AND_SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def watched(code: str) -> subprocess.Popen[str]:
    """A process of that code, watched."""
    command = [sys.executable, "-S", "-c", WATCH, launcher.__file__, sys.executable, "-S", "-c", code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_the_command_ends_when_the_pipe_is_closed() -> None:
    """As it is when the process that holds its other end is killed."""
    process = watched(SAYS_WHO_AND_SLEEPS)
    assert process.stdin is not None
    assert process.stdout is not None
    command = int(process.stdout.readline())
    assert is_alive(command)
    process.stdin.close()
    until(lambda: not is_alive(command), 10)
    process.stdout.close()
    assert process.wait() == 128 + 9


@pytest.mark.parametrize(("code", "ends"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 11)", 128 + 11)])
def test_the_exit_code_is_the_commands(code: str, ends: int) -> None:
    """Of a signal as a shell gives it."""
    with watched(code) as process:
        assert process.wait() == ends


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the pipe tells")
def test_a_command_is_not_started_for_a_parent_that_has_ended() -> None:
    """It would have nobody to end with."""
    command = [sys.executable, "-S", str(Path(launcher.__file__)), "1", sys.executable, "-c", "print('started')"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "started" not in done.stdout
