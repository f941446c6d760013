"""Where what can be made again is kept."""

from pathlib import Path

import pooch
import pytest
from command_line import call, finished

from fewshot_bench.cache import NOWHERE, cache_folder


def test_the_cache_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else in the user's own cache folder."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FSBENCH_CACHE")
    assert cache_folder() == Path(pooch.os_cache("fewshot-bench"))


def unexpanded(name: str) -> str:
    """What older versions of platformdirs give."""
    return f"~/.cache/{name}"


def refusing(name: str) -> str:
    """What newer ones do."""
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("os_cache", [unexpanded, refusing])
def test_a_user_without_a_home_is_told_to_name_a_cache(os_cache: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named `~` is not made where the command was given, and a list goes on."""
    monkeypatch.delenv("FSBENCH_CACHE", raising=False)
    monkeypatch.setattr(pooch, "os_cache", os_cache)
    assert cache_folder() == NOWHERE
    said = call("data", "get", "glyphs")
    assert (said.code, len(said.complaint.splitlines())) == (1, 1)
    assert "this user has no home folder" in said.complaint and "Set FSBENCH_CACHE" in said.complaint
    finished("data", "list")
    finished("data", "get", "sinusoid")
