"""Archives that are fetched into the cache: whole, once, and with a word on what to do where that fails."""

import gc
from collections.abc import Iterator
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fewshot_bench.errors import DataError
from fewshot_datasets.sources.downloads import Download
from fewshot_datasets.sources.places import below, check_root

# The connections that pooch leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
CONTENT = b"an archive" * 1000


class Silent(SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of this machine's own, with one archive; and a cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "archive.zip").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "served"))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    gc.collect()  # before a test that takes an unclosed connection for its own


def download(address: str, content: bytes = CONTENT) -> Download:
    """The archive, with the checksum of `content`."""
    return Download("birds", "archive.zip", f"{address}/archive.zip", md5(content).hexdigest())


def refusal(wanted: Download) -> str:
    """What is said, in three lines, where the archive cannot be had."""
    with pytest.raises(DataError) as error:
        wanted.fetch()
    assert len(str(error.value).splitlines()) == 3
    return str(error.value)


def test_an_archive_is_fetched_into_the_cache(address: str, tmp_path: Path) -> None:
    """Below `downloads`, under its own name."""
    path = download(address).fetch()
    assert path == tmp_path / "cache" / "downloads" / "birds" / "archive.zip"
    assert path.read_bytes() == CONTENT


def test_what_is_there_whole_is_not_fetched_again(address: str, tmp_path: Path) -> None:
    """Nor is the server asked."""
    path = download(address).fetch()
    (tmp_path / "served" / "archive.zip").unlink()
    assert download(address).fetch() == path


def test_a_damaged_one_is_fetched_again(address: str) -> None:
    """One that is not what its checksum says."""
    path = download(address).fetch()
    path.write_bytes(CONTENT[:50])
    assert download(address).fetch().read_bytes() == CONTENT


def test_another_content_than_expected_is_not_kept(address: str) -> None:
    """What the server sends must match the checksum."""
    wanted = download(address, b"another")
    assert "archive.zip could not be downloaded" in refusal(wanted)
    assert not list(wanted.place().iterdir())


def test_a_file_that_the_server_lacks_is_said_to_fail(address: str, tmp_path: Path) -> None:
    """With the address, the reason and what to do."""
    (tmp_path / "served" / "archive.zip").unlink()
    said = refusal(download(address))
    assert f"{address}/archive.zip" in said and "404" in said and str(download(address).place()) in said


def test_a_server_that_is_not_there_is_said_to_fail(address: str) -> None:
    """As without a network."""
    assert "ConnectionError" in refusal(Download("birds", "archive.zip", "http://127.0.0.1:9/archive.zip", "0" * 32))


def test_the_places_below_a_root_are_its_folders_and_itself(tmp_path: Path) -> None:
    """None without a root."""
    assert below(tmp_path, ["birds", "beasts"]) == [tmp_path / "birds", tmp_path / "beasts", tmp_path]
    assert below(None, ["birds"]) == []


def test_a_root_is_a_folder_or_a_file(tmp_path: Path) -> None:
    """And it exists."""
    (tmp_path / "archive.zip").touch()
    for root in (None, tmp_path, tmp_path / "archive.zip"):
        check_root(root)
    with pytest.raises(DataError, match="absent does not exist"):
        check_root(tmp_path / "absent")


def test_a_cache_whose_name_begins_like_a_home_is_that_folder(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library that fetches would read `~` as a home, and the archive would be looked for in vain."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FSBENCH_CACHE", "~/cache")
    archive = Download("odd", "archive.zip", f"{address}/archive.zip", md5(CONTENT).hexdigest())
    assert archive.fetch().is_relative_to(tmp_path / "~" / "cache")
    assert (archive.place() / "archive.zip").read_bytes() == CONTENT
    assert not (tmp_path / "home").exists()
