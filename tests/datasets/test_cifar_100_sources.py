"""Where CIFAR-100 is looked for: below a data root, where it was imported from, and among the downloads."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from tiny_cifar_100 import Tiny, batches, images, pack, write_pickles, write_pngs

from fewshot_bench.data.imports import Import, remember
from fewshot_datasets.cifar_100.cifar_100 import DOWNLOAD, Cifar100
from fewshot_datasets.cifar_100.cifar_fs import CifarFs
from fewshot_datasets.cifar_100.fc100 import Fc100


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing was imported or downloaded."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a tiny CIFAR-FS extracted to a folder, for which `Tiny` has the manifest."""
    root = tmp_path / "data"
    monkeypatch.setattr(Tiny, "text", write_pngs(root))
    return root


@pytest.fixture
def archive(folders: Path) -> Path:
    """A data root with the same in an archive, in the sub-folder that `FSBENCH_DATA` has for it."""
    root = folders.parent / "zipped"
    (root / "cifar-fs").mkdir(parents=True)
    with ZipFile(root / "cifar-fs" / "cifar100.zip", "w") as file:
        for path in sorted(folders.rglob("*.png")):
            file.write(path, path.relative_to(folders))
    return root


@pytest.mark.parametrize("kind", [CifarFs, Fc100])
@pytest.mark.parametrize("folder", ["cifar-fs", "cifar-100", "."])
@pytest.mark.parametrize("name", ["cifar100.zip", "cifar-100-python.tar.gz"])
def test_either_archive_serves_both_data_sets(kind: type[Cifar100], folder: str, name: str, tmp_path: Path) -> None:
    """In the folder of the one, of the other, or in the root."""
    path = tmp_path / "data" / folder / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert kind(root=tmp_path / "data").found() == path


def test_its_own_folder_comes_first(tmp_path: Path) -> None:
    """Before that of the other data set, and before the root."""
    for folder in ("", "cifar-fs", "cifar-100", "fc100"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cifar100.zip").touch()
    assert Fc100(root=tmp_path).found() == tmp_path / "fc100" / "cifar100.zip"
    assert CifarFs(root=tmp_path).found() == tmp_path / "cifar-fs" / "cifar100.zip"


def test_a_folder_that_lacks_a_pickle_is_none(tmp_path: Path) -> None:
    """A root may have folders `train` and `test` of anything."""
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "meta").touch()
    assert CifarFs(root=tmp_path).found() is None


@pytest.mark.parametrize("inside", ["cifar100", "."])
def test_the_root_may_be_the_folder_of_the_archive_itself(folders: Path, inside: str) -> None:
    """Or the one that it lies in."""
    dataset = Tiny(root=folders / inside)
    assert dataset.found() == folders
    assert len(images(dataset)) == 12


def test_the_root_may_be_the_archive_itself(archive: Path) -> None:
    """Whatever it is called."""
    path = (archive / "cifar-fs" / "cifar100.zip").rename(archive / "mine.zip")
    dataset = Tiny(root=path)
    assert (dataset.found(), dataset.variant()) == (path, "the CIFAR-FS authors' archive of PNGs")
    assert len(images(dataset)) == 12


@pytest.mark.parametrize("root", [None, "empty"])
def test_what_was_imported_is_found_where_the_root_has_none(folders: Path, tmp_path: Path, root: str | None) -> None:
    """The path is searched like a root."""
    (tmp_path / "empty").mkdir()
    remember("cifar-fs", Import(folders, "", ""))
    assert Tiny(root=tmp_path / root if root else None).found() == folders


def test_the_root_comes_before_what_was_imported(folders: Path, archive: Path) -> None:
    """What is asked for now counts."""
    remember("cifar-fs", Import(folders, "", ""))
    assert Tiny(root=archive).found() == archive / "cifar-fs" / "cifar100.zip"


def test_what_was_downloaded_is_found_without_a_root(folders: Path, tmp_path: Path) -> None:
    """The archive that `fsbench data get` fetched, from then on."""
    write_pickles(tmp_path / "cifar-100-python", batches())
    pack(tmp_path / "cifar-100-python", DOWNLOAD.place() / DOWNLOAD.name)
    np.testing.assert_array_equal(images(Tiny()), images(Tiny(root=folders)))


def test_the_download_is_cifar_100s_own_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its author's page, with the checksum that torchvision pins; to where it is looked for."""
    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> str:
        asked.append((url, known_hash))
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert CifarFs().download() == [DOWNLOAD.place() / "cifar-100-python.tar.gz"]
    md5 = "md5:eb9058c3a382ffc7106e4002c42a8d85"
    assert asked == [("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", md5)]
