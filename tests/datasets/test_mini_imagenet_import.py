"""mini-ImageNet as it was imported: read where no place has a source."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mini_imagenet_forms import EXPECTED, Write, by_class, cache, refusal
from small_imagenet import Tiny, images

from fewshot_bench.data.imports import Import, remember


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No import of the user's is found."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


def imported(path: Path) -> Tiny:
    """The data set without a root, after an import of `path`."""
    dataset = Tiny(root=path)
    remember("mini-imagenet", Import(path, dataset.variant(), dataset.identity()))
    return Tiny()


@pytest.mark.parametrize("write", [by_class, cache])
def test_an_import_is_read_where_no_place_has_a_source(tmp_path: Path, write: Write) -> None:
    """Its pixels, classes, identity and form are those of the source."""
    write(tmp_path / "data")
    source, dataset = Tiny(root=tmp_path / "data"), imported(tmp_path / "data")
    np.testing.assert_array_equal(images(dataset), EXPECTED)
    assert dataset.classes() == source.classes()
    assert (dataset.identity(), dataset.variant()) == (source.identity(), source.variant())
    (tmp_path / "empty").mkdir()
    assert Tiny(root=tmp_path / "empty").identity() == source.identity()


def test_a_source_in_its_place_comes_before_an_import(tmp_path: Path) -> None:
    """What `--data-root` names is what is read."""
    cache(tmp_path / "data")
    imported(tmp_path / "data")
    by_class(tmp_path / "other")
    assert Tiny(root=tmp_path / "other").variant().startswith("a folder for each")


def test_the_identity_of_an_import_does_not_touch_its_source(tmp_path: Path) -> None:
    """What was prepared of it serves when it is gone; preparing it anew says so."""
    cache(tmp_path / "data")
    dataset = imported(tmp_path / "data")
    identity = Tiny(root=tmp_path / "data").identity()
    shutil.rmtree(tmp_path / "data")
    assert dataset.identity() == identity
    assert f"imported from {tmp_path / 'data'}, which is gone" in refusal(dataset)
    assert "fsbench data import mini-imagenet PATH" in refusal(Tiny())


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"\0"), Path.unlink])
def test_a_source_that_changed_since_it_was_imported_is_refused(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Its pixels would be other ones under the same identity."""
    by_class(tmp_path / "data")
    dataset = imported(tmp_path / "data")
    change(tmp_path / "data" / "train" / "n00000001" / "a.jpg")
    assert f"{tmp_path / 'data'} has changed since mini-ImageNet was imported from it" in refusal(dataset)
