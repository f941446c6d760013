"""Omniglot: its split, its manifest, and the refusal of sources that are missing or damaged."""

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import pooch  # type: ignore[import-untyped]
import pytest
from PIL import Image

from fewshot_bench.errors import DataError
from fewshot_datasets import omniglot_source
from fewshot_datasets.omniglot import Omniglot, prepare
from fewshot_datasets.omniglot_manifest import make_manifest, parse_manifest

Pixels = npt.NDArray[np.uint8]
GREEK, LATIN = "images_background/Greek/character01", "images_evaluation/Latin/character02"
CLASSES = {
    "train": ["Greek/character01/rot000", "Greek/character01/rot090"],
    "val": ["Greek/character01/rot180", "Greek/character01/rot270"],
    "test": ["Latin/character02/rot000"],
}
# sha256 of all prepared pixels in class order: a golden digest, to show a change of decoding, filter, turn or order.
PREPARED = "310d909c2714d437a01abc43213188485f311e90e5ea7d4d81c91d1d68696d35"


class Tiny(Omniglot):
    """Omniglot with two characters of three drawings each, against a manifest of its own."""

    text = ""

    def manifest(self) -> str:
        """The manifest of the synthetic drawings."""
        return self.text

    def class_names(self, split: str) -> list[str]:
        """Rotations of the first character, and the second one upright."""
        return CLASSES[split]


def png(seed: int) -> bytes:
    """A drawing: a black block of its own on white paper, 105 x 105, 1 bit."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[10 + seed : 30 + seed, 20 : 50 + seed] = 0
    file = BytesIO()
    Image.fromarray(pixels).convert("1").save(file, "PNG")
    return file.getvalue()


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrites a file."""
    path.write_bytes(change(path.read_bytes()))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a tiny Omniglot extracted to folders, for which `Tiny` has the manifest."""
    root = tmp_path / "data"
    for first, folder in ((0, GREEK), (3, LATIN)):
        (root / folder).mkdir(parents=True)
        for i in range(3):
            (root / folder / f"{first:04}_{i + 1:02}.png").write_bytes(png(first + i))
    monkeypatch.setattr(Tiny, "text", "\n".join(make_manifest(root)))
    return root


@pytest.fixture
def archives(folders: Path) -> Path:
    """The same in two archives, in the sub-folder that `FSBENCH_DATA` has for it."""
    root = folders.parent / "zipped"
    for part in ("images_background", "images_evaluation"):
        (root / "omniglot").mkdir(parents=True, exist_ok=True)
        with ZipFile(root / "omniglot" / f"{part}.zip", "w") as archive:
            for path in sorted((folders / part).rglob("*.png")):
                archive.write(path, path.relative_to(folders))
    return root


def images(dataset: Omniglot) -> Pixels:
    """All images of a data set, [n, 1, 28, 28]."""
    return np.concatenate(list(dataset.images(lambda done, total: None)))


def refusal(dataset: Omniglot) -> str:
    """What a data set says, in one to three lines, when it refuses its source."""
    with pytest.raises(DataError) as error:
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_the_splits_have_vinyals_number_of_classes() -> None:
    """4112, 688 and 1692 classes: 1028, 172 and 423 characters in four rotations."""
    counts = {split: len(classes) for split, classes in Omniglot().classes().items()}
    assert counts == {"train": 4112, "val": 688, "test": 1692}


def test_every_class_has_twenty_images_and_no_image_belongs_to_two() -> None:
    """129,840 images, each with an id of its own."""
    classes = [c for split in Omniglot().classes().values() for c in split]
    assert {len(c.image_ids) for c in classes} == {20}
    assert len({image for c in classes for image in c.image_ids}) == 129_840


def test_all_rotations_of_a_character_stand_in_one_split() -> None:
    """No split sees a character, however turned, that another split has."""
    seen = [{c.name.rpartition("/")[0] for c in classes} for classes in Omniglot().classes().values()]
    assert [len(characters) for characters in seen] == [1028, 172, 423]
    assert len(set.union(*seen)) == 1028 + 172 + 423


def test_an_image_id_is_its_class_and_the_name_of_its_drawing() -> None:
    """The ids name the drawing's own file."""
    first = Omniglot().classes()["train"][1]
    assert first.name == "Angelic/character01/rot090"
    assert first.image_ids[6] == "Angelic/character01/rot090/0965_07"


