"""An archive is listed whole or refused: one that is cut, joined or unreadable never looks like a smaller one."""

import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from command_line import call
from picture_files import PACKED, pack, plain

from fewshot_bench.data.files.source_files import BROKEN, Files, opened
from fewshot_bench.errors import DataError

CONTENTS = {f"{name}/{i}.bin": os.urandom(30 * i + 5) for name in ("cat", "dog") for i in range(3)} | {"empty": b""}
BLOCK = tarfile.BLOCKSIZE
Change = Callable[[Path], object]


def held(path: Path) -> dict[str, bytes]:
    """All that an archive has."""
    with opened(path, path.parent / "cache") as files:
        return {name: files.read(name) for name in files.names()}


def refusal(path: Path) -> str:
    """What is said of an archive, by its name, both where it is listed and where it is unpacked."""
    said = []
    for act in (Files(path).names, lambda: held(path)):
        with pytest.raises(DataError) as error:
            act()
        said.append(str(error.value))
    assert said[0] == said[1]
    assert str(path) in said[0] and len(said[0].splitlines()) == 1
    return said[0]


@pytest.mark.parametrize("kind", PACKED)
def test_an_archive_cut_anywhere_is_refused_or_lacks_nothing(kind: str, tmp_path: Path) -> None:
    """Within blocks, between them and in its last bytes. Only what fills the last record of a tar is missed by nobody."""
    whole = pack(tmp_path / f"whole{kind}", CONTENTS).read_bytes()
    cut = tmp_path / f"cut{kind}"
    passed = []
    places = {*range(0, len(whole), 128), *range(1, len(whole), 2 * BLOCK + 9), *range(len(whole) - 20, len(whole))}
    for place in sorted(places):
        cut.write_bytes(whole[:place])
        try:
            assert held(cut) == CONTENTS
        except DataError as error:
            assert f"cut{kind} is damaged or truncated" in str(error)
        else:
            passed.append(place)
    assert passed == [] if kind != ".tar" else min(passed) == end_of(whole) + 2 * BLOCK


