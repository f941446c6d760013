"""Fixtures that several test modules share."""

import importlib
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each: threads that wait for one another would take the others'
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("unhurried", deadline=None)  # a loaded machine fails no test
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `extra` what needs the peer or a browser."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "l2l" in item.name or {"l2l", "browser_page"} & set(fixtures):
            item.add_marker("extra")


@pytest.fixture
def records_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the records that a test writes have few episodes, whatever their protocol says."""
    monkeypatch.setattr("fewshot_bench.results.record_checks._check_protocol", lambda where, result: None)


@pytest.fixture(scope="session")
def l2l() -> ModuleType:
    """learn2learn, the peer. Where it is not installed the test is skipped, or fails under FSBENCH_REQUIRE_PEER=1."""
    try:
        with warnings.catch_warnings():  # it and its dependencies warn while they are imported
            warnings.simplefilter("ignore")
            return importlib.import_module("learn2learn")
    except ImportError as error:
        reason = f"the peer learn2learn cannot be imported ({error}): it is an extra that needs a C compiler"
    if os.environ.get("FSBENCH_REQUIRE_PEER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def compiled() -> None:
    """The kernels, compiled. Where there is no C++ compiler the test is skipped, or fails under FSBENCH_REQUIRE_PEER=1."""
    from fewshot_bench.kernels import Unavailable, library

    try:
        library()
    except Unavailable as error:
        reason = f"the kernels cannot be had: {error}"
    else:
        return
    if os.environ.get("FSBENCH_REQUIRE_PEER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=["kernels", "torch"])
def computed_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the kernels compute, then torch; afterwards whichever did before."""
    from fewshot_bench import kernels

    if request.param == "kernels":
        request.getfixturevalue("compiled")
    with kernels.serving(request.param == "kernels"):
        yield request.param
