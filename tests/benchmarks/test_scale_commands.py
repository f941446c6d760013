"""The commands that measure data at scale, or backbones, say what they do before they do it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["large_data.py", "many_classes.py", "backbone_cost.py"])
def test_help_measures_nothing(command: str) -> None:
    """It prints how to use the command, and ends."""
    script = str(Path(__file__).with_name(command))
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.startswith(f"usage: {command}")
    assert " ms; " not in done.stdout
