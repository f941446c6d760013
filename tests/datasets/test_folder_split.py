"""The split of a folder of one's own images: stated by a file or by folders wherever they lie, or drawn."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from picture_files import pack, plain, write

from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_datasets.own.folder import Folder
from fewshot_datasets.own.own_images import Split
from fewshot_datasets.own.own_split import read_split

PHOTOS = {f"{name}/{image}.png": plain(image) for name in ("ant", "bee", "cat", "dog") for image in range(3)}
SPLIT = b"class,split\nant,test\nbee,train\ncat,train\ndog,val\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four classes."""
    return write(tmp_path / "photos", PHOTOS)


def made(root: Path, **options: Any) -> Folder:
    """The data set of a folder."""
    return Folder(options, root=root)


def splits(dataset: Folder) -> dict[str, list[str]]:
    """The class names of each split."""
    return {split: [one.name for one in members] for split, members in dataset.classes().items()}


def refusal(dataset: Folder, kind: type[FewshotError] = DataError) -> str:
    """What is said, in one to three lines, where the split is refused."""
    with pytest.raises(kind) as error:
        dataset.classes()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_a_drawn_split_can_be_stated(photos: Path, tmp_path: Path) -> None:
    """The text of the split, as a file, gives the same run."""
    drawn = made(photos, split_seed=3)
    write(tmp_path, {"my.csv": drawn.split_csv().encode()})
    stated = made(photos, split=str(tmp_path / "my.csv"))
    assert read_split(drawn.split_csv().encode(), "") == {
        name: split for split, names in splits(drawn).items() for name in names
    }
    assert (splits(stated), stated.identity()) == (splits(drawn), drawn.identity())


