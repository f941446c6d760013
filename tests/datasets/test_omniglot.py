"""Omniglot's prepared images: their order, their pixels, and the drawings that they are made of."""

import os
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from tiny_omniglot import CLASSES, LATIN, Tiny, images, pixels, write_archives, write_folders

from fewshot_bench.errors import DataError
from fewshot_datasets.omniglot.drawings import prepare
from fewshot_datasets.omniglot.manifest import parse_manifest
from fewshot_datasets.omniglot.omniglot import Omniglot

# sha256 of all prepared pixels in class order: a golden digest, to show a change of decoding, filter, turn or order.
PREPARED = "310d909c2714d437a01abc43213188485f311e90e5ea7d4d81c91d1d68696d35"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A data root with a tiny Omniglot extracted to folders."""
    return write_folders(tmp_path / "data")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """The same in two archives, in the sub-folder that `FSBENCH_DATA` has for it."""
    return write_archives(tmp_path / "zipped" / "omniglot").parent


def test_every_class_has_twenty_images_and_no_image_belongs_to_two() -> None:
    """129,840 images, each with an id of its own."""
    classes = [c for split in Omniglot().classes().values() for c in split]
    assert {len(c.image_ids) for c in classes} == {20}
    assert len({image for c in classes for image in c.image_ids}) == 129_840


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


def test_the_identity_changes_with_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other drawings are another data set."""
    before, text = Tiny().identity(), Tiny().manifest()
    monkeypatch.setattr(Tiny, "manifest", lambda self: text.replace("character01 0000", "character01 0001"))
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
    classes = [c for members in tiny.classes().values() for c in members]
    made = dict(zip([c.name for c in classes], images(tiny).reshape(-1, 3, 28, 28), strict=True))
    ids = {c.name: c.image_ids for c in classes}
    for name, paths in files.items():
        assert [path.stem for path in paths] == [image.rpartition("/")[2] for image in ids[name]]
        for path, image in zip(paths, made[name], strict=True):
            with Image.open(path) as drawing:
                assert (prepare(drawing.convert("L"), 28) == image).all()


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
    drawing = np.full((105, 105), 255, np.uint8)
    drawing[20:85, 51] = 0  # 65 of 11,025 pixels
    assert prepare(Image.fromarray(drawing), 28).mean() == pytest.approx(255 * 65 / 11025, rel=0.2)


def test_the_native_side_is_the_drawing_itself(folders: Path) -> None:
    """At 105 pixels nothing is resized: ink 255, paper 0."""
    native = images(Tiny({"side": 105}, folders))
    np.testing.assert_array_equal(native[1, 0], 255 - pixels(1))


def test_progress_counts_the_drawings(folders: Path) -> None:
    """Rotations cost nothing, so the drawings are what is counted, up to all of them."""
    calls: list[tuple[int, int]] = []
    list(Tiny(root=folders).images(lambda done, total: calls.append((done, total))))
    assert calls == [(3, 6), (6, 6)]


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data: tests of it are skipped where the variable is unset, and fail without its files."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


def test_the_real_drawings_match_the_manifest_and_prepare_to_the_golden_pixels(data: Path) -> None:
    """All 32,460 drawings pass their check, and every prepared pixel is as it was, by however many processes."""
    digest, count = sha256(), 0
    for block in Omniglot(root=data).images(lambda done, total: None):
        assert block.mean() < 64 and not block[:, :, 0, 0].all()  # ink is high: most of an image is paper
        digest.update(block.tobytes())
        count += len(block)
    assert (count, digest.hexdigest()) == (129_840, PREPARED)


def test_real_drawings_at_their_native_side_are_those_of_the_archive(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by zipfile and Pillow alone, of the first two test characters of `lake`."""
    native = Omniglot({"split": "lake", "rotations": "none", "side": 105}, data)
    few = {"train": [], "val": [], "test": native.class_names("test")[:2]}
    ids = [image for c in native.classes()["test"][:2] for image in c.image_ids]
    monkeypatch.setattr(native, "class_names", few.get)
    with ZipFile(data / "omniglot" / "images_evaluation.zip") as archive:
        for image, made in zip(ids, images(native), strict=True):
            png = archive.read(f"images_evaluation/{image.replace('/rot000', '')}.png")
            np.testing.assert_array_equal(made[0], np.where(np.asarray(Image.open(BytesIO(png))), 0, 255))
