"""A record to verify, and a copy of it to forge."""

import shutil
from pathlib import Path

import pytest
from command_line import TINY, finished, only_run


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run with its weights."""
    out: Path = tmp_path_factory.mktemp("honest")
    finished(*TINY, "--out", out)
    return only_run(out)


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    """A copy that may be forged."""
    folder = tmp_path / honest.name
    shutil.copytree(honest, folder)
    return folder
