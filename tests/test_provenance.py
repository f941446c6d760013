"""A record's provenance can be told on every system."""

import subprocess
import sys

ELSEWHERE = """
import sys
from pathlib import Path

sys.modules["resource"] = None  # as on Windows: it cannot be imported

def read_text(path, encoding):
    raise FileNotFoundError(path)

Path.read_text = read_text
from fewshot_bench.provenance import peak_mib

print(peak_mib())
"""


def test_the_peak_is_none_where_the_system_does_not_tell() -> None:
    """Neither /proc nor the module `resource` is there on Windows; a process of its own imports without them."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")
