"""CRC-32 of files: listed or read once, kept as long as nothing changes, and never a hindrance."""

import os
from pathlib import Path

import pytest
from picture_files import PACKED, pack, write

from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.sources.checksums import UNREAD, checksums

CONTENTS = {"a/1": b"123456789", "a/2": b"", "b": b"The quick brown fox jumps over the lazy dog"}
SUMS = [0xCBF43926, 0, 0x414FA339]  # published check values of CRC-32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sums(path: Path) -> list[int]:
    """The sums of the three files."""
    return checksums(Files(path), sorted(CONTENTS), Files(path).stamps())


@pytest.mark.parametrize("packed", ["folder", *PACKED])
def test_sums_are_those_of_the_contents(packed: str, tmp_path: Path) -> None:
    """In a folder and in every archive, the first time and again."""
    path = write(tmp_path / "f", CONTENTS) if packed == "folder" else pack(tmp_path / f"f{packed}", CONTENTS)
    assert sums(path) == SUMS
    assert sums(path) == SUMS


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no size or time is another."""
    path = write(tmp_path / "f", CONTENTS)
    sums(path)
    monkeypatch.setattr(Files, "read", lambda files, name: pytest.fail(f"{name} was read"))
    assert sums(path) == SUMS


@pytest.mark.parametrize("packed", ["folder", ".tar"])
def test_another_content_of_the_same_size_is_noticed(packed: str, tmp_path: Path) -> None:
    """By its time of change."""
    changed = CONTENTS | {"a/1": b"987654321"}
    path = write(tmp_path / "f", CONTENTS) if packed == "folder" else pack(tmp_path / f"f{packed}", CONTENTS)
    before = sums(path)
    path = write(tmp_path / "f", changed) if packed == "folder" else pack(tmp_path / f"f{packed}", changed)
    os.utime(path / "a/1" if packed == "folder" else path, ns=(0, 10**18))
    assert sums(path)[0] != before[0] and sums(path)[1:] == before[1:]


def test_a_file_that_cannot_be_read_has_no_sum_and_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it can be, without any sign that it changed."""
    path = write(tmp_path / "f", CONTENTS)
    read = Files.read

    def refusing(files: Files, name: str) -> bytes:
        if name == "b":
            raise PermissionError
        return read(files, name)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "read", refusing)
        assert sums(path) == [*SUMS[:2], UNREAD]
    assert sums(path) == SUMS


def test_a_cache_that_cannot_be_written_or_is_damaged_is_no_hindrance(tmp_path: Path, cache: Path) -> None:
    """The files are read again."""
    path = write(tmp_path / "f", CONTENTS)
    cache.write_bytes(b"a file where the folder should be")
    assert sums(path) == SUMS
    cache.unlink()
    sums(path)
    (kept,) = (cache / "checksums").iterdir()
    for damage in (b"", b"[1, 2", b"\xff"):
        kept.write_bytes(damage)
        assert sums(path) == SUMS
