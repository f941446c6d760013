"""Where Omniglot is found, imported and downloaded, and the refusal of sources that are missing or damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pooch  # type: ignore[import-untyped]
import pytest
from tiny_omniglot import GREEK, LATIN, Tiny, images, png, write_archives, write_folders

from fewshot_bench.data.imports import Import, remember
from fewshot_bench.errors import DataError
from fewshot_datasets.omniglot.manifest import make_manifest
from fewshot_datasets.omniglot.omniglot import Omniglot

BASE = "https://github.com/brendenlake/omniglot/raw/master/python"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, with neither imports nor downloads."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A data root with a tiny Omniglot extracted to folders."""
    return write_folders(tmp_path / "data")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """The same in two archives, in the sub-folder that `FSBENCH_DATA` has for it."""
    return write_archives(tmp_path / "zipped" / "omniglot").parent


def refusal(dataset: Omniglot) -> str:
    """What a data set says, in one to three lines, when it refuses its source."""
    with pytest.raises(DataError) as error:
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrites a file."""
    path.write_bytes(change(path.read_bytes()))


def no_network(*args: object, **named: object) -> str:
    """In place of `pooch.retrieve`."""
    raise AssertionError("asked the network")


@pytest.mark.parametrize("kind", ["folders", "archives"])
def test_a_manifest_is_made_of_folders_and_of_archives(kind: str, request: pytest.FixtureRequest) -> None:
    """The same lines, which the drawings' own pixels say."""
    root = request.getfixturevalue(kind)
    assert list(make_manifest(root if kind == "folders" else root / "omniglot")) == Tiny().manifest().splitlines()


def test_an_altered_drawing_is_named(folders: Path) -> None:
    """A valid image with other pixels is refused by its name."""
    damage(folders / GREEK / "0000_02.png", lambda old: png(40))
    assert f"1 of 6 images are missing or damaged: {GREEK}/0000_02.png (altered)" in refusal(Tiny(root=folders))


def test_a_missing_drawing_is_named(folders: Path) -> None:
    """A file that is not there is refused by its name."""
    (folders / LATIN / "0003_03.png").unlink()
    assert f"{LATIN}/0003_03.png (missing)" in refusal(Tiny(root=folders))


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old[: len(old) // 2],
        lambda old: b"",
        lambda old: b"GIF89a" + old[6:],
        lambda old: old[:60] + bytes(8) + old[68:],
        lambda old: old[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + old[24:],
    ],
    ids=["truncated", "empty", "no PNG", "flipped bytes", "forged size"],
)
def test_an_unreadable_drawing_is_named(folders: Path, change: Callable[[bytes], bytes]) -> None:
    """A file that is no complete PNG is refused by its name."""
    damage(folders / GREEK / "0000_01.png", change)
    assert f"{GREEK}/0000_01.png (unreadable)" in refusal(Tiny(root=folders))


def test_many_damaged_drawings_are_counted_and_the_first_named(folders: Path) -> None:
    """Three names are enough in the message, the rest is a number; the error itself holds them all."""
    shutil.rmtree(folders / GREEK)
    for path in (folders / LATIN).iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError) as error:
        images(Tiny(root=folders))
    said = str(error.value)
    assert "6 of 6" in said and f"{GREEK}/0000_01.png" in said and "and 3 more" in said and LATIN not in said
    assert len(error.value.damaged) == 6 and f"{LATIN}/0003_03.png (unreadable)" in error.value.damaged


def test_a_drawing_missing_from_an_archive_is_named(archives: Path) -> None:
    """An archive's members are checked like files."""
    with ZipFile(archives / "omniglot" / "images_background.zip", "w") as archive:
        archive.writestr(f"{GREEK}/0000_01.png", png(0))
    assert f"{GREEK}/0000_02.png (missing)" in refusal(Tiny(root=archives))


def test_a_damaged_member_of_an_archive_is_named(archives: Path) -> None:
    """Bytes that changed inside an archive are found and put down to their image."""
    at = archives / "omniglot" / "images_background.zip"
    damage(at, lambda old: old.replace(png(1), png(1)[:40] + bytes(8) + png(1)[48:], 1))
    assert f"{GREEK}/0000_02.png (unreadable)" in refusal(Tiny(root=archives))


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_archive_is_named(archives: Path, keep: int) -> None:
    """An archive that ends early is refused by its path."""
    path = archives / "omniglot" / "images_evaluation.zip"
    damage(path, lambda old: old[:keep])
    assert f"{path} is damaged or truncated" in refusal(Tiny(root=archives))


def test_an_empty_root_says_what_was_looked_for_and_where(tmp_path: Path) -> None:
    """Both halves, in the root and in its sub-folder; and the command that gets them."""
    said = refusal(Omniglot(root=tmp_path))
    wanted = (
        "images_background.zip",
        "images_evaluation.zip",
        str(tmp_path / "omniglot"),
        "fsbench data get omniglot",
        BASE,
    )
    assert [each for each in wanted if each not in said] == []


