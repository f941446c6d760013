"""A folder of one's own images: the same run wherever it lies, in a stated or drawn split; what is wrong is said."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call, finished, only_run
from picture_files import PACKED, encoded, pack, plain, write

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.prepare import prepare
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.kernels import Unavailable, library
from fewshot_datasets.own import own_images
from fewshot_datasets.own.folder import Folder

SIZES = {"ant": 3, "bee": 2, "cat": 4, "dog": 3}
PHOTOS = {
    f"{name}/{image}.png": plain(60 * number + image)
    for number, (name, images) in enumerate(SIZES.items())
    for image in range(images)
}
SPLIT = b"class,split\nant,test\nbee,train\ncat,train\ndog,val\n"
NAME = "fewshot_datasets.own.folder:Folder"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four classes."""
    return write(tmp_path / "photos", PHOTOS)


def made(root: Path | None, **options: Any) -> Folder:
    """The data set of a folder, 4 pixels high."""
    return Folder({"side": 4} | options, root=root)


def images(dataset: Folder) -> Images:
    """All images of a data set, [n, C, S, S]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


def splits(dataset: Folder) -> dict[str, list[str]]:
    """The class names of each split."""
    return {split: [one.name for one in members] for split, members in dataset.classes().items()}


def refusal(act: Callable[[], object], kind: type[FewshotError] = DataError) -> str:
    """What is said, in one to three lines, where something is refused."""
    with pytest.raises(kind) as error:
        act()
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_images_come_in_the_order_of_the_classes(photos: Path) -> None:
    """Unequal classes; each image's grey says which it is."""
    write(photos, {"split.csv": SPLIT})
    dataset = made(photos)
    assert splits(dataset) == {"train": ["bee", "cat"], "val": ["dog"], "test": ["ant"]}
    ids = [image for members in dataset.classes().values() for one in members for image in one.image_ids]
    assert ids[:3] == ["bee/0.png", "bee/1.png", "cat/0.png"]
    pixels = images(dataset)
    assert (pixels.shape, pixels.dtype) == ((12, 3, 4, 4), np.uint8)
    assert pixels[:, 0, 0, 0].tolist() == [60, 61, 120, 121, 122, 123, 180, 181, 182, 0, 1, 2]


@pytest.mark.parametrize("options", [{"channels": 1}, {"side": 8}, {"resize": "squash"}], ids=str)
def test_options_say_what_is_prepared(photos: Path, options: dict[str, Any]) -> None:
    """Shape and pixels follow them, and so does the identity."""
    dataset = made(photos, **options)
    assert images(dataset).shape[1:] == dataset.shape
    assert dataset.identity() != made(photos).identity()


@pytest.mark.parametrize("options", [{"side": 0}, {"side": 1025}, {"resize": "stretch"}, {"channels": 4}], ids=str)
def test_an_option_out_of_range_is_refused(photos: Path, options: dict[str, Any]) -> None:
    """By its name, with what it may be."""
    (name,) = options
    assert f"data.{name} must be" in refusal(lambda: made(photos, **options), UsageError)


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("below", ["", "./", "my/photos/"])
def test_an_archive_is_the_same_run_as_its_folder(photos: Path, kind: str, below: str) -> None:
    """Whatever wraps its classes, and also where the root holds nothing but it."""
    archive = pack(photos.parent / "packed" / f"p{kind}", dict(reversed(PHOTOS.items())), below)
    write(archive.parent, {"LICENSE": b"mine"})
    for root in (archive, archive.parent):
        assert made(root).identity() == made(photos).identity()
        assert made(root).classes() == made(photos).classes()
        np.testing.assert_array_equal(images(made(root)), images(made(photos)))


def test_the_same_photos_elsewhere_are_the_same_run(photos: Path, cache: Path) -> None:
    """Moved, and with other times of change."""
    before = made(photos).identity()
    elsewhere = photos.rename(photos.with_name("elsewhere"))
    os.utime(elsewhere / "ant" / "0.png", ns=(0, 0))
    assert made(elsewhere).identity() == before


