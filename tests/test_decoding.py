"""Image files decoded in parallel: in order, with progress, every damaged one named once all were tried."""

from pathlib import Path

import numpy as np
import pytest
from picture_files import encoded, noise, pack, png, write

from fewshot_bench import decoding
from fewshot_bench.dataset import Images
from fewshot_bench.decoding import Photo, decoded, in_parallel, is_image
from fewshot_bench.errors import DataError
from fewshot_bench.files import Files

NAMES = {
    "a.jpg": True,
    "cat/A.JPEG": True,
    "cat/a.b.png": True,
    "./cat/a.webp": True,
    "cat/a.bmp": True,
    "cat/a.jfif": True,
    "cat/a.txt": False,
    "cat/jpg": False,
    ".jpg": False,
    "cat/.a.jpg": False,
    ".git/a.jpg": False,
    "__MACOSX/cat/._a.jpg": False,
    "photos/__MACOSX/a.jpg": False,
    "../a.jpg": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_known_by_its_suffix(name: str) -> None:
    """Hidden files and macOS's own are none."""
    assert is_image(name) == NAMES[name]


FILES = {f"{i:02}.png": encoded(noise(i)) for i in range(20)}
GROUPS = [sorted(FILES)[first:last] for first, last in ((0, 7), (7, 8), (8, 20))]
DAMAGED = {
    "03.png": (b"", "unreadable"),
    "04.png": (b"no image", "unreadable"),
    "07.png": (FILES["07.png"][:100], "unreadable"),
    "11.png": (png(30_000, 30_000), "more than 100,000,000 pixels"),
    "12.png": (encoded(noise(0), "TIFF"), "unreadable"),
}


@pytest.fixture(params=["alone", "in parallel"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Decode in this process, and in two others."""
    monkeypatch.setattr(decoding.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(decoding, "IN_THIS_PROCESS", 500 if request.param == "alone" else 0)
    return str(request.param)


def test_images_come_in_order(how: str, tmp_path: Path) -> None:
    """A block for each group, whichever process decoded it, from an archive too; progress ends with the last image."""
    calls: list[tuple[int, int]] = []
    for source in (write(tmp_path / "files", FILES), pack(tmp_path / "files.zip", FILES)):
        calls.clear()
        blocks = list(decoded(Files(source), GROUPS, Photo(8), lambda done, total: calls.append((done, total))))
        assert [len(block) for block in blocks] == [7, 1, 12]
        wanted = np.stack([noise(i).transpose(2, 0, 1) for i in range(20)])
        np.testing.assert_array_equal(np.concatenate(blocks), wanted)
        assert calls == [(7, 20), (8, 20), (20, 20)]


def test_every_damaged_file_is_named_once_all_were_tried(how: str, tmp_path: Path) -> None:
    """With what is wrong with it; no block comes after the first of them."""
    root = write(tmp_path / "files", FILES | {name: content for name, (content, _) in DAMAGED.items()})
    (root / "19.png").unlink()
    blocks: list[Images] = []
    with pytest.raises(DataError) as error:
        blocks.extend(decoded(Files(root), [["00.png", "01.png"], *GROUPS], Photo(8), lambda done, total: None))
    assert error.value.damaged == (*(f"{name} ({what})" for name, (_, what) in DAMAGED.items()), "19.png (missing)")
    said = f"6 of 22 images are missing or damaged: {', '.join(error.value.damaged[:3])} and 3 more.\nRead from {root}."
    assert str(error.value) == said
    assert [len(block) for block in blocks] == [2]


def test_a_group_that_is_all_damaged_is_named_whole(tmp_path: Path) -> None:
    """Where no image says how large the others are."""
    root = write(tmp_path / "files", {"a.png": b"", "b.png": b""})
    with pytest.raises(DataError) as error:
        list(decoded(Files(root), [["a.png", "b.png"]], Photo(8), lambda done, total: None))
    assert error.value.damaged == ("a.png (unreadable)", "b.png (unreadable)")


def test_what_runs_in_parallel_comes_in_order(how: str) -> None:
    """And lazily, so that its results need not all be held."""
    results = in_parallel(abs, range(-9, 0), alone=how == "alone")
    assert next(results) == 9
    assert list(results) == list(range(8, 0, -1))
