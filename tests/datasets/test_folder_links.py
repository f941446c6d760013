"""Links in a folder of one's own images: what they take away, or give a second name, is never gone without a word."""

import os
from pathlib import Path

import pytest
from picture_files import plain, write

from fewshot_bench.data.files.source_files import Files
from fewshot_bench.errors import DataError
from fewshot_datasets.own.folder import Folder

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Six class folders outside any root."""
    return write(tmp_path / "pool", {f"{name}/{i}.png": plain(20 * n + i) for n, name in enumerate(NAMES) for i in range(3)})


def linked(root: Path, links: dict[str, Path]) -> Path:
    """A folder of links."""
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    return root


def refusal(root: Path) -> str:
    """What is said, in one to three lines, where the folder is refused."""
    with pytest.raises(DataError) as error:
        Folder({}, root=root).identity()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def counted(root: Path) -> dict[str, int]:
    """How many images each class has."""
    return {one.name: len(one.image_ids) for members in Folder({}, root=root).classes().values() for one in members}


def test_classes_linked_into_one_split_each_are_used(pool: Path, tmp_path: Path) -> None:
    """Links that leave the root are how large data are laid out."""
    splits = dict(zip(NAMES, ("train", "train", "val", "val", "test", "test"), strict=True))
    root = linked(tmp_path / "photos", {f"{split}/{name}": pool / name for name, split in splits.items()})
    assert counted(root) == dict.fromkeys(NAMES, 3)


def test_classes_linked_into_three_splits_are_refused(pool: Path, tmp_path: Path) -> None:
    """They would end in one of them."""
    links = {f"{split}/{name}": pool / name for split in ("train", "val", "test") for name in NAMES}
    said = refusal(linked(tmp_path / "photos", links))
    assert "twice, through links: 'train/ant' is 'test/ant'" in said and "and 9 more" in said


@pytest.mark.parametrize("below", ["", "train/"])
def test_a_class_linked_to_another_is_refused(below: str, pool: Path, tmp_path: Path) -> None:
    """By both names, though it was accepted before the link came."""
    root = write(tmp_path / "photos", {f"{below}{name}/0.png": plain(i) for i, name in enumerate(NAMES)})
    Folder({}, root=root).identity()
    linked(root, {f"{below}kitten": root / below / "cat"})
    assert f"'{below}kitten' is '{below}cat'" in refusal(root)


def test_a_split_linked_to_another_is_refused(tmp_path: Path) -> None:
    """`val` for the test's own folder."""
    root = write(tmp_path / "photos", {"train/ant/0.png": plain(0), "test/bee/0.png": plain(1)})
    assert "'val' is 'test'" in refusal(linked(root, {"val": root / "test"}))


def test_a_class_linked_from_a_hidden_folder_is_seen(pool: Path, tmp_path: Path) -> None:
    """What is hidden is passed over; the link to it is not."""
    root = tmp_path / "photos"
    root.mkdir()
    pool.rename(root / ".pool")
    assert counted(linked(root, {name: root / ".pool" / name for name in NAMES})) == dict.fromkeys(NAMES, 3)


def test_a_link_within_a_class_counts_its_images_once(pool: Path) -> None:
    """They are the class's either way."""
    write(pool, {"cat/indoor/9.png": plain(9)})
    assert counted(linked(pool, {"cat/best": pool / "cat" / "indoor"}))["cat"] == 4


def test_links_that_lead_back_have_an_end(pool: Path) -> None:
    """And take nothing away."""
    before = counted(pool)
    assert counted(linked(pool, {"cat/self": pool / "cat", "dog/all": pool})) == before
    linked(pool, {"ant/next": pool / "bee", "bee/next": pool / "ant"})
    assert "twice, through links: 'bee' is 'ant/next'" in refusal(pool)


@pytest.mark.parametrize("name", ["cat/9.png", "gnu"])
def test_a_link_to_nowhere_is_named(name: str, pool: Path) -> None:
    """It may have been an image, or a class."""
    assert f"links that lead to no file (1 where images or folders should be): '{name}'" in refusal(
        linked(pool, {name: pool / "gone"})
    )


def test_a_link_to_nowhere_is_named_where_nothing_else_is_there(tmp_path: Path) -> None:
    """As in data whose content is kept elsewhere and was not fetched."""
    root = linked(tmp_path / "photos", {f"{name}/0.png": tmp_path / "gone" / name for name in NAMES})
    assert "links that lead to no file (6 where images" in refusal(root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_in_the_place_of_an_image_is_named(pool: Path) -> None:
    """Neither waited for nor left out without a word."""
    os.mkfifo(pool / "cat" / "9.png")
    assert "links that lead to no file (1 where images or folders should be): 'cat/9.png'" in refusal(pool)


@pytest.mark.parametrize("name", [".#lock", "cat/.#9.png", "notes.txt"])
def test_other_links_to_nowhere_do_not_matter(name: str, pool: Path) -> None:
    """Editors leave some."""
    assert counted(linked(pool, {name: pool / "gone"})) == dict.fromkeys(NAMES, 3)


def test_a_walk_of_many_links_has_an_end(tmp_path: Path) -> None:
    """Each of forty folders links twice to the next: 2 to the 40 ways, each folder seen once."""
    for i in range(40):
        (tmp_path / f"{i:02}").mkdir()
        for name in ("a", "b"):
            (tmp_path / f"{i:02}" / name).symlink_to(tmp_path / f"{i + 1:02}" if i < 39 else tmp_path / "00")
    assert not Files(tmp_path).walked().stamps