def test_half_of_omniglot_is_refused(archives: Path) -> None:
    """The half that is there and the half that is not are both named."""
    (archives / "omniglot" / "images_background.zip").unlink()
    said = refusal(Tiny(root=archives))
    assert f"only half of Omniglot (images_evaluation.zip) in {archives / 'omniglot'}" in said
    assert "Looked for images_background.zip" in said


def test_one_of_the_archives_stands_for_the_folder_that_has_both(archives: Path) -> None:
    """Who gives one as the source gives the other beside it."""
    one = archives / "omniglot" / "images_evaluation.zip"
    assert len(images(Tiny(root=one))) == 15


def test_a_root_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    with pytest.raises(DataError, match="absent does not exist"):
        Omniglot(root=tmp_path / "absent")


def test_a_root_without_omniglot_is_no_error_before_images_are_made(tmp_path: Path) -> None:
    """Prepared images can be used where `FSBENCH_DATA` has other data sets only."""
    assert Omniglot(root=tmp_path).identity() == Omniglot().identity()


@pytest.mark.parametrize("given", ["", "omniglot", "omniglot/images_background.zip"])
@pytest.mark.parametrize("rooted", [True, False])
def test_an_import_is_read_where_the_root_has_nothing(
    rooted: bool, given: str, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a data root of other data sets, and without one; nothing is downloaded then."""
    monkeypatch.setattr(pooch, "retrieve", no_network)
    remember("omniglot", Import(archives / given, "", Tiny().identity()))
    (tmp_path / "others").mkdir()
    assert len(images(Tiny(root=tmp_path / "others" if rooted else None))) == 15


@pytest.mark.parametrize("spare", ["omniglot/images_background", "images_background.zip"])
def test_archives_in_its_own_folder_come_first(spare: str, archives: Path) -> None:
    """Before a folder of the same half, and before what lies in the data root itself: here both hold nothing."""
    (archives / spare).mkdir()
    assert len(images(Tiny(root=archives))) == 15


@pytest.mark.parametrize("given", ["omniglot", ""])
def test_it_says_where_it_was_found_only_with_both_halves(given: str, archives: Path) -> None:
    """The folder of the two archives; None once one of them is gone."""
    tiny = Tiny(root=archives / given)
    assert tiny.found() == archives / "omniglot"
    (archives / "omniglot" / "images_background.zip").unlink()
    assert tiny.found() is None


def test_half_of_omniglot_is_not_made_whole_by_a_download(archives: Path, cache: Path) -> None:
    """Who names a source gets what is there, or an error."""
    write_archives(cache / "downloads" / "omniglot")
    (archives / "omniglot" / "images_background.zip").unlink()
    assert "only half of Omniglot" in refusal(Tiny(root=archives))


def test_the_roots_own_files_come_before_an_import(folders: Path, archives: Path) -> None:
    """What `--data-root` names is what is read: here a damaged drawing of it."""
    remember("omniglot", Import(archives, "", Tiny().identity()))
    damage(folders / GREEK / "0000_01.png", lambda old: b"")
    assert f"{GREEK}/0000_01.png (unreadable)" in refusal(Tiny(root=folders))


def test_an_import_that_is_gone_is_looked_for_by_its_path(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No download in its place: the message says where it was."""
    monkeypatch.setattr(pooch, "retrieve", no_network)
    remember("omniglot", Import(archives, "", Tiny().identity()))
    shutil.rmtree(archives)
    assert str(archives) in refusal(Tiny())


def test_what_was_downloaded_is_read_where_the_root_has_nothing(cache: Path, tmp_path: Path) -> None:
    """`fsbench data get omniglot` serves a run whose `FSBENCH_DATA` has other data sets only."""
    write_archives(cache / "downloads" / "omniglot")
    (tmp_path / "others").mkdir()
    assert len(images(Tiny(root=tmp_path / "others"))) == 15


def test_without_a_root_the_authors_archives_are_downloaded_into_the_cache(
    archives: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both archives, with a progress bar, below FSBENCH_CACHE; `download` says where they are."""
    asked: list[str] = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> str:
        assert path.is_relative_to(cache) and known_hash.startswith("md5:") and progressbar
        asked.append(url)
        return str(archives / "omniglot" / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    names = ["images_background.zip", "images_evaluation.zip"]
    assert Tiny().download() == [archives / "omniglot" / name for name in names]
    assert asked == [f"{BASE}/{name}" for name in names]
    assert len(images(Tiny())) == 15


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), ValueError("MD5 hash of file does not match")])
def test_a_failed_download_says_what_to_do(error: Exception, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, the reason and the folder that a file fetched by other means goes to."""

    def retrieve(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    said = refusal(Omniglot())
    wanted = (f"{BASE}/images_background.zip", str(error), str(cache / "downloads" / "omniglot"))
    assert [each for each in wanted if each not in said] == []
