"""Files of folders and archives: equal in every packing, never out of their folder, and never a traceback for damage."""

import errno
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from platform import node
from zipfile import ZipFile, ZipInfo

import pytest
from picture_files import PACKED, pack, write

from fewshot_bench.data.files import source_files as module
from fewshot_bench.data.files.source_files import BROKEN, Files, is_archive, opened, unpack
from fewshot_bench.errors import DataError, FewshotError

CONTENTS = {"b/zwei.txt": b"two", "a/one.txt": b"one" * 1000, 'a/née, "x".txt': b"", "top.bin": bytes(range(256))}
SIZES = {name: len(content) for name, content in CONTENTS.items()}


@pytest.fixture(params=["folder", *PACKED])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same files in a folder, or in an archive of each kind."""
    if request.param == "folder":
        return write(tmp_path / "files", CONTENTS)
    return pack(tmp_path / f"files{request.param}", CONTENTS)


def test_a_folder_and_every_archive_hold_the_same(packed: Path) -> None:
    """Names, sizes and contents."""
    with opened(packed) as files:
        assert files.names() == sorted(CONTENTS)
        assert files.sizes() == SIZES
        assert {name: files.read(name) for name in files.names()} == CONTENTS


def test_a_list_needs_no_unpacking(packed: Path) -> None:
    """Of a compressed tar too."""
    assert Files(packed).sizes() == SIZES
    assert Files(packed).read("a/one.txt") == CONTENTS["a/one.txt"]


def test_only_a_zip_lists_checksums(packed: Path) -> None:
    """Those of the contents: 0 for none (the check value of CRC-32 is that of the digits 1 to 9)."""
    sums = Files(packed).sums()
    assert (sums is not None) == (packed.suffix == ".zip")
    if sums is not None:
        assert sums['a/née, "x".txt'] == 0
        assert Files(pack(packed.with_name("digits.zip"), {"x": b"123456789"})).sums() == {"x": 0xCBF43926}


def test_what_was_unpacked_is_gone_afterwards(tmp_path: Path) -> None:
    """Also where the work on it failed."""
    path = pack(tmp_path / "files.tar.gz", CONTENTS)
    with pytest.raises(KeyError), opened(path, tmp_path / "cache") as files:
        assert files.path.parent == tmp_path / "cache"
        raise KeyError
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_killed_processes_unpacked_is_cleared_by_the_next(tmp_path: Path) -> None:
    """That of this machine alone: numbers of others' processes say nothing here, and other names are not ours."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f".unpacked-{gone.pid}-{node()}-a1b2c3d4", f".unpacked-{os.getpid()}-{node()}-a1b2c3d4"]
    others = [f".unpacked-{gone.pid}-other-{node()}-a1b2c3d4", f".unpacked-{gone.pid}-{node()}-2-a1b2c3d4", ".unpacked-old"]
    for name in (*names, *others):
        write(tmp_path / "cache" / name, CONTENTS)
    with opened(pack(tmp_path / "files.tar.gz", CONTENTS), tmp_path / "cache") as files:
        assert files.path.name.startswith(f".unpacked-{os.getpid()}-{node()}-")
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {names[1], *others}


def test_a_process_that_is_killed_leaves_what_the_next_clears(tmp_path: Path) -> None:
    """Its own folder carries its number."""
    path, cache = pack(tmp_path / "files.tar.gz", CONTENTS), tmp_path / "cache"
    script = "import os, sys; from pathlib import Path; from fewshot_bench.data.files.source_files import opened\n"
    script += "with opened(*map(Path, sys.argv[1:])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, path, cache], check=False)
    assert len(list(cache.iterdir())) == 1
    with opened(path, cache):
        assert len(list(cache.iterdir())) == 1
    assert list(cache.iterdir()) == []


def test_an_unpacked_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """With both paths, the reason and what to do; an error of the block's own is left as it is."""
    path = pack(tmp_path / "files.tar.gz", CONTENTS)
    with pytest.raises(FewshotError) as error, opened(path, path / "cache"):
        pass
    assert str(error.value) == f"Cannot unpack {path} into {path / 'cache'}: Not a directory. Set FSBENCH_CACHE."
    with pytest.raises(FileNotFoundError), opened(path, tmp_path / "cache") as files:
        files.read("absent")


