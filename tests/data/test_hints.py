"""What is said of a user's files leads to what works, and shows their names without letting them act on a terminal."""

from pathlib import Path

import numpy as np
import pytest
from command_line import call
from picture_files import encoded, noise, plain, write
from PIL import Image

from fewshot_bench.data.files.file_kinds import kind_of
from fewshot_bench.data.images.decoding import UNREADABLE, Photo
from fewshot_bench.errors import DataError, FewshotError, UsageError, few
from fewshot_bench.text.printable import LONGEST
from fewshot_datasets.own.folder import Folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def of_kind(kind: str) -> bytes:
    """An image file that Pillow writes."""
    return encoded(Image.fromarray(noise(0)), kind)


KINDS = {
    "a GIF": of_kind("GIF"),
    "a TIFF": of_kind("TIFF"),
    "a JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "an AVIF": b"\0\0\0\x1cftypavif\0\0\0\0",
    "a HEIC": b"\0\0\0\x18ftypheic\0\0\0\0",
    "an SVG": b'\n  <svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page, as of a download that failed": b"\xef\xbb\xbf<!DOCTYPE HTML><title>404</title>",
    "a Git LFS pointer: run git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_named_as_another_kind_of_image_says_what_it_is(kind: str, tmp_path: Path) -> None:
    """In place of being called unreadable."""
    assert kind_of(KINDS[kind]) == kind
    with pytest.raises(UNREADABLE, match=kind):
        Photo(8)(KINDS[kind])
    root = write(tmp_path / "photos", {"cat/1.jpg": KINDS[kind], "dog/1.jpg": plain(0)})
    with pytest.raises(DataError) as error:
        list(Folder({"side": 8}, root).images(lambda done, total: None))
    assert error.value.damaged == (f"cat/1.jpg (it is {kind})",)


def test_a_kind_that_is_not_known_is_none() -> None:
    """Those that are read are none of the others."""
    assert [kind_of(content) for content in (b"", b"text", of_kind("PNG"), of_kind("JPEG"), of_kind("WEBP"))] == [None] * 5


def test_arrays_given_as_a_folder_are_pointed_to_their_data_set(tmp_path: Path) -> None:
    """One array, or several in a file."""
    np.save(tmp_path / "x.npy", noise(0))
    np.savez(tmp_path / "x.npz", images=noise(0))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match=r"is neither a folder nor an archive .* For arrays: --dataset arrays"):
            Folder(root=tmp_path / name).identity()


def test_files_whose_names_have_backslashes_are_pointed_to_their_archive(tmp_path: Path) -> None:
    """A program unpacked them into one folder."""
    write(tmp_path / "photos", {"cat\\1.png": plain(0), "dog\\1.png": plain(1)})
    with pytest.raises(
        DataError, match=r"outside every class folder: .* Their zip was made on Windows: name the zip itself"
    ):
        Folder(root=tmp_path / "photos").identity()


HOSTILE = "\x1b]0;owned\x07\u202ecat\r\n\x9b31m.png"


@pytest.mark.parametrize("kind", [FewshotError, UsageError, DataError])
def test_an_error_prints_no_more_than_its_lines(kind: type[FewshotError]) -> None:
    """Whatever names it holds; they are whole in what programs read."""
    said = str(kind(f"{HOSTILE}\nsee: fsbench"))
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.endswith("\nsee: fsbench")
    assert few([HOSTILE] * 4).count("\n") == 0 and few([HOSTILE] * 4).endswith("and 1 more")
    assert max(map(len, str(kind("x" * 10**6)).splitlines())) <= LONGEST


@pytest.mark.parametrize("command", ["verify", "get", "preview"])
def test_names_of_damaged_files_do_not_reach_the_terminal_raw(command: str, tmp_path: Path) -> None:
    """On either stream; JSON has them escaped."""
    write(tmp_path / "photos", {f"{name}/{HOSTILE}": b"damaged" for name in ("cat", f"dog{HOSTILE}")})
    for more in ([], ["--json"]):
        said = call("data", command, "folder", "--data-root", tmp_path / "photos", *more)
        assert said.code == 3
        assert all(line.isprintable() for line in (said.out + said.err).split("\n")), said
        assert said.out or len(said.complaint.splitlines()) <= 3