CHANGES: dict[str, Callable[[Path], object]] = {
    "another size": lambda root: write(root, {"ant/0.png": plain(0, side=5)}),
    "another content of the same size": lambda root: write(root, {"ant/0.png": plain(99)}),
    "another name": lambda root: (root / "ant" / "0.png").rename(root / "ant" / "9.png"),
    "another class": lambda root: (root / "ant" / "0.png").rename(root / "bee" / "9.png"),
    "one more": lambda root: write(root, {"ant/9.png": plain(0)}),
    "one less": lambda root: (root / "ant" / "0.png").unlink(),
    "another split": lambda root: write(root, {"split.csv": SPLIT}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_photos_are_another_run(photos: Path, change: str) -> None:
    """And prepared anew, which is said."""
    notes: list[str] = []
    before = made(photos).identity()
    prepare("folder", made(photos), note=notes.append)
    CHANGES[change](photos)
    assert made(photos).identity() != before
    prepare("folder", made(photos), note=notes.append)
    assert len([note for note in notes if "have changed" in note]) == 1


def test_other_files_do_not_matter(photos: Path) -> None:
    """Nor do hidden ones."""
    before = made(photos).identity()
    write(photos, {"README.md": b"mine", "ant/notes.txt": b"", ".cache/x.png": plain(0), "__MACOSX/ant/._0.png": b""})
    assert made(photos).identity() == before


def test_an_identity_of_what_could_not_be_read_is_not_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the file can be read, nothing else having changed, it is that of all the images."""
    whole = made(shutil.copytree(photos, photos.with_name("copy"))).identity()
    read = Files.read

    def refusing(files: Files, name: str) -> bytes:
        if name == "bee/0.png":
            raise PermissionError
        return read(files, name)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "read", refusing)
        assert made(photos).identity() != whole
    assert made(photos).identity() == whole


def test_an_identity_that_another_version_kept_is_made_anew(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same files."""
    assert made(photos).identity().startswith("folder-v1-")
    monkeypatch.setattr(own_images, "VERSION", "v2")
    assert made(photos).identity().startswith("folder-v2-")


def test_the_files_are_looked_at_once_for_all_identities_that_a_run_asks_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one data set; another looks again."""
    dataset = made(photos)
    dataset.identity()
    monkeypatch.setattr(Files, "walked", lambda files: pytest.fail("looked again"))
    dataset.identity()
    with pytest.raises(pytest.fail.Exception, match="looked again"):
        made(photos).identity()


def test_folders_that_hold_no_images_are_named(photos: Path) -> None:
    """Beside how many there are."""
    assert "without images" not in made(photos).variant()
    write(photos, {"emu/0.raw": b"", "fox/0.raw": b"", ".git/0": b""})
    for name in ("gnu", ".venv", "cat/more"):
        (photos / name).mkdir()
    assert made(photos).variant().endswith("; folders without images: 'emu', 'fox', 'gnu'")


def test_the_one_folder_of_several_that_has_images_is_named(tmp_path: Path) -> None:
    """A parent of data sets of which one alone is unpacked; what only wraps the classes is not worth a word."""
    root = write(tmp_path / "data", {f"photos/{name}": content for name, content in PHOTOS.items()})
    assert "alone" not in made(root).variant()
    write(root, {"omniglot/images.zip": b""})
    assert made(root).variant().endswith("; only photos/ is read")


def test_archives_in_the_place_of_classes_are_named(photos: Path) -> None:
    """They are not unpacked, and their images are in no class."""
    write(photos, {"emu.zip": b"", "fox.tar.gz": b"", "cat/all.zip": b"", ".old.zip": b""})
    assert made(photos).variant().endswith("; archives, which are not read: 'emu.zip', 'fox.tar.gz'")


def test_folders_of_splits_that_hold_nothing_are_named(tmp_path: Path) -> None:
    """Below a split alone; others beside the splits are none of classes."""
    root = write(tmp_path / "photos", {"train/ant/0.png": plain(0), "test/bee/0.png": plain(1)})
    for name in ("test/cat", "other/dog"):
        (root / name).mkdir(parents=True)
    assert made(root).variant().endswith("; folders without images: 'test/cat'")


def test_what_is_prepared_is_said_with_the_folders_that_hold_no_images(photos: Path) -> None:
    """Once: not where it was prepared before."""
    (photos / "gnu").mkdir()
    notes: list[str] = []
    for _ in range(2):
        prepare("folder", made(photos), note=notes.append)
    assert notes == [f"folder: {made(photos).variant()}."]
    assert notes[0].startswith("folder: 4 classes, 12 images; split: drawn with seed 0 (")
    assert notes[0].endswith("; folders without images: 'gnu'.")


def test_a_link_loop_is_no_end_of_classes(photos: Path) -> None:
    """A link into the folder itself."""
    before = made(photos).identity()
    (photos / "ant" / "loop").symlink_to(photos)
    assert made(photos).identity() == before


NAMES = ["n\xe9e", "ne\u0301e 2", "cats, dogs", 'a "b"', "日本 語", "x" * 200, "=1+1", "CON", "%s{}"]


def test_classes_may_have_any_name(tmp_path: Path) -> None:
    """Unicode, composed or not, spaces, commas, quotes and 200 letters; in the split file too."""
    root = write(tmp_path / "photos", {f"{name}/{'y' * 200}.png": plain(i) for i, name in enumerate(NAMES)})
    drawn = made(root)
    assert {one for members in splits(drawn).values() for one in members} == {*NAMES} - {NAMES[1]} | {"n\xe9e 2"}
    write(root, {"split.csv": drawn.split_csv().replace("n\xe9e,", "ne\u0301e,").encode()})
    assert splits(made(root)) == splits(drawn)
    assert made(root).identity() == drawn.identity()
    prepare("folder", drawn)
    assert "9 classes, 9 images; split: drawn with seed 0" in drawn.variant()


def test_every_damaged_image_is_named(photos: Path) -> None:
    """Empty files and what is no image, with what to do."""
    write(photos, {"ant/0.png": b"", "cat/3.png": b"text", "dog/2.png": PHOTOS["dog/2.png"][:30]})
    with pytest.raises(DataError) as error:
        images(made(photos))
    assert sorted(error.value.damaged) == ["ant/0.png (unreadable)", "cat/3.png (unreadable)", "dog/2.png (unreadable)"]
    assert "3 of 12 images are missing or damaged" in str(error.value)
    assert f"Read from {photos}: replace or remove them." in str(error.value)


def test_damage_in_an_archive_that_was_unpacked_names_the_archive(tmp_path: Path, cache: Path) -> None:
    """Not the temporary folder, which is gone."""
    archive = pack(tmp_path / "p.tar.gz", PHOTOS | {"ant/0.png": b""})
    assert f"ant/0.png (unreadable).\nRead from {archive}" in refusal(lambda: images(made(archive)))
    assert not list(cache.glob(".unpacked-*"))


ROOTS: dict[str, tuple[Callable[[Path], Path | None], str]] = {
    "none": (lambda tmp: None, "--data-root photos/"),
    "absent": (lambda tmp: tmp / "absent", "No such file or folder"),
    "absent archive": (lambda tmp: tmp / "absent.zip", "No such file or folder"),
    "empty": (lambda tmp: write(tmp / "p", {"a/.x": b""}), "holds no images but 1 files, such as 'a/.x'"),
    "a file": (lambda tmp: write(tmp, {"a.txt": b""}) / "a.txt", "neither a folder nor an archive"),
    "an archive of something else": (lambda tmp: pack(tmp / "p.zip", {"a.csv": b""}), "p.zip holds no images but 1 files"),
    "several archives": (lambda tmp: write(tmp / "p", {"a.zip": b"", "b.tar": b""}), "choose from: 'a.zip', 'b.tar'"),
    "a truncated archive": (lambda tmp: write(tmp / "p", {"a.zip": b"PK"}) / "a.zip", "a.zip is damaged or truncated"),
    "images alone": (lambda tmp: write(tmp / "p", {"a.png": b""}), "images outside every class folder: 'a.png'"),
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_without_class_folders_is_refused(name: str, tmp_path: Path) -> None:
    """With what was found, before any work."""
    root, wanted = ROOTS[name]
    assert wanted in refusal(made(root(tmp_path)).identity)


def colours(classes: int, each: int) -> dict[str, bytes]:
    """Photographs of classes that differ in colour."""
    shades = np.random.default_rng(0).integers(0, 256, (classes, 3), np.uint8)
    return {f"c{c:02}/{i}.png": encoded(np.full((4, 5, 3), shades[c])) for c in range(classes) for i in range(each)}


@pytest.fixture(scope="module")
def kernels() -> None:
    """Kernels that a run need not build anew in the test's own cache."""
    with suppress(Unavailable):
        library()


def test_a_run_needs_nothing_but_the_folder(kernels: None, tmp_path: Path) -> None:
    """Through the command line; its split is kept beside the record."""
    root = write(tmp_path / "photos", colours(15, 6))
    base = ("run", "--method", "nearest-centroid", "--dataset", NAME, "--data-root", root, "--out", tmp_path / "runs")
    finished(*base, "--protocol", "custom", "--queries", "5", "--episodes", "8", "--set", "data.side=8")
    kept = only_run(tmp_path / "runs") / "split.csv"
    assert kept.read_text() == made(root).split_csv()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (2, "This data set has no classes in split 'test'; it has train."),
        (6, "2 ways are more than the one class of this split, and one class leaves nothing to tell apart."),
        (10, "3 ways are more than the 2 classes of this split: at most --ways 2."),
    ],
)
def test_a_split_of_too_few_classes_is_said_to_be_drawn(classes: int, words: str, kernels: None, tmp_path: Path) -> None:
    """With its seed, of how many classes, and how to state one; a run and a preview say the same, in three lines at most."""
    root = write(tmp_path / "photos", colours(classes, 3))
    common = ("--data-root", root, "--ways", 3 if classes == 10 else 2, "--queries", 2, "--set", "data.side=8")
    run = ("run", "--method", "nearest-centroid", "--dataset", "folder", "--protocol", "custom", "--out", tmp_path / "runs")
    for command in (run, ("data", "preview", "folder", "--split", "test")):
        said = call(*command, *common)
        assert said.code == 2
        refused, told, *remedy = said.complaint.splitlines()
        assert refused.endswith(words)
        assert len(remedy) <= 1
        assert told.startswith(f"The data: {classes} classes, {3 * classes} images; split: drawn with seed 0 (")
        assert "split.csv" in told and "--set data.split=FILE" in told


