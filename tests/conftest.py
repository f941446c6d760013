"""Fixtures that several test modules share."""

import importlib
import os
import warnings
from types import ModuleType

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a loaded machine fails no test
settings.load_profile("unhurried")


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
