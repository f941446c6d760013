"""CIFAR-FS: its split, its manifest, and the refusal of sources that are missing or damaged."""

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from tiny_cifar_100 import STEMS, Tiny, images, picture, png, write_pngs

from fewshot_bench.data.prepare import structure_id
from fewshot_bench.errors import DataError
from fewshot_datasets.cifar_100.cifar_fs import CifarFs
from fewshot_datasets.cifar_100.manifest import parse_manifest

# sha256 of all prepared pixels in class order: a golden digest, to show a change of decoding or order.
PREPARED = "c8743a810633fe25d545222884326deef69c83a6882e4d396721df832291fd53"
RECORDS = Path(__file__).parents[2] / "leaderboard" / "results"


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


def refusal(dataset: CifarFs) -> str:
    """What a data set says, in one to three lines, when it refuses its source."""
    with pytest.raises(DataError) as error:
        images(dataset)
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_every_class_has_six_hundred_images_sorted_by_name() -> None:
    """64, 16 and 20 classes."""
    classes = CifarFs().classes()
    assert {split: len(members) for split, members in classes.items()} == {"train": 64, "val": 16, "test": 20}
    members = [one for split in classes.values() for one in split]
    assert {len(one.image_ids) for one in members} == {600}
    assert all(list(one.image_ids) == sorted(one.image_ids) for one in members)


def test_an_image_id_is_its_class_and_its_file() -> None:
    """Whatever noun of WordNet, or none, the file is named for."""
    skunk = next(one for one in CifarFs().classes()["train"] if one.name == "skunk")
    assert skunk.image_ids[0].startswith("skunk/")
    assert "skunk/manual-skunk001" in skunk.image_ids


def test_the_manifest_names_the_files(folders: Path) -> None:
    """A made manifest, read again, lists every file once, sorted."""
    listed = parse_manifest(Tiny.text)
    assert sorted(listed) == ["apple", "road", "sea", "wolf"]
    assert {one.stems for one in listed.values()} == {tuple(sorted(STEMS))}


def test_identity_and_structure_are_those_of_the_committed_records() -> None:
    """The runs that were published keep their ids and their episodes."""
    records = [json.loads(path.read_text()) for path in RECORDS.glob("*-cifar-fs-*/record.json")]
    held = {json.dumps(one["data"], sort_keys=True) for one in records if one["data"]["name"] == "cifar-fs"}
    published = json.loads(held.pop())
    assert not held, "all are of the same data"
    dataset = CifarFs()
    assert dataset.identity() == published["identity"]
    assert published["fingerprint"] == PREPARED
    structures = {split: one["structure_id"] for split, one in published["splits"].items()}
    assert {split: structure_id(members) for split, members in dataset.classes().items()} == structures