def test_an_unknown_name_is_not_found(packed: Path) -> None:
    """As in any folder."""
    with pytest.raises(FileNotFoundError):
        Files(packed).read("a/two.txt")


def test_another_process_reads_the_same(packed: Path) -> None:
    """An open archive is not sent; its path is."""
    files = Files(packed)
    files.names()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(files.read, ("a/one.txt",)) == CONTENTS["a/one.txt"]


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    """One that is kept open is not taken for another of its path."""
    assert Files(pack(tmp_path / "a.zip", {"x": b"1"})).names() == ["x"]
    assert Files(pack(tmp_path / "a.zip", {"x": b"1", "y": b"2"})).names() == ["x", "y"]


@pytest.mark.parametrize(("name", "wanted"), [("a.ZIP", True), ("a.tar.gz", True), ("a.gz", False), ("a", False)])
def test_an_archive_is_known_by_its_name(name: str, wanted: bool) -> None:
    """In any case of letters."""
    assert is_archive(Path(name)) == wanted


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """An entry of a tar archive without content."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


UNSAFE = {
    "outside": member("../out.txt"),
    "outside and back": member("a/../../files/b.txt"),
    "absolute": member("/out.txt"),
    "a drive": member("C:/out.txt"),
    "backslashes": member("a\\..\\..\\out.txt"),
    "link": member("link", tarfile.SYMTYPE, "/etc/passwd"),
    "link inside": member("link", tarfile.SYMTYPE, "top.bin"),
    "hard link": member("link", tarfile.LNKTYPE, "top.bin"),
    "device": member("zero", tarfile.CHRTYPE),
    "block device": member("disk", tarfile.BLKTYPE),
    "pipe": member("pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
@pytest.mark.parametrize("entry", UNSAFE.values(), ids=UNSAFE)
def test_an_archive_that_leads_out_is_refused(entry: tarfile.TarInfo, kind: str, tmp_path: Path) -> None:
    """Paths outside, links and devices, by name, whether it is listed or unpacked; nothing is written for them."""
    path = tmp_path / "below" / f"files{kind}"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz" if kind == ".tar.gz" else "w") as archive:
        archive.addfile(entry)
    for attempt in (lambda: unpack(path, tmp_path / "below" / "out"), lambda: Files(path).names()):
        with pytest.raises(DataError) as error:
            attempt()
        assert repr(entry.name) in str(error.value) and str(path) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


@pytest.mark.parametrize("case", ["outside", "outside and back", "absolute", "a drive", "backslashes", "link"])
def test_a_zip_that_leads_out_is_refused(case: str, tmp_path: Path) -> None:
    """In the same words, before anything of it is read."""
    entry = ZipInfo(UNSAFE[case].name)
    entry.external_attr = (stat.S_IFLNK if case == "link" else stat.S_IFREG) << 16
    path = tmp_path / "files.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"1")
        archive.writestr(entry, b"/etc/passwd")
    for attempt in (Files(path).names, lambda: Files(path).read("a.txt")):
        with pytest.raises(DataError) as error:
            attempt()
        assert str(error.value) == f"{path} is refused: its file {entry.filename!r} is a link or leads out of the folder."


def test_unpacking_ends_at_a_bound(tmp_path: Path) -> None:
    """Bytes that an archive would unpack to, counted before they are written; the bound itself still passes."""
    path = pack(tmp_path / "zeros.tar.gz", {"a": bytes(60_000), "b": bytes(40_000)})
    unpack(path, tmp_path / "fits", limit=100_000)
    with pytest.raises(DataError, match="more than 99,999 bytes"):
        unpack(path, tmp_path / "too large", limit=99_999)
    assert not (tmp_path / "too large" / "b").exists()


def test_a_list_ends_at_the_bound_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive that promises far more is no work without end."""
    monkeypatch.setattr(module, "LARGEST_ARCHIVE", 99_999)
    with pytest.raises(DataError, match="more than 99,999 bytes"):
        Files(pack(tmp_path / "zeros.tar.gz", {"a": bytes(100_000)})).names()


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_a_file_that_is_too_large_is_not_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content never fills the memory."""
    monkeypatch.setattr(module, "LARGEST_FILE", 999)
    files = Files(pack(tmp_path / f"files{kind}", {"fits": bytes(999), "bomb": bytes(1000)}))
    assert len(files.read("fits")) == 999
    with pytest.raises(OSError, match="it has 1,000 bytes: 'bomb'"):
        files.read("bomb")


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("keep", [0, 10, 0.5], ids=["empty", "ten bytes", "half"])
def test_a_truncated_archive_is_named(kind: str, keep: float, tmp_path: Path) -> None:
    """Whether it is listed or unpacked."""
    path = pack(tmp_path / f"files{kind}", {f"{i}.bin": os.urandom(20_000) for i in range(4)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=f"files{kind} is damaged or truncated"):
        Files(path).names()
    if kind != ".zip":
        with pytest.raises(DataError, match=f"files{kind} is damaged or truncated"):
            unpack(path, tmp_path / "out")


def test_a_damaged_file_of_a_zip_is_noticed(tmp_path: Path) -> None:
    """By its checksum."""
    path = tmp_path / "files.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("a", b"as it was")
    path.write_bytes(path.read_bytes().replace(b"as it was", b"as it is!", 1))
    with pytest.raises(BROKEN):
        Files(path).read("a")


def test_a_name_that_is_a_file_and_a_folder_is_damage(tmp_path: Path) -> None:
    """No folder can hold both."""
    with pytest.raises(DataError, match="is damaged"):
        unpack(pack(tmp_path / "files.tar", {"a": b"1", "a/b": b"2"}), tmp_path / "out")


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is not blamed for it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    path = pack(tmp_path / "files.tar.gz", CONTENTS)
    with pytest.raises(OSError, match="No space left"):
        unpack(path, tmp_path / "out")
    with pytest.raises(FewshotError, match=r"Cannot unpack .*: No space left on device\."), opened(path, tmp_path / "cache"):
        pass
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", ["absent", "absent.zip", "absent.tar.gz"])
def test_what_does_not_exist_is_said_to_be_missing(name: str, tmp_path: Path) -> None:
    """Not to be damaged."""
    with pytest.raises(DataError, match=f"No such file or folder: .*{name}"):
        Files(tmp_path / name).names()


def test_links_lead_to_each_folder_once(tmp_path: Path) -> None:
    """A link to a folder elsewhere is followed; loops, links to nowhere and links to themselves end."""
    write(tmp_path / "elsewhere", {"x.txt": b"x"})
    root = write(tmp_path / "files", {"a/one.txt": b"one"})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "nowhere").symlink_to(tmp_path / "absent")
    (root / "a" / "self").symlink_to(root / "a" / "self")
    (root / "other").symlink_to(tmp_path / "elsewhere")
    (root / "other" / "back").symlink_to(tmp_path / "elsewhere")
    assert Files(root).sizes() == {"a/one.txt": 3, "other/x.txt": 1}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for empty."""
    root = write(tmp_path / "files", CONTENTS)
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"Cannot read the folder .*/a: Permission denied"):
        Files(root).names()


