"""Prints the table of speeds at the end of a run that measured some."""

import pytest
from benchmarks.speeds import Speed, table

SPEEDS = pytest.StashKey[list[Speed]]()


@pytest.fixture(scope="session")
def speeds(pytestconfig: pytest.Config) -> list[Speed]:
    """What has been measured so far."""
    return pytestconfig.stash.setdefault(SPEEDS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if speeds := config.stash.get(SPEEDS, []):
        terminalreporter.section("per second, beside learn2learn with its images from files and in memory")
        for line in table(speeds):
            terminalreporter.line(line)