def test_the_identity_changes_with_the_manifest_and_needs_no_image(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other pixels are another data set."""
    before = Tiny().identity()
    monkeypatch.setattr(Tiny, "text", Tiny.text.replace("apple ", "apple 0"))
    assert Tiny().identity() != before


def test_the_archive_and_the_folder_give_the_same_pixels(folders: Path, archive: Path) -> None:
    """The layout of the source does not matter."""
    np.testing.assert_array_equal(images(Tiny(root=folders)), images(Tiny(root=archive)))


def test_images_come_in_the_order_of_the_classes_and_of_their_names(folders: Path) -> None:
    """Pixels are those of the files, channels first."""
    dataset = Tiny(root=folders)
    ids = [image for members in dataset.classes().values() for one in members for image in one.image_ids]
    made = images(dataset)
    assert (made.dtype, made.shape) == (np.uint8, (12, *dataset.shape))
    assert ids[0] == "wolf/manual-green011"
    for image, pixels in zip(ids, made, strict=True):
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), picture(*image.split("/")))


def test_progress_counts_the_images(archive: Path) -> None:
    """Class by class, up to all of them."""
    calls: list[tuple[int, int]] = []
    list(Tiny(root=archive).images(lambda done, total: calls.append((done, total))))
    assert calls == [(3, 12), (6, 12), (9, 12), (12, 12)]


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old[: len(old) // 2],
        lambda old: b"",
        lambda old: b"GIF89a" + old[6:],
        lambda old: old[:60] + bytes(8) + old[68:],
        lambda old: old[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + old[24:],
        lambda old: png(np.zeros((16, 16, 3), np.uint8)),
    ],
    ids=["truncated", "empty", "no PNG", "flipped bytes", "forged size", "another size"],
)
def test_an_unreadable_image_is_named(folders: Path, change: Callable[[bytes], bytes]) -> None:
    """A file that is no complete PNG of 32 x 32 is refused by its name."""
    path = folders / "cifar100" / "data" / "road" / "red_s_000010.png"
    path.write_bytes(change(path.read_bytes()))
    assert "damaged: cifar100/data/road/red_s_000010.png (unreadable)." in refusal(Tiny(root=folders))


def test_a_missing_image_is_named(folders: Path) -> None:
    """A file that is not there is refused by its name."""
    (folders / "cifar100" / "data" / "sea" / "red_s_000002.png").unlink()
    assert "cifar100/data/sea/red_s_000002.png (missing)" in refusal(Tiny(root=folders))


def test_the_class_of_an_altered_image_is_named(folders: Path) -> None:
    """A valid image with other pixels, even by one level."""
    path = folders / "cifar100" / "data" / "apple" / "red_s_000002.png"
    path.write_bytes(png(picture("apple", "red_s_000002") ^ np.uint8(1)))
    assert "class apple (some images altered)" in refusal(Tiny(root=folders))


def test_many_damaged_images_are_counted_and_the_first_named(folders: Path) -> None:
    """Three names are enough; the rest is a number."""
    shutil.rmtree(folders / "cifar100" / "data" / "wolf")
    shutil.rmtree(folders / "cifar100" / "data" / "sea")
    said = refusal(Tiny(root=folders))
    assert "wolf/manual-green011.png (missing)" in said and "and 3 more" in said and "sea" not in said


def test_a_damaged_member_of_an_archive_is_named(archive: Path) -> None:
    """Bytes that changed inside an archive are found and put down to their image."""
    path, inside = archive / "cifar-fs" / "cifar100.zip", png(picture("wolf", "red_s_000002"))
    path.write_bytes(path.read_bytes().replace(inside, inside[:60] + bytes(8) + inside[68:], 1))
    assert "wolf/red_s_000002.png (unreadable)" in refusal(Tiny(root=archive))


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_truncated_archive_is_named(archive: Path, keep: int) -> None:
    """An archive that ends early is refused by its path."""
    path = archive / "cifar-fs" / "cifar100.zip"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is damaged or truncated" in refusal(Tiny(root=archive))


def test_another_archive_is_refused(tmp_path: Path) -> None:
    """A zip without the folder of CIFAR-FS is named, and not said to lack 60,000 images."""
    with ZipFile(tmp_path / "cifar100.zip", "w") as file:
        file.writestr("images/1.png", b"")
    assert f"{tmp_path / 'cifar100.zip'} is not the archive of CIFAR-FS" in refusal(CifarFs(root=tmp_path))


def test_every_damaged_file_is_listed(folders: Path) -> None:
    """Also those that the message only counts."""
    shutil.rmtree(folders / "cifar100" / "data" / "wolf")
    (folders / "cifar100" / "data" / "sea" / "red_s_000002.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        images(Tiny(root=folders))
    wolves = [f"cifar100/data/wolf/{stem}.png (missing)" for stem in sorted(STEMS)]
    assert list(error.value.damaged) == [*wolves, "cifar100/data/sea/red_s_000002.png (unreadable)"]


@pytest.mark.parametrize("root", [None, "empty"])
def test_without_a_source_it_says_what_to_get_and_where_to_put_it(root: str | None, tmp_path: Path) -> None:
    """The command that downloads it, the other archive's name and where that comes from, and the option."""
    (tmp_path / "empty").mkdir()
    dataset = CifarFs(root=tmp_path / root if root else None)
    said = refusal(dataset)
    for wanted in ("fsbench data get cifar-fs", "cifar100.zip", "https://github.com/bertinetto/r2d2", "--data-root"):
        assert wanted in said
    assert (dataset.found(), dataset.variant()) == (None, "")


def test_a_root_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    """A wrong --data-root is refused before any cache is asked."""
    with pytest.raises(DataError, match="absent does not exist"):
        CifarFs(root=tmp_path / "absent")


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data: tests of it are skipped where the variable is unset, and fail without its files."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_split_is_the_published_one_and_the_archives_own(data: Path, split: str) -> None:
    """The committed lists are torchmeta's, and the authors' own beside the images, name for name."""
    published = json.loads((data / "splits" / "cifar-fs" / f"{split}.json").read_text())
    assert CifarFs().class_names(split) == [name for _, name in published]
    with ZipFile(data / "cifar-fs" / "cifar100.zip") as archive:
        assert CifarFs().class_names(split) == archive.read(f"cifar100/splits/bertinetto/{split}.txt").decode().split()


def test_the_manifest_lists_every_image_of_the_archive(data: Path) -> None:
    """No more and no fewer."""
    with ZipFile(data / "cifar-fs" / "cifar100.zip") as archive:
        pngs = {name for name in archive.namelist() if name.endswith(".png")}
    assert {one.path(stem) for one in parse_manifest(CifarFs().manifest()).values() for stem in one.stems} == pngs


def test_the_real_images_match_the_manifest_and_prepare_to_the_golden_pixels(data: Path) -> None:
    """All 60,000 images pass their check, and every prepared pixel is as it was."""
    digest, count = sha256(), 0
    for block in CifarFs(root=data).images(lambda done, total: None):
        digest.update(block.tobytes())
        count += len(block)
    assert (count, digest.hexdigest()) == (60_000, PREPARED)