def test_devices_and_pipes_of_a_folder_are_left_out(tmp_path: Path) -> None:
    """Reading one might never end."""
    root = write(tmp_path / "files", {"a.txt": b"1"})
    os.mkfifo(root / "pipe")
    assert Files(root).names() == ["a.txt"]


def test_a_time_of_change_stands_beside_each_size(tmp_path: Path) -> None:
    """A file's own, or its archive's."""
    root = write(tmp_path / "files", {"a.txt": b"1"})
    os.utime(root / "a.txt", ns=(5, 7_000_000_000))
    assert Files(root).stamps() == {"a.txt": (1, 7_000_000_000)}
    path = pack(tmp_path / "files.tar", {"a.txt": b"1"})
    os.utime(path, ns=(5, 9_000_000_000))
    assert Files(path).stamps() == {"a.txt": (1, 9_000_000_000)}


def test_a_sparse_file_of_a_tar_is_read_whole(tmp_path: Path) -> None:
    """An archive stores only what is not zero of it."""
    entry = tarfile.TarInfo("sparse")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 3
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (7, 3)  # three bytes from the eighth on
    header[483:495] = b"%011o\0" % 10  # of ten
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    path = tmp_path / "files.tar"
    path.write_bytes(bytes(header) + b"abc".ljust(512, b"\0") + bytes(1024))
    with tarfile.open(path) as archive:
        assert archive.getmembers()[0].issparse()
    assert Files(path).sizes() == {"sparse": 10}
    assert Files(path).read("sparse") == bytes(7) + b"abc"
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "sparse").read_bytes() == bytes(7) + b"abc"
