"""Files of a record, under any name of a folder, whole or not at all; what cannot be written is known before the work."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import PIXELS, TINY, assert_refused, call, environment, finished, only_run

from fewshot_bench import load_record, storage
from fewshot_bench.errors import DataError
from fewshot_bench.runs import training
from fewshot_bench.storage import ABANDONED, atomic

NAMES = ("~/runs", "exp:1", "file:runs", "s3:runs", "100%25 ?x=1#y", "-", "new\nline", "\udcff\udcfe", "→")
RECORD = ("record.json", "episodes.parquet", "queries.safetensors", "log.jsonl", "checkpoint.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_a_record_lies_in_the_folder_of_that_very_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library would read into it (a home, an address, an escape): it is written, read, tested again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    finished(*PIXELS, f"--out={name}")
    folder = only_run(tmp_path / name)
    assert len(load_record(folder.relative_to(tmp_path)).scores(load_record(folder).results[0]["id"])) == 8
    for part in ("1/2", "2/2"):
        finished("test", "--shard", part, "--episodes", "500", "--", folder.relative_to(tmp_path))
    assert len(load_record(folder).results) == 2
    assert finished("table", "--", name).out
    assert not (tmp_path / "home").exists()


def test_every_file_of_a_record_has_the_mode_that_the_user_asks_for(tmp_path: Path) -> None:
    """That of the umask: weights are no more private than scores."""
    before = os.umask(0o027)
    try:
        finished(*TINY, "--out", tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in only_run(tmp_path).iterdir()}
    assert modes == dict.fromkeys(RECORD, 0o640)


@pytest.mark.parametrize("name", [*RECORD, training.STATE])
def test_a_file_that_cannot_be_replaced_is_known_before_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder lies in its place: exit 1, and nothing was trained."""
    finished(*TINY, "--out", tmp_path)
    folder = only_run(tmp_path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    monkeypatch.setattr(training.Trainer, "train", lambda *arguments: pytest.fail("trained"))
    said = call(*TINY, "--out", tmp_path, "--on-existing", "overwrite")
    assert_refused(said, 1, f"Cannot write {folder / name}: Is a directory", "--out")


@pytest.mark.parametrize("command", ["run", "test", "shard"])
@pytest.mark.parametrize(
    "reason", ["Read-only file system", "No space left on device", "File name too long", "Permission denied"]
)
def test_a_folder_that_cannot_be_written_is_known_before_the_work(
    command: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1, before any episode is seen; what was there stays."""
    errno = next(number for number in range(200) if os.strerror(number) == reason)
    finished(*PIXELS, "--out", tmp_path)
    folder, usual = only_run(tmp_path), Path.open
    before = load_record(folder).content

    def refuse(path: Path, mode: str = "r", *arguments: object, **named: object) -> object:
        if "r" not in mode and tmp_path in path.parents:
            raise OSError(errno, reason, str(path))
        return usual(path, mode, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("fewshot_bench.runs.session.episode_scores", lambda *arguments: pytest.fail("tested"))
    arguments = {
        "run": (*PIXELS, "--out", tmp_path, "--on-existing", "overwrite"),
        "test": ("test", folder, "--shots", "2"),
        "shard": ("test", folder, "--shots", "2", "--shard", "1/1"),
    }
    assert_refused(call(*arguments[command]), 1, f"Cannot write {folder}/", reason, "--out")
    monkeypatch.undo()
    assert load_record(folder).content == before


def test_too_little_room_for_the_weights_is_known_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state and the checkpoint are set aside for a moment, and given back."""
    asked: list[int] = []

    def full(file: int, offset: int, size: int) -> None:
        asked.append(size)
        if size > 10_000:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(training.Trainer, "train", lambda *arguments: pytest.fail("trained"))
    assert_refused(call(*TINY, "--out", tmp_path), 1, "state.safetensors: No space left on device")
    assert max(asked) > 10_000
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".tmp"]


@pytest.mark.parametrize("errno", [22, 95])
def test_a_file_system_that_sets_no_room_aside_is_written_all_the_same(
    errno: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems cannot."""

    def unable(file: int, offset: int, size: int) -> None:
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    finished(*PIXELS, "--out", tmp_path)


def test_an_unreadable_checkpoint_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of it is repeated; damage and absence have words of their own."""
    from fewshot_bench.runs.checkpoint import load_tensors

    path, usual = tmp_path / "checkpoint.safetensors", Path.read_bytes
    with pytest.raises(DataError, match=r"checkpoint.safetensors is missing\.$"):
        load_tensors(path)
    for content in (b"", b"\0" * 7, b"\xff" * 64, b"\2\0\0\0\0\0\0\0{}", b"\4\0\0\0\0\0\0\0null"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"checkpoint.safetensors is damaged: "):
            load_tensors(path)

    def refuse(one: Path) -> bytes:
        if one == path:
            raise PermissionError(13, "Permission denied", str(one))
        return usual(one)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"checkpoint.safetensors cannot be read: Permission denied\.$"):
        load_tensors(path)


KILLED = """
import os, signal, sys
from pathlib import Path
from fewshot_bench.storage import atomic

with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
ALIVE = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(flush=True); sys.stdin.read()")


def test_what_a_killed_process_was_writing_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    """And what another is writing now stays, as does what is not ours."""
    finished(*PIXELS, "--out", tmp_path)
    folder = only_run(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED, str(folder / "dead.json")], env=environment(), check=False)
    assert [path.name.split(".")[1] for path in folder.iterdir() if ABANDONED.fullmatch(path.name)] == ["dead"]
    (folder / ".mine.tmp").touch()
    command = [sys.executable, "-c", ALIVE, str(folder / "alive.json")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **pipes) as alive:  # type: ignore[call-overload]
        alive.stdout.readline()
        finished("test", folder, "--episodes", "9")
        kept = {path.name.split(".")[1] for path in folder.glob(".*.tmp")}
        alive.stdin.close()
    assert kept == {"alive", "mine"}
    assert (folder / "alive.json").read_text() == "half"


def test_what_another_machine_writes_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    """Its processes cannot be asked for."""
    names = [f".{name}.json.00000000-{os.getpid()}-{'1' * 8}.tmp" for name in ("old", "new")]
    for name in names:
        (tmp_path / name).touch()
    long_ago = time.time() - 2 * storage.FOREIGN_FOR_S
    os.utime(tmp_path / names[0], (long_ago, long_ago))
    storage.remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == names[1:]


def test_a_number_that_a_new_process_has_again_keeps_nothing(tmp_path: Path) -> None:
    """In a container every run may have the number 1; what this process writes at the moment stays."""
    with atomic(tmp_path / "mine") as temporary:
        temporary.touch()
        (tmp_path / f"{temporary.name.rpartition('-')[0]}-{'f' * 8}.tmp").touch()
        storage.remove_abandoned(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]
