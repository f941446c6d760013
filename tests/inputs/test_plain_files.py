"""A user's path is opened only where it leads to a plain file, and read only to a bound: nothing waits or never ends."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fewshot_bench.inputs.plain_files import check_regular, open_regular, read_regular

ACTS: list[Callable[[Path], object]] = [check_regular, open_regular, read_regular]


def pipe(tmp: Path) -> Path:
    """A pipe that nobody writes to: opening it would wait for ever."""
    os.mkfifo(tmp / "pipe")
    return tmp / "pipe"


def a_socket(tmp: Path) -> Path:
    """A socket's file."""
    here = Path.cwd()
    os.chdir(tmp)  # a socket's path may have few letters
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("socket")
    finally:
        os.chdir(here)
    return tmp / "socket"


def linked(tmp: Path) -> Path:
    """A link to a device."""
    (tmp / "link.csv").symlink_to("/dev/zero")
    return tmp / "link.csv"


OTHERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pipe": (pipe, "it is a pipe, not a file"),
    "a socket": (a_socket, "it is a socket, not a file"),
    "an endless device": (lambda tmp: Path("/dev/zero"), "it is a device, not a file"),
    "a link to a device": (linked, "it is a device, not a file"),
    "a folder": (lambda tmp: tmp, "it is a folder, not a file"),
    "nothing": (lambda tmp: tmp / "absent", "No such file or directory"),
    "no path at all": (lambda tmp: Path("a\0b"), "No such file or directory"),
}


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_file_is_refused_at_once(name: str, act: Callable[[Path], object], tmp_path: Path) -> None:
    """With what it is, as an error of the system's kind that callers report with the path."""
    make, words = OTHERS[name]
    path = make(tmp_path)
    with pytest.raises(OSError, match=words) as error:
        act(path)
    assert error.value.strerror == words
    assert error.value.filename == str(path)


def test_a_file_is_read_through_a_link(tmp_path: Path) -> None:
    """Up to the bound, which itself still passes."""
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    check_regular(tmp_path / "link")
    assert read_regular(tmp_path / "link", most=5) == b"12345"
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"12345"


def test_a_file_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """With the bound."""
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "a", most=4)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_a_file_of_the_system_that_states_no_size_is_empty() -> None:
    """One such (/proc/kmsg) waits for what is to come."""
    assert read_regular(Path("/proc/self/status")) == b""