def test_the_manifest_has_every_character_of_both_halves() -> None:
    """964 background and 659 evaluation characters, 20 drawings each, numbered 0001 to 1623."""
    characters = parse_manifest(Omniglot().manifest())
    halves = [c.folder.partition("/")[0] for c in characters]
    assert (halves.count("images_background"), halves.count("images_evaluation")) == (964, 659)
    assert {len(c.hashes) for c in characters} == {20}
    assert sorted(int(c.number) for c in characters) == list(range(1, 1624))


def test_the_identity_changes_with_the_manifest(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other drawings are another data set."""
    before = Tiny().identity()
    monkeypatch.setattr(Tiny, "text", Tiny.text.replace("character01 0000", "character01 0001"))
    assert Tiny().identity() != before


def test_archives_and_extracted_folders_give_the_same_pixels(folders: Path, archives: Path) -> None:
    """The layout of the source does not matter."""
    np.testing.assert_array_equal(images(Tiny(root=folders)), images(Tiny(root=archives)))


def test_images_come_in_the_order_of_the_classes(folders: Path) -> None:
    """Block by block, as `classes()` lists them, every one uint8 of the declared shape."""
    dataset = Tiny(root=folders)
    blocks = list(dataset.images(lambda done, total: None))
    assert [len(block) for block in blocks] == [len(c.image_ids) for cs in dataset.classes().values() for c in cs]
    assert {(block.dtype.name, block.shape[1:]) for block in blocks} == {("uint8", dataset.shape)}


@pytest.mark.parametrize("kind", ["folders", "archives"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_its_source_files_are_the_upright_drawings(
    kind: str, split: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Resized and inverted they are the prepared images; a rotation has no file of its own."""
    tiny = Tiny(root=request.getfixturevalue(kind))
    files = tiny.source_files(split, 5, tmp_path / "unpacked")
    assert list(files) == [name for name in CLASSES[split] if name.endswith("rot000")]
    made = dict(
        zip(
            [c.name for classes in tiny.classes().values() for c in classes],
            images(tiny).reshape(-1, 3, 28, 28),
            strict=True,
        )
    )
    for name, paths in files.items():
        assert [path.stem for path in paths] == [image.rpartition("/")[2] for image in image_ids(tiny, name)]
        for path, image in zip(paths, made[name], strict=True):
            with Image.open(path) as drawing:
                assert (prepare(drawing.convert("L")) == image).all()


def image_ids(dataset: Omniglot, name: str) -> tuple[str, ...]:
    """Those of a class."""
    return next(c.image_ids for classes in dataset.classes().values() for c in classes if c.name == name)


def test_a_source_file_that_is_missing_is_named(folders: Path, tmp_path: Path) -> None:
    """The manifest lists it, the folder lacks it."""
    (folders / LATIN / "0003_02.png").unlink()
    with pytest.raises(DataError, match="0003_02"):
        Tiny(root=folders).source_files("test", 1, tmp_path / "unpacked")


def test_rotations_turn_counter_clockwise_as_pillow_does(folders: Path) -> None:
    """`rotDDD` equals `Image.rotate(DDD)` of the upright image."""
    blocks = list(Tiny(root=folders).images(lambda done, total: None))
    for block, degrees in zip(blocks[:4], (0, 90, 180, 270), strict=True):
        for upright, turned in zip(blocks[0], block, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.fromarray(upright[0]).rotate(degrees)), turned[0])


def test_ink_is_high_and_paper_is_zero(folders: Path) -> None:
    """The black block of a drawing is bright, the corner of its paper 0."""
    drawing = images(Tiny(root=folders))[1, 0]
    assert drawing[5, 9] >= 250  # its source is pixel (20, 35); Lanczos may ring by a level or two
    assert drawing[-1, -1] == 0


