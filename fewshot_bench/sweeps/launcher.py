"""Becomes a command that must not outlive who started it: `python -S launcher.py PARENT COMMAND ...`.

On Linux the system kills the command when its parent ends, however that ends; what it has saved stays. Elsewhere this
process stays, and kills the command once the pipe on its input is closed, whose other end the parent holds. Nothing of this
package is imported, so that it starts at once.
"""

import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Set this process up and become the command, or watch over it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            sys.exit(128 + signal.SIGKILL)
        os.execv(command[0], command)
    watch(command)


def watch(command: list[str]) -> None:
    """Start the command, and end with it or when standard input does."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())

    def follow() -> None:
        while os.read(0, 1):
            pass
        process.kill()

    threading.Thread(target=follow, daemon=True).start()
    code = process.wait()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
