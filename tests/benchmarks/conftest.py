"""Prints the table of speeds at the end of a run that measured some."""

import pytest

from fewshot_bench.bench.measure import Measured
from fewshot_bench.bench.report import COLUMNS, row
from fewshot_bench.table import Table

SPEEDS = pytest.StashKey[list[Measured]]()


@pytest.fixture(scope="session")
def speeds(pytestconfig: pytest.Config) -> list[Measured]:
    """What has been measured so far."""
    return pytestconfig.stash.setdefault(SPEEDS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if speeds := config.stash.get(SPEEDS, []):
        table = Table(
            "Speed beside learn2learn (l2l), from files and with its images in memory", COLUMNS, [*map(row, speeds)]
        )
        terminalreporter.section("speed")
        for line in table.text().splitlines():
            terminalreporter.line(line)
