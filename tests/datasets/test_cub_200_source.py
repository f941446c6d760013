"""Where CUB-200-2011 is looked for, and its archive: listed once, unpacked safely, refused where it is damaged."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tiny_cub import Few, images, jpeg, pack, write_folder

from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.imports import Import, remember
from fewshot_bench.errors import DataError
from fewshot_datasets.cub_200.cub_200 import DOWNLOAD


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing was imported or downloaded."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the folder that Caltech's archive extracts to."""
    write_folder(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def archive(root: Path) -> Path:
    """A data root with Caltech's archive, in the folder of the data set."""
    path = root.parent / "packed" / "cub-200" / "CUB_200_2011.tgz"
    path.parent.mkdir(parents=True)
    pack(root, path)
    return path


def refusal(dataset: Few) -> DataError:
    """The error, of one to three lines, with which a data set refuses its source."""
    with pytest.raises(DataError) as error:
        dataset.classes()
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return error.value


@pytest.mark.parametrize("inside", ["CUB_200_2011", "CUB_200_2011/images"])
def test_the_root_may_be_its_folder(root: Path, inside: str) -> None:
    """Or the folder of its images, or the one that it lies in."""
    dataset = Few(root=root / inside)
    assert dataset.found() == root / "CUB_200_2011" / "images"
    assert dataset.identity() == Few(root=root).identity()


@pytest.mark.parametrize("itself", [False, True])
def test_the_archive_gives_the_same_as_the_folder(root: Path, archive: Path, itself: bool, cache: Path) -> None:
    """Pixels, structure and identity; the root may be the archive. Nothing that was unpacked stays."""
    folder, packed = Few(root=root), Few(root=archive if itself else archive.parents[1])
    assert packed.found() == archive
    assert packed.classes() == folder.classes()
    assert packed.identity() == folder.identity()
    np.testing.assert_array_equal(images(packed), images(folder))
    assert not list(cache.glob(".unpacked-*"))


def test_names_in_the_archive_may_start_with_a_dot(root: Path, archive: Path) -> None:
    """As `tar c .` writes them."""
    folder = Few(root=root)
    pack(root, archive, prefix="./")
    packed = Few(root=archive)
    assert packed.identity() == folder.identity()
    np.testing.assert_array_equal(images(packed), images(folder))


def test_the_names_in_the_archive_are_listed_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass over a gigabyte: later runs find the list in the cache."""
    identity = Few(root=archive).identity()
    monkeypatch.setattr(Files, "sizes", lambda self: pytest.fail("listed again"))
    assert Few(root=archive).identity() == identity


def test_it_is_identified_once_the_archive_is_listed(root: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder always is; where the archive lies is said without a look into it."""
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *given, **options: pytest.fail("was opened"))
        assert (Few(root=archive).found(), Few(root=archive).identified()) == (archive, False)
    assert Few(root=root).identified() and Few().identified()
    Few(root=archive).identity()
    assert Few(root=archive).identified()


def test_another_archive_of_the_same_name_and_size_is_listed_anew(root: Path, archive: Path) -> None:
    """Its end, a checksum, is another."""
    before, size = Few(root=archive).identity(), archive.stat().st_size
    jay = root / "CUB_200_2011" / "images" / "002.Jay" / "Jay_0000_0.jpg"
    jay.rename(jay.with_name("Jay_0009_0.jpg"))
    pack(root, archive)
    assert archive.stat().st_size == size
    assert Few(root=archive).identity() != before


def test_a_list_that_cannot_be_kept_costs_no_run(archive: Path, cache: Path) -> None:
    """A cache in which no folder can be made."""
    cache.write_bytes(b"")
    assert len(Few(root=archive).classes()["train"]) == 2


@pytest.mark.parametrize("keep", [0, 50, 0.5])
def test_a_truncated_archive_is_named(archive: Path, keep: float) -> None:
    """One that ends early."""
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    assert f"{archive} is damaged or truncated" in str(refusal(Few(root=archive.parent)))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    """What it lacks is named."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.jpg").write_bytes(jpeg(1))
    pack(tmp_path / "other", tmp_path / "CUB_200_2011.tgz")
    said = str(refusal(Few(root=tmp_path)))
    assert "has 0 photographs of 0 classes, not 11 of 4: 001.Auk (class missing)" in said


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg"])
def test_an_archive_that_leads_out_is_refused(archive: Path, name: str) -> None:
    """Nothing of it is unpacked elsewhere."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name))
    assert "leads out" in str(refusal(Few(root=archive)))


def test_what_was_imported_is_found_and_known_when_it_is_gone(root: Path) -> None:
    """What was prepared of it serves on: its identity was kept."""
    identity = Few(root=root).identity()
    remember("cub-200", Import(root, "", identity))
    assert Few().found() == root / "CUB_200_2011" / "images"
    shutil.rmtree(root)
    assert (Few().found(), Few().identity()) == (None, identity)


def test_what_was_downloaded_is_found_without_a_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caltech's archive, with its checksum, goes to where it is looked for."""
    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> str:
        asked.append((url, known_hash))
        path.mkdir(parents=True)
        pack(root, path / fname)
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert Few().download() == [Few().found()] == [DOWNLOAD.place() / "CUB_200_2011.tgz"]
    url = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
    assert asked == [(url, "md5:97eceeb196236b17998738112f37df78")]