def end_of(tar: bytes) -> int:
    """Where the blocks of zeros begin that end a tar of these contents."""
    return len(tar.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK


@pytest.mark.parametrize("record", [512, 1024, 10240, 2**16, 2**20])
def test_a_tar_may_fill_its_last_record_with_zeros(record: int, tmp_path: Path) -> None:
    """Two blocks of zeros, and as many as a tool writes that packs records of any usual size."""
    path = pack(tmp_path / "files.tar", CONTENTS)
    entries = path.read_bytes()[: end_of(path.read_bytes())]
    path.write_bytes(entries + bytes(2 * BLOCK + -(len(entries) + 2 * BLOCK) % record))
    assert held(path) == CONTENTS


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_a_tar_may_have_its_second_block_of_zeros_in_another_record(kind: str, tmp_path: Path) -> None:
    """The most zeros that a tool writes: a block that ends a record, and a whole record."""
    path = tmp_path / f"files{kind}"
    name = f"w:{kind[5:]}"
    with tarfile.open(path, name) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a.bin")
        member.size = tarfile.RECORDSIZE - 2 * BLOCK
        archive.addfile(member, BytesIO(b"a" * member.size))
    assert list(held(path)) == ["a.bin"]


@pytest.mark.parametrize("entries", [1, 3, 6])
def test_a_tar_whose_download_broke_off_into_zeros_is_refused(entries: int, tmp_path: Path) -> None:
    """Its file has its whole length from the first, so that it lacks nothing but entries."""
    contents = {f"{i}.bin": os.urandom(20_000) for i in range(7)}
    path = pack(tmp_path / "files.tar", contents)
    whole = path.read_bytes()
    here = whole.index(contents[f"{entries}.bin"]) - BLOCK
    path.write_bytes(whole[:here].ljust(len(whole), b"\0"))
    assert "bytes of zeros follow its last entry, as after a download that broke off" in refusal(path)


@pytest.mark.parametrize("blocks", [22, 5000])
def test_a_tar_with_more_zeros_than_fill_a_record_is_told_how_to_be_read(blocks: int, tmp_path: Path) -> None:
    """It may be whole, which nothing in it tells."""
    path = pack(tmp_path / "files.tar", CONTENTS)
    whole = path.read_bytes()
    blocks += (end_of(whole) // BLOCK + blocks + 1) % 2  # so that the whole is of no larger records than blocks
    path.write_bytes(whole[: end_of(whole)] + bytes(BLOCK * blocks))
    assert "if it is whole, unpack it and name the folder" in refusal(path)


@pytest.mark.parametrize("before", ["nothing", "a tar"])
def test_a_sparse_tar_is_not_read_to_its_end(before: str, tmp_path: Path) -> None:
    """Of a terabyte of zeros the first show that it is no archive."""
    path = tmp_path / "a.tar"
    path.write_bytes(b"") if before == "nothing" else pack(path, CONTENTS)
    os.truncate(path, 2**40)
    assert "bytes of zeros follow its last entry" in refusal(path)


def test_a_tar_with_one_block_of_zeros_was_cut(tmp_path: Path) -> None:
    """The format has two: one may be all that came of the zeros of an interrupted download."""
    path = pack(tmp_path / "files.tar", CONTENTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: end_of(whole)] + bytes(BLOCK))
    assert "one of the two blocks that end an archive is missing" in refusal(path)


def joined(path: Path) -> None:
    """The archive twice in one file."""
    path.write_bytes(2 * path.read_bytes())


def changed_header(path: Path) -> None:
    """The second entry's header without its checksum: `tarfile` itself takes it for the end."""
    content = bytearray(path.read_bytes())
    content[2 * BLOCK : 2 * BLOCK + 3] = b"xyz"
    path.write_bytes(content)


TARS: dict[str, tuple[Change, str]] = {
    "joined": (joined, "more data follow its end"),
    "rubbish behind": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "more data follow its end"),
    "a damaged header": (changed_header, "an entry is damaged at byte 1,024"),
    "no end": (lambda path: path.write_bytes(path.read_bytes()[: end_of(path.read_bytes())]), "it was cut"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged or truncated"),
}


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_does_not_end_as_it_must_is_refused(name: str, tmp_path: Path) -> None:
    """With what is there instead of its end."""
    change, words = TARS[name]
    path = pack(tmp_path / "files.tar", CONTENTS)
    change(path)
    assert words in refusal(path)


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_compressed_tar_whose_inside_was_cut_is_refused(kind: str, tmp_path: Path) -> None:
    """The compression is whole, as where a program that wrote it was killed."""
    import bz2
    import gzip
    import lzma

    press = {".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}[kind]
    whole = pack(tmp_path / "files.tar", CONTENTS).read_bytes()
    for place in range(BLOCK, end_of(whole) + 1, BLOCK):
        (tmp_path / f"cut{kind}").write_bytes(press(whole[:place]))
        assert "is damaged or truncated" in refusal(tmp_path / f"cut{kind}")
    halves = press(whole[:1000]) + press(whole[1000:])
    (tmp_path / f"two{kind}").write_bytes(halves)
    assert held(tmp_path / f"two{kind}") == CONTENTS, "a compression may come in parts"
    (tmp_path / f"two{kind}").write_bytes(halves[: len(press(whole[:1000]))])
    assert "is damaged or truncated" in refusal(tmp_path / f"two{kind}")


def test_a_cut_tar_of_small_images_ends_a_run(tmp_path: Path) -> None:
    """Exit 3; it is no data set of fewer classes, though each image that is there is whole."""
    photos = {f"class{c:02}/{i}.png": plain(10 * c + i) for c in range(20) for i in range(8)}
    path = pack(tmp_path / "photos.tar", photos)
    path.write_bytes(path.read_bytes()[: 2**16])
    said = call("data", "verify", "folder", "--data-root", path)
    assert (said.code, said.out) == (3, "")
    assert f"{path} is damaged or truncated" in said.complaint


def flagged(path: Path, flags: int = 0, method: int | None = None) -> None:
    """Set a flag of the first file of a zip, or say that it is packed in another way, in both places that say so."""
    content = bytearray(path.read_bytes())
    for start, at in ((content.index(b"PK\3\4"), 6), (content.index(b"PK\1\2"), 8)):
        (before,) = struct.unpack_from("<H", content, start + at)
        struct.pack_into("<H", content, start + at, before | flags)
        if method is not None:
            struct.pack_into("<H", content, start + at + 2, method)
    path.write_bytes(content)


def twice(path: Path) -> None:
    """A zip with two files of one name."""
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cat/1.bin", b"another")


def a_part(path: Path) -> None:
    """A zip whose first file begins in a part before it."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\1\2") + 34, 1)
    path.write_bytes(content)


ZIPS: dict[str, tuple[Change, str]] = {
    "encrypted": (lambda path: flagged(path, flags=1), "is encrypted ('cat/0.bin'). Unpack it with its password"),
    "Deflate64": (lambda path: flagged(path, method=9), "cannot be read (Deflate64: 'cat/0.bin'). Unpack it"),
    "AES": (lambda path: flagged(path, flags=1, method=99), "is encrypted"),
    "a method of the future": (lambda path: flagged(path, method=77), "cannot be read (method 77: 'cat/0.bin')"),
    "joined": (joined, "holds several zip archives"),
    "twice": (twice, "holds several files of one name: 'cat/1.bin'"),
    "a part": (a_part, "is one part of a split archive"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_that_cannot_be_read_whole_is_refused(name: str, tmp_path: Path) -> None:
    """With what to do; its images are not blamed."""
    change, words = ZIPS[name]
    path = pack(tmp_path / "files.zip", CONTENTS)
    change(path)
    assert words in refusal(path)


def test_a_program_may_stand_before_a_zip(tmp_path: Path) -> None:
    """One that unpacks itself; and a comment behind."""
    path = pack(tmp_path / "files.zip", CONTENTS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"mine"
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())
    assert held(path) == CONTENTS


def test_a_zip_of_64_bits_is_read(tmp_path: Path) -> None:
    """As one of more than 4 GB."""
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for name, content in CONTENTS.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    assert held(tmp_path / "files.zip") == CONTENTS


@pytest.mark.parametrize("system", [0, 3, 10])
def test_backslashes_of_a_windows_archive_are_its_folders(system: int, tmp_path: Path) -> None:
    """Whatever system it says that it was made on, where no name has a slash."""
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for name, content in CONTENTS.items():
            info = zipfile.ZipInfo(name)
            info.filename, info.create_system = name.replace("/", "\\"), system
            archive.writestr(info, content)
    assert held(tmp_path / "files.zip") == CONTENTS
    with Files(tmp_path / "files.zip").stream("cat/2.bin") as file:
        assert file.read() == CONTENTS["cat/2.bin"]


def test_a_backslash_in_a_name_of_unix_stays(tmp_path: Path) -> None:
    """There it is a letter like others."""
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        archive.writestr("cat/a\\b.bin", b"1")
    assert Files(tmp_path / "files.zip").names() == ["cat/a\\b.bin"]


def test_names_that_are_one_with_slashes_are_refused(tmp_path: Path) -> None:
    """Which of the two is meant nobody knows."""
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for name in ("cat/1.bin", "cat\\1.bin"):
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, 0
            archive.writestr(info, name)
    assert "several files of one name: 'cat/1.bin'" in refusal(tmp_path / "files.zip")


NO_FILES: dict[str, Callable[[Path], Path]] = {
    "a pipe": lambda tmp: fifo(tmp / "photos.zip"),
    "a pipe as a tar": lambda tmp: fifo(tmp / "photos.tar"),
    "a pipe as a compressed tar": lambda tmp: fifo(tmp / "photos.tar.gz"),
    "a link to an endless device": lambda tmp: device(tmp / "photos.tar"),
}


def fifo(path: Path) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    """A link to a device that never ends."""
    path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("name", NO_FILES)
def test_an_archive_that_is_no_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Neither waited for nor read without end."""
    path = NO_FILES[name](tmp_path)
    assert refusal(path) == f"Cannot read {path}: it is a {'device' if 'device' in name else 'pipe'}, not a file."


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_altered_bytes_of_an_archive_are_damage_or_another(kind: str, tmp_path: Path) -> None:
    """Never another error than those of damage, wherever a byte is another."""
    chance = random.Random(0)
    whole = pack(tmp_path / f"files{kind}", CONTENTS).read_bytes()
    damaged = 0
    for _ in range(150):
        altered = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            altered[chance.randrange(len(altered))] = chance.choice([0, 128, 255, chance.randrange(256)])
        (tmp_path / f"a{kind}").write_bytes(altered)
        try:
            with opened(tmp_path / f"a{kind}", tmp_path / "cache") as files:
                for name in files.names():
                    files.read(name)
        except (DataError, *BROKEN):
            damaged += 1
    assert damaged


def test_a_file_without_a_name_is_damage(tmp_path: Path) -> None:
    """Of a zip whose list was altered."""
    path = pack(tmp_path / "files.zip", {"a": b"1"})
    path.write_bytes(path.read_bytes().replace(b"a", b"\0"))
    assert "is damaged or truncated, or no archive (a file without a name)" in refusal(path)


@pytest.mark.parametrize(
    ("named", "kind", "told"),
    [
        (".zip", ".tgz", "is not a zip archive: it is packed by gzip. Name it files.tar.gz"),
        (".zip", ".tar.bz2", "is not a zip archive: it is packed by bzip2. Name it files.tar.bz2"),
        (".zip", ".tar.xz", "is not a zip archive: it is packed by xz. Name it files.tar.xz"),
        (".zip", ".tar", "is not a zip archive: it is a tar archive. Name it files.tar"),
        (".tar", ".zip", "is not a tar archive: it is a zip archive. Name it files.zip"),
        (".tgz", ".zip", "is not a tar archive: it is a zip archive. Name it files.zip"),
    ],
)
def test_an_archive_that_is_named_as_another_kind_is_told_its_own(named: str, kind: str, told: str, tmp_path: Path) -> None:
    """It is not damaged; under that name it is read."""
    path = tmp_path / f"files{named}"
    path.write_bytes(pack(tmp_path / f"whole{kind}", CONTENTS).read_bytes())
    said = refusal(path)
    assert told in said
    right = path.rename(tmp_path / said.rpartition("Name it ")[2].rstrip("."))
    assert held(right) == CONTENTS


@pytest.mark.parametrize("named", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize(
    ("begins", "told"),
    [
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive. Unpack it, and name the folder"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive. Unpack it, and name the folder"),
        (b"\x28\xb5\x2f\xfd", "packed by Zstandard. Unpack it, and name the folder"),
        (b"<!DOCTYPE html>\n<html>", "a web page, as of a download that failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: run git lfs pull"),
        (b"\n  <HTML><head>", "a web page, as of a download that failed"),
    ],
    ids=["rar", "7z", "zstd", "page", "pointer", "page-2"],
)
def test_what_is_no_zip_or_tar_is_told_what_it_is(begins: bytes, told: str, named: str, tmp_path: Path) -> None:
    """A download that asks for a login leaves a page."""
    path = tmp_path / f"files{named}"
    path.write_bytes(begins + os.urandom(3000))
    assert told in refusal(path)
