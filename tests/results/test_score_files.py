"""Reading the scores of test episodes."""

import subprocess
import sys
from pathlib import Path

import pytest

TASKS = Path("/proc/self/task")
READ = """
import os, sys
from pathlib import Path
import numpy as np
import pyarrow.parquet
from fewshot_bench.results.score_files import read_scores, write_scores
folder = Path(sys.argv[1])
write_scores(folder, {"a": np.array([0.5, 1.0])})
before = len(os.listdir("/proc/self/task"))
read_scores(folder)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="the system does not show a process's threads")
def test_reading_scores_starts_no_thread(tmp_path: Path) -> None:
    """A thread of pyarrow's that still holds what Python gave it aborts a process that ends, all work done."""
    done = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
