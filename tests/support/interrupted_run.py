"""A run that gets a signal at a moment, and what must be the same once it has gone on."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from command_line import Said, content, environment

from fewshot_bench.results.score_files import read_scores

DRIVER = Path(__file__).with_name("kill_at.py")


def interrupt(moment: str, number: signal.Signals, *arguments: object, **variables: str) -> Said:
    """Run a command in a process of its own that gets the signal at that moment."""
    command = [sys.executable, str(DRIVER), moment, number.name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**variables), timeout=100)
    return Said(done.returncode, done.stdout, done.stderr)


def learning_curve(folder: Path) -> list[dict[str, Any]]:
    """`log.jsonl` without its times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "train_s"} for line in lines]


def assert_same_run(folder: Path, whole: Path) -> None:
    """Equal specs, results, episode scores, weights bit for bit and learning curve."""
    assert content(folder) == content(whole)
    scores, wanted = read_scores(folder), read_scores(whole)
    assert scores.keys() == wanted.keys()
    assert all(np.array_equal(scores[key], wanted[key]) for key in wanted)
    name = "checkpoint.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert learning_curve(folder) == learning_curve(whole)
    assert len(learning_curve(whole)) == 3
    assert not (folder / "state.safetensors").exists()
