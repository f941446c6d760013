"""`fsbench pack` and `unpack`: what went in comes out, and a hostile file leaves nothing behind."""

import zipfile
from pathlib import Path

import pytest
from command_line import NAMED, TINY, assert_refused, call, finished, only_run, snapshot


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run."""
    out: Path = tmp_path_factory.mktemp("runs")
    finished(*TINY, "--out", out)
    return only_run(out)


def test_a_run_comes_out_as_it_went_in(run: Path, tmp_path: Path) -> None:
    """Byte for byte, and it can be verified; other files of the folder stay out."""
    (run / "notes.txt").write_text("mine")
    finished("pack", run, tmp_path / "run.zip")
    (run / "notes.txt").unlink()
    finished("unpack", tmp_path / "run.zip", "--out", tmp_path / "others")
    assert snapshot(tmp_path / "others" / run.name) == snapshot(run)
    assert "recomputed" in finished("verify", tmp_path / "others", *NAMED).out


def test_equal_runs_are_equal_files(run: Path, tmp_path: Path) -> None:
    """Whenever they are written."""
    for name in ("a.zip", "b.zip"):
        finished("pack", run, tmp_path / name)
        (run / "log.jsonl").touch()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_file_that_is_there_is_not_replaced(run: Path, tmp_path: Path) -> None:
    """Nor is a folder that cannot be written said to be unreadable."""
    (tmp_path / "run.zip").write_text("mine")
    assert_refused(call("pack", run, tmp_path / "run.zip"), 2, "is there already")
    assert (tmp_path / "run.zip").read_text() == "mine"
    finished("pack", run, tmp_path / "good.zip")
    assert_refused(call("unpack", tmp_path / "good.zip", "--out", tmp_path / "run.zip"), 1, "Cannot write")


def test_a_run_that_is_there_is_not_replaced(run: Path, tmp_path: Path) -> None:
    """It says where else to unpack."""
    finished("pack", run, tmp_path / "run.zip")
    said = call("unpack", tmp_path / "run.zip", "--out", run.parent)
    assert (said.code, "--out" in said.complaint) == (2, True)


def bundle(run: Path, path: Path, **others: bytes) -> Path:
    """A bundle in which files are replaced or added; one that is empty is left out."""
    with zipfile.ZipFile(path, "w") as archive:
        content = {f"run/{name}": text for name, text in snapshot(run).items()}
        for name, text in (content | others).items():
            if text:
                archive.writestr(name, text)
    return path


HOSTILE: dict[str, dict[str, bytes]] = {
    "above": {"../evil.txt": b"x"},
    "deep above": {"run/../../record.json": b"x"},
    "absolute": {"/tmp/record.json": b"x"},
    "backslash": {"run\\..\\record.json": b"x"},
    "two folders": {"other/log.jsonl": b"x"},
    "a pickle": {"run/weights.pt": b"x"},
    "hidden": {".ssh/log.jsonl": b"x"},
    "no scores": {"run/episodes.parquet": b""},
    "a damaged record": {"run/record.json": b"{}"},
    "damaged scores": {"run/episodes.parquet": b"PAR1"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_leaves_nothing(run: Path, tmp_path: Path, kind: str) -> None:
    """Refused with exit code 3, in at most three lines, and the target is empty."""
    file = bundle(run, tmp_path / "hostile.zip", **HOSTILE[kind])
    out = tmp_path / "out"
    said = call("unpack", file, "--out", out)
    assert said.code == 3
    assert len(said.complaint.splitlines()) <= 3
    assert not out.exists() or not list(out.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "out") == ["hostile.zip"]


def test_a_link_in_it_is_a_file_without_meaning(run: Path, tmp_path: Path) -> None:
    """An entry that calls itself a link is written as what it holds, which is no learning curve of anybody's."""
    file = bundle(run, tmp_path / "link.zip", **{"run/log.jsonl": b""})
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo("run/log.jsonl")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    finished("unpack", file, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "run" / "log.jsonl").is_symlink()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not an archive"])
def test_no_archive_is_said(tmp_path: Path, content: bytes) -> None:
    """Exit code 3."""
    (tmp_path / "x.zip").write_bytes(content)
    said = call("unpack", tmp_path / "x.zip", "--out", tmp_path / "out")
    assert (said.code, "no bundle" in said.complaint) == (3, True)
