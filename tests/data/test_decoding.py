"""Image files decoded in parallel: in order, with progress, every damaged one named once all were tried."""

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
from picture_files import encoded, noise, pack, png, write

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images import decoding
from fewshot_bench.data.images.decoding import Photo, decoded, in_parallel, is_image
from fewshot_bench.errors import DataError, FewshotError

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
    "12.png": (encoded(noise(0), "TIFF"), "it is a TIFF"),
}


@pytest.fixture(params=["alone", "in parallel"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Decode in this process, and in two others."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
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


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is for two processes, on however small a machine."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)


@pytest.mark.usefixtures("two")
def test_a_process_that_is_killed_is_an_error_that_says_so() -> None:
    """As the system does where memory runs out; what came before it is given."""

    def killed(number: int) -> int:
        if number == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    results = in_parallel(killed, range(30))
    assert next(results) == 0
    with pytest.raises(FewshotError, match=r"was killed, perhaps because memory ran out\.\n.*LOKY_MAX_CPU_COUNT=1"):
        list(results)


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[int], int]:
    """A function that other processes can be sent (by value): its process, noted in a folder under the item's number."""

    def note(number: int) -> int:
        (tmp_path / str(number)).touch()
        return os.getpid()

    return note


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("two")
def test_work_that_is_abandoned_ends_its_processes_in_silence(noted: Callable[[int], int], tmp_path: Path) -> None:
    """Where the consumer fails: what was given out is ended, the rest is never begun."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        results: Iterator[int] = in_parallel(noted, range(1000))
        pid = next(results)
        assert pid != os.getpid() and alive(pid)
        results.close()  # type: ignore[attr-defined]
    assert not alive(pid)
    assert len(list(tmp_path.iterdir())) <= 2 * decoding.AHEAD
    assert [str(one.message) for one in said] == []


@pytest.mark.usefixtures("two")
def test_a_slow_consumer_has_few_results_piled_up(noted: Callable[[int], int], tmp_path: Path) -> None:
    """The processes wait for it."""
    results = in_parallel(noted, range(1000))
    for taken in range(1, 4):
        next(results)
        time.sleep(0.1)  # for results that pile up to do so
        assert taken < len(list(tmp_path.iterdir())) < taken + 2 * decoding.AHEAD
    assert len(list(results)) == 997


@pytest.mark.usefixtures("two")
def test_the_processes_of_a_callers_own_joblib_stay() -> None:
    """They are not those that are ended here."""
    own = joblib.Parallel(n_jobs=2)
    before = set(own(joblib.delayed(os.getpid)() for _ in range(20)))
    list(in_parallel(abs, range(20)))
    assert before & set(own(joblib.delayed(os.getpid)() for _ in range(20)))
    joblib.externals.loky.get_reusable_executor().shutdown(kill_workers=True)


def test_only_the_cores_that_this_process_may_use_count(
    noted: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one no other process is started."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert set(in_parallel(noted, range(5))) == {os.getpid()}
