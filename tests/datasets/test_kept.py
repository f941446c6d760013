"""What takes a while to make is kept until what it was made of changes."""

import os
from pathlib import Path

import pytest

from fewshot_datasets.sources.kept import kept, stamp


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(made_of: object, texts: list[str], *, worth: bool = True) -> str:
    """What is kept, or else the next of the texts."""
    return kept("texts", made_of, lambda: texts.pop(0), worth=lambda: worth)


def test_it_is_made_once() -> None:
    """Of the same; of anything else it is made, too."""
    texts = ["ä", "b"]
    assert [made([1, "x"], texts), made([1, "x"], texts), made([1, "y"], texts)] == ["ä", "ä", "b"]


def test_what_is_not_worth_it_is_made_every_time(cache: Path) -> None:
    """And leaves nothing."""
    texts = ["a", "b"]
    assert [made(1, texts, worth=False), made(1, texts, worth=False)] == ["a", "b"]
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_another_making(cache: Path) -> None:
    """No more."""
    cache.write_text("mine")
    texts = ["a", "b"]
    assert [made(1, texts), made(1, texts)] == ["a", "b"]


@pytest.mark.parametrize("damage", [b"", b'"a', b"\xff", None], ids=["empty", "cut", "no UTF-8", "unreadable"])
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And written over."""
    texts = ["a", "b"]
    made(1, texts)
    (file,) = (cache / "texts").iterdir()
    if damage is not None:
        file.write_bytes(damage)
    with monkeypatch.context() as patch:
        if damage is None:
            patch.setattr(Path, "read_text", refused)
        assert made(1, texts) == "b"
    assert made(1, texts) == "b"


def refused(path: Path, encoding: str) -> str:
    """A file that others own."""
    raise PermissionError(path)


def test_anything_that_json_can_say_is_kept() -> None:
    """Not only texts."""
    assert [kept("sizes", 1, lambda: {"a": 1}), kept("sizes", 1, dict)] == [{"a": 1}] * 2


def test_a_stamp_changes_with_size_and_time_of_any_file(tmp_path: Path) -> None:
    """Of a file, and of a folder at any depth."""
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    file = folder / "a.txt"
    file.write_text("a")
    os.utime(file, ns=(0, 1))
    for path in (file, tmp_path / "folder"):
        first = stamp(path)
        assert stamp(path) == first
        file.write_text("ab")
        os.utime(file, ns=(0, 1))
        larger = stamp(path)
        os.utime(file, ns=(0, 2))
        assert len({first, larger, stamp(path)}) == 3
        file.write_text("a")
        os.utime(file, ns=(0, 1))
        assert stamp(path) == first
