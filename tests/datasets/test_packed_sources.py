"""Compressed tars of gigabytes: listed as being there by their names, unpacked no more often than is needed."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
from mini_imagenet_forms import Write, by_class, cache
from small_imagenet import Tiny, write_named

from fewshot_bench.data.catalogue import standing
from fewshot_bench.data.files import source_files
from fewshot_bench.data.prepare import prepare
from fewshot_bench.plugins.registry import Plugin
from fewshot_datasets.imagenet import subset

PLUGIN = Plugin("mini-imagenet", "datasets", "small_imagenet:Tiny", "somebody 1.0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def packed(tmp_path: Path, write: Write) -> Path:
    """A data root with mini-ImageNet in a compressed tar, beside nothing else."""
    write(tmp_path / "files")
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "mini-imagenet.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "files", "mini-imagenet")
    return tmp_path / "data"


def refuse_to_unpack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever opens a tar fail."""

    def fail(*given: Any, **options: Any) -> None:
        pytest.fail("a tar was opened")

    monkeypatch.setattr(tarfile, "open", fail)
    monkeypatch.setattr(source_files, "unpack", fail)


@pytest.mark.parametrize("write", [write_named, by_class, cache])
def test_a_list_unpacks_no_compressed_tar(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before it was prepared nor afterwards."""
    root = packed(tmp_path, write)
    with monkeypatch.context() as patch:
        refuse_to_unpack(patch)
        assert standing(PLUGIN, Tiny(root=root)) == ("here", str(root / "mini-imagenet.tar.gz"))
    prepare("mini-imagenet", Tiny(root=root))
    refuse_to_unpack(monkeypatch)
    assert standing(PLUGIN, Tiny(root=root)) == ("ready", "")


def test_an_unpacked_folder_comes_before_its_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is not looked into, beside it."""
    root = packed(tmp_path, by_class)
    (tmp_path / "files").rename(root / "mini-imagenet")
    refuse_to_unpack(monkeypatch)
    assert standing(PLUGIN, Tiny(root=root)) == ("here", str(root))
    assert Tiny(root=root).variant().startswith("a folder for each")


def test_a_tar_of_something_else_is_never_kept_as_a_data_set(tmp_path: Path) -> None:
    """It is told when it is unpacked."""
    root = packed(tmp_path, lambda folder: folder.mkdir())
    assert Tiny(root=root).identity().endswith("absent")
    assert not Tiny(root=root).identified()


def test_a_pickle_and_the_images_beside_it_are_two_identities(tmp_path: Path) -> None:
    """Whichever was asked for first."""
    folder = tmp_path / "data" / "mini-imagenet"
    write_named(folder)
    cache(folder)
    pickle = next(folder.glob("*.pkl"))
    identities = [Tiny(root=root).identity() for root in (tmp_path / "data", pickle, tmp_path / "data", pickle)]
    assert identities[:2] == identities[2:] and identities[0] != identities[1]


def test_an_identity_that_another_version_kept_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same archive."""
    root = packed(tmp_path, write_named)
    assert Tiny(root=root).identity().startswith("mini-imagenet-v1-")
    monkeypatch.setattr(subset, "VERSION", "v2")
    assert Tiny(root=root).identity().startswith("mini-imagenet-v2-")