@pytest.mark.parametrize("place", ["photos/split.csv", "photos/lists/a.csv", "photos/../a.csv"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_split_file_is_found_from_the_root(photos: Path, place: str, absolute: bool) -> None:
    """In it, beside it, or anywhere by its whole path."""
    path = photos.parent / place
    write(photos.parent, {place: SPLIT})
    option = str(path) if absolute else place.removeprefix("photos/")
    assert splits(made(photos, split=option))["test"] == ["ant"]


@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
@pytest.mark.parametrize("inside", ["split.csv", "my/split.csv", "my/lists/a.csv"])
def test_an_archive_may_hold_its_split_file(tmp_path: Path, kind: str, inside: str) -> None:
    """At its top or beside the classes."""
    contents = {f"my/{name}": content for name, content in PHOTOS.items()} | {inside: SPLIT}
    dataset = made(pack(tmp_path / f"p{kind}", contents), split="lists/a.csv" if "lists" in inside else "")
    assert splits(dataset)["test"] == ["ant"]
    assert "split.csv in" in dataset.variant() or "lists/a.csv in" in dataset.variant()


def test_a_split_file_may_lie_beside_an_archive(tmp_path: Path) -> None:
    """Where the root holds both, or option split names it."""
    archive = pack(tmp_path / "p" / "p.zip", PHOTOS)
    write(tmp_path / "p", {"split.csv": SPLIT})
    assert splits(made(tmp_path / "p"))["test"] == ["ant"]
    assert splits(made(archive, split="split.csv"))["test"] == ["ant"]


def test_folders_of_splits_are_the_split(tmp_path: Path) -> None:
    """Each class in one."""
    root = write(tmp_path / "photos", {"train/ant/0.png": plain(0), "valid/bee/0.png": plain(1), "test/cat/0.png": plain(2)})
    assert splits(made(root)) == {"train": ["ant"], "val": ["bee"], "test": ["cat"]}


IN_SEVERAL = {f"{split}/{name}/0.png": plain(0) for split in ("train", "test") for name in ("ant", "bee", "cat")}


def test_a_class_in_the_folders_of_several_splits_needs_a_split_file(tmp_path: Path) -> None:
    """Which is said; `split.csv` in the root or a file that is named decides, and the folders are pooled."""
    root = write(tmp_path / "photos", IN_SEVERAL)
    said = refusal(made(root))
    assert f"the folders of {root} names classes more than once: 'ant: test, train'" in said
    assert "a file split.csv" in said and "--set data.split=FILE" in said
    split = b"class,split\nant,train\nbee,val\ncat,test\n"
    named = made(root, split=str(write(tmp_path, {"my.csv": split}) / "my.csv"))
    write(root, {"split.csv": split})
    for dataset in (named, made(root)):
        assert splits(dataset) == {"train": ["ant"], "val": ["bee"], "test": ["cat"]}
        assert dataset.classes()["train"][0].image_ids == ("ant/test/0.png", "ant/train/0.png")
        assert sum(map(len, dataset.images(lambda done, total: None))) == 6


def test_an_archive_of_classes_in_several_splits_may_hold_the_split_file(tmp_path: Path) -> None:
    """Beside `train` and `test`."""
    contents = IN_SEVERAL | {"split.csv": b"class,split\nant,train\nbee,val\ncat,test\n"}
    assert splits(made(pack(tmp_path / "p.zip", contents, "my/"))) == {"train": ["ant"], "val": ["bee"], "test": ["cat"]}


def test_a_split_file_and_the_folders_name_the_same_classes(photos: Path) -> None:
    """A class without a folder, and a folder without a line."""
    write(photos, {"split.csv": SPLIT + b"emu,val\n"})
    assert f"split.csv in {photos} names classes that have no images: 'emu'" in refusal(made(photos))
    write(photos, {"split.csv": SPLIT.replace(b"dog,val\n", b"")})
    assert "does not name all of the 4 classes. It lacks 'dog'" in refusal(made(photos))


def test_a_split_file_that_is_not_there_is_named(photos: Path) -> None:
    """With the option that named it."""
    said = refusal(made(photos, split="mine.csv"))
    assert str(photos / "mine.csv") in said and "data.split=mine.csv" in said


def test_a_seed_is_of_a_drawn_split(photos: Path) -> None:
    """Beside a split file it would mean nothing."""
    write(photos, {"split.csv": SPLIT})
    assert "data.split_seed" in refusal(made(photos, split_seed=1), UsageError)


@pytest.mark.parametrize("name", ["Ant", "ant ", "\uff41nt", "a\u200bnt", "ANT\xa0"])
@pytest.mark.parametrize("how", ["folders", "file", "archive"])
def test_classes_that_look_alike_in_two_splits_are_refused(name: str, how: str, tmp_path: Path) -> None:
    """Exit 3 with both and their splits, however the split is stated."""
    stated = {"ant": "train", "bee": "train", name: "test", "dog": "test"}
    if how == "file":
        rows = "".join(f"{one},{split}\n" for one, split in stated.items())
        contents = {f"{one}/0.png": plain(0) for one in stated} | {"split.csv": f"class,split\n{rows}".encode()}
    else:
        contents = {f"{split}/{one}/0.png": plain(0) for one, split in stated.items()}
    root = pack(tmp_path / "p.tar", contents) if how == "archive" else write(tmp_path / "photos", contents)
    said = refusal(made(root))
    assert f"{name!r} (test)" in said and "'ant' (train)" in said


def test_a_drawn_split_is_refused_where_it_parts_classes_that_look_alike(photos: Path) -> None:
    """Under the seeds that do; under others it is said."""
    write(photos, {"Ant/0.png": plain(9)})
    by_seed: dict[int, Split] = {}
    for seed in range(12):
        with suppress(DataError):
            by_seed[seed] = made(photos, split_seed=seed).split
    assert 0 < len(by_seed) < 12
    assert all(split.of["ant"] == split.of["Ant"] for split in by_seed.values())
    assert "names that a reader may take for one: 'Ant' and 'ant'" in made(photos, split_seed=next(iter(by_seed))).variant()


def test_the_names_of_folders_of_splits_that_were_recognised_are_said(tmp_path: Path) -> None:
    """Those of the few-shot literature, beside what is no image."""
    contents = {"base/ant/0.png": plain(0), "Dev/bee/0.png": plain(1), "novel/cat/0.png": plain(2), "README.md": b""}
    dataset = made(write(tmp_path / "photos", contents | {".DS_Store": b"", "labels/ant.txt": b""}))
    assert splits(dataset) == {"train": ["ant"], "val": ["bee"], "test": ["cat"]}
    assert dataset.variant().endswith("photos (Dev is val, base is train, novel is test)")


def test_folders_beside_those_of_splits_are_named(tmp_path: Path) -> None:
    """Exit 3: the split's folders are no classes."""
    contents = {"train/ant/0.png": plain(0), "test/bee/0.png": plain(1), "unlabeled/0.png": plain(2)}
    said = refusal(made(write(tmp_path / "photos", contents)))
    assert "folders of splits, 'test', 'train', and other folders with images: 'unlabeled'" in said


@pytest.mark.parametrize("spelling", ["Ant", " ant", "\uff41nt"])
def test_a_split_file_may_write_a_class_otherwise(spelling: str, photos: Path) -> None:
    """Where just one class can be meant, and it is the same run."""
    write(photos, {"split.csv": SPLIT})
    before = made(photos).identity()
    write(photos, {"split.csv": SPLIT.replace(b"ant,", f"{spelling},".encode())})
    assert splits(made(photos))["test"] == ["ant"]
    assert made(photos).identity() == before