def test_a_class_that_is_too_small_is_named(tmp_path: Path) -> None:
    """With what would fit."""
    photos = colours(15, 6)
    small = next(one.name for one in made(write(tmp_path / "photos", photos)).classes()["test"])
    (tmp_path / "photos" / small / "5.png").unlink()
    base = ("run", "--method", "nearest-centroid", "--dataset", NAME, "--data-root", tmp_path / "photos")
    said = call(*base, "--protocol", "custom", "--queries", "5", "--set", "data.side=8", "--out", tmp_path / "runs")
    assert said.code == 2 and small in said.err and "shots + queries = 5" in said.err


@pytest.fixture(scope="module")
def groceries() -> Path:
    """The grocery folder of the real data: skipped where the variable is unset, and a failure without the file."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"]) / "grocery-store"


@pytest.mark.slow
def test_real_photographs_are_prepared(groceries: Path) -> None:
    """81 classes of 35 to 143 images, 5,421 in all, none of them empty."""
    dataset = Folder({}, root=groceries)
    sizes = [len(one.image_ids) for members in dataset.classes().values() for one in members]
    assert (len(sizes), sum(sizes), min(sizes), max(sizes)) == (81, 5421, 35, 143)
    assert dataset.identity() == Folder({}, root=groceries / "grocery-store.zip").identity()
    counts = [(len(block), block.std(axis=(1, 2, 3)).min()) for block in dataset.images(lambda done, total: None)]
    assert sum(count for count, _ in counts) == 5421
    assert min(spread for _, spread in counts) > 5