def test_a_line_keeps_its_share_of_ink() -> None:
    """Shrinking averages: the mean of the prepared image is that of the drawing (nearest-pixel sampling fails this)."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[20:85, 51] = 0  # 65 of 11,025 pixels
    assert prepare(Image.fromarray(pixels)).mean() == pytest.approx(255 * 65 / 11025, rel=0.2)


def test_progress_counts_the_drawings(folders: Path) -> None:
    """Rotations cost nothing, so the drawings are what is counted, up to all of them."""
    calls: list[tuple[int, int]] = []
    next(Tiny(root=folders).images(lambda done, total: calls.append((done, total))))
    assert calls == [(3, 6), (6, 6)]


def test_an_altered_drawing_is_named(folders: Path) -> None:
    """A valid image with other pixels is refused by its name."""
    damage(folders / GREEK / "0000_02.png", lambda old: png(40))
    assert f"1 of 6 drawings of Omniglot are missing or damaged: {GREEK}/0000_02.png (altered)" in refusal(
        Tiny(root=folders)
    )


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
    """Three names are enough; the rest is a number."""
    shutil.rmtree(folders / GREEK)
    for path in (folders / LATIN).iterdir():
        path.write_bytes(b"")
    said = refusal(Tiny(root=folders))
    assert "6 of 6" in said and f"{GREEK}/0000_01.png" in said and "and 3 more" in said and LATIN not in said


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
    """Both halves, in the root and in its sub-folder."""
    said = refusal(Omniglot(root=tmp_path))
    for wanted in ("images_background.zip", "images_evaluation.zip", str(tmp_path / "omniglot"), "https://github.com/"):
        assert wanted in said


def test_half_of_omniglot_is_refused(archives: Path) -> None:
    """The half that is there and the half that is not are both named."""
    (archives / "omniglot" / "images_background.zip").unlink()
    said = refusal(Tiny(root=archives))
    assert "only half of Omniglot (images_evaluation.zip)" in said and "Looked for images_background.zip" in said


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_root_that_is_no_folder_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{name} does not exist or is no folder"):
        Omniglot(root=tmp_path / name)


def test_a_root_without_omniglot_is_no_error_before_images_are_made(tmp_path: Path) -> None:
    """Prepared images can be used where `FSBENCH_DATA` has other data sets only."""
    assert Omniglot(root=tmp_path).identity() == Omniglot().identity()


def test_without_a_root_the_authors_archives_are_downloaded_into_the_cache(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both archives, with a progress bar, below FSBENCH_CACHE."""
    asked: list[str] = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> str:
        assert path.is_relative_to(archives.parent / "cache") and known_hash.startswith("md5:") and progressbar
        asked.append(url)
        return str(archives / "omniglot" / fname)

    monkeypatch.setenv("FSBENCH_CACHE", str(archives.parent / "cache"))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(images(Tiny())) == 15
    base = "https://github.com/brendenlake/omniglot/raw/master/python"
    assert asked == [f"{base}/images_background.zip", f"{base}/images_evaluation.zip"]


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), ValueError("MD5 hash of file does not match")])
def test_a_failed_download_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, the reason and the option that avoids the network."""

    def retrieve(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    said = refusal(Omniglot())
    assert omniglot_source.URL.format(part="images_background") in said and str(error) in said and "--data-root" in said


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data: tests of it are skipped where the variable is unset, and fail without its files."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_split_is_the_published_one(data: Path, split: str) -> None:
    """The committed lists are those of Snell et al.'s repository, line for line."""
    published = (data / "splits" / "omniglot-vinyals" / f"{split}.txt").read_text()
    assert "".join(f"{name}\n" for name in Omniglot().class_names(split)) == published


def test_the_real_drawings_match_the_manifest_and_prepare_to_the_golden_pixels(data: Path) -> None:
    """All 32,460 drawings pass their check, and every prepared pixel is as it was."""
    digest, count = sha256(), 0
    for block in Omniglot(root=data).images(lambda done, total: None):
        assert block.mean() < 64 and not block[:, :, 0, 0].all()  # ink is high: most of an image is paper
        digest.update(block.tobytes())
        count += len(block)
    assert (count, digest.hexdigest()) == (129_840, PREPARED)
