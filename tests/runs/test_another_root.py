"""Data sets of one name in two places: trained on one folder, tested on another."""

import json
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import LINEAR, PIXELS, call, content, finished, only_run
from picture_files import deep_png, encoded, noise, write
from PIL import Image

from fewshot_bench.cli.progress import Bars
from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.results.records import load_record
from fewshot_bench.results.rerun_command import ELSEWHERE
from fewshot_bench.runs.training import Progressed

FEW = ("--protocol", "custom", "--episodes", "8", "--queries", "5")
FOLDER = ("run", "--method", "nearest-centroid", "--dataset", "folder", *FEW, "--data-root")


def photographs(root: Path, prefix: str, step: int) -> Path:
    """Five test classes of eight grey images, `step` shades apart."""
    for c in range(5):
        (root / "test" / f"{prefix}{c}").mkdir(parents=True)
        for i in range(8):
            Image.new("L", (8, 8), 20 + step * c).save(root / "test" / f"{prefix}{c}" / f"{i}.png")
    return root


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Images that their class's shade gives away."""
    return photographs(tmp_path / "shades of grey", "shade", 50)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Images that are all alike."""
    return photographs(tmp_path / "flat", "flat", 0)


def test_a_folder_is_tested_on_another_folder(shades: Path, flat: Path, tmp_path: Path) -> None:
    """Beside the result on the first, with an identity and a split of its own; the record names neither place."""
    out = tmp_path / "runs"
    finished(*FOLDER, shades, "--out", out)
    finished(*FOLDER, shades, "--test-data-root", flat, "--out", out)
    run = only_run(out)
    own, others = content(run)["results"]
    assert (own["mean"], others["mean"]) == (1.0, 0.2)
    assert "data" not in own and others["data"]["identity"] != content(run)["data"]["identity"]
    assert "flat0,test" in (run / f"split-{others['id']}.csv").read_text()
    assert f"--test-data-root {ELSEWHERE}" in others["command"]
    assert str(tmp_path) not in json.dumps(content(run))


def test_a_finished_run_is_tested_on_another_folder(shades: Path, flat: Path, tmp_path: Path) -> None:
    """With the numbers of a run that asked for it at once."""
    finished(*FOLDER, shades, "--out", tmp_path / "later")
    later = only_run(tmp_path / "later")
    finished("test", later, "--data-root", shades, "--test-data-root", flat)
    finished(*FOLDER, shades, "--test-data-root", flat, "--out", tmp_path / "at once")
    at_once = load_record(only_run(tmp_path / "at once"))
    assert load_record(later).results[1]["id"] == at_once.results[0]["id"]
    assert (load_record(later).scores(at_once.results[0]["id"]) == at_once.scores(at_once.results[0]["id"])).all()


@pytest.mark.parametrize("added", [(), ("--test-data-root",)])
def test_the_command_of_the_summary_has_this_machines_folders(
    shades: Path, flat: Path, tmp_path: Path, added: tuple[str, ...]
) -> None:
    """Both of its parts run as they stand, and the record's own names the folder that must be said."""
    finished(*FOLDER, shades, "--out", tmp_path / "runs")
    elsewhere = (*added, flat) if added else ("--episodes", "9")
    said = finished("test", only_run(tmp_path / "runs"), "--data-root", shades, *elsewhere)
    (again,) = (line.removeprefix("again").strip() for line in said.out.splitlines() if line.startswith("again"))
    for part in again.split(" && "):
        program, *arguments = shlex.split(part)
        assert program == "fsbench"
        finished(*arguments, "--out", tmp_path / "runs again")
    first, second = (content(only_run(tmp_path / name)) for name in ("runs", "runs again"))
    assert first["results"] == second["results"]


def test_a_further_test_says_again_where_the_data_lie(shades: Path, flat: Path, tmp_path: Path) -> None:
    """Exit 2, as the record cannot know; or it says that the data of training are meant."""
    finished(*FOLDER, shades, "--test-data-root", flat, "--out", tmp_path / "runs")
    more = ("test", only_run(tmp_path / "runs"), "--episodes", "9", "--data-root", shades)
    said = call(*more)
    assert said.code == 2
    assert "tested on folder from another place" in said.complaint
    finished(*more, "--test-data-root", flat)
    assert load_record(only_run(tmp_path / "runs")).results[1]["mean"] == 0.2
    said = finished(*more, "--test-dataset", "folder")
    assert f"--test-data-root {ELSEWHERE}" in said.out  # of the run's own test, whose place was not said again
    assert load_record(only_run(tmp_path / "runs")).results[2]["mean"] == 1.0


def test_a_result_is_not_given_for_other_images(shades: Path, flat: Path, tmp_path: Path) -> None:
    """Exit 3: what is there was computed from the images of training."""
    finished(*FOLDER, shades, "--out", tmp_path / "runs")
    run = only_run(tmp_path / "runs")
    assert "Already done" in finished("test", run, "--data-root", shades).err
    assert "Already done" in finished("test", run).err
    for shard in ((), ("--shard", "1/1")):
        said = call("test", run, "--data-root", flat, *shard)
        assert said.code == 3
        assert "was trained on other images" in said.complaint


def test_a_place_that_nothing_is_read_from_is_told(shades: Path, tmp_path: Path) -> None:
    """Images that are in the cache, and functions, are of no folder that is named; the user's own images always are."""
    out = ("--out", tmp_path / "runs")
    finished(*PIXELS, *out)
    unread = f"--data-root {tmp_path} is not read: "
    assert f"{unread}the images of glyphs are in the cache" in finished(*PIXELS, *out, "--data-root", tmp_path).err
    functions = (
        "--method",
        "maml",
        "--dataset",
        "sinusoid",
        "--protocol",
        "custom",
        "--episodes",
        "2",
        "--set",
        "updates=0",
    )
    said = call("run", *functions, *out, "--data-root", tmp_path)
    assert f"{unread}sinusoid has no files" in said.err
    assert "is not read" not in finished(*FOLDER, shades, *out).err + finished(*FOLDER, shades, *out).err


def test_seeds_are_of_one_method_whatever_is_edited_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is read once, before the first of them trains."""
    source = tmp_path / "mine.py"
    source.write_text((Path(__file__).parents[1] / "support" / "linear_method.py").read_text())

    begin = Bars.training

    def edited(bars: Bars, at: Progressed, updates: int) -> None:
        source.write_text("no Python at all")
        begin(bars, at, updates)

    monkeypatch.setattr(Bars, "training", edited)
    said = finished(
        *("run", "--method", f"{source}:Linear", *FEW, "--set", "updates=2", "--set", "meta_batch_size=2"),
        *("--set", "validation.every=2", "--set", "validation.episodes=4", "--seeds", "0-1", "--out", tmp_path / "runs"),
        "--json",
    )
    assert len({record["method"]["source_sha256"] for record in json.loads(said.out)}) == 1


def test_the_pixels_of_one_data_set_need_no_second_place(tmp_path: Path) -> None:
    """A place for the test of a data set that is drawn is that data set once more."""
    finished(*PIXELS, "--out", tmp_path / "runs")
    finished(*PIXELS, "--test-data-root", tmp_path, "--out", tmp_path / "runs")
    first, second = load_record(only_run(tmp_path / "runs")).results
    assert first["mean"] == second["mean"]


TWO = ("--set", "updates=2", "--set", "train.queries=2", "--set", "validation.queries=2")


def plain_folder(root: Path, prefix: str, classes: int, split: str = "") -> Path:
    """Class folders of eight images each, a shade a class."""
    for c in range(classes):
        folder = root / f"{prefix}{c:02}"
        folder.mkdir(parents=True)
        for i in range(8):
            Image.new("L", (8, 8), 5 + 9 * c).save(folder / f"{i}.png")
    if split:
        (root / "split.csv").write_text(split)
    return root


def splits_of(run: Path) -> dict[str, int]:
    """How many classes of each split a result kept beside the record has."""
    (kept,) = run.glob("split-*.csv")
    return Counter(line.rpartition(",")[2] for line in kept.read_text().splitlines()[1:])


@pytest.mark.parametrize("form", ["folder", "arrays"])
@pytest.mark.parametrize("how", ["another root", "another data set", "a later test"])
def test_images_that_are_given_for_the_test_alone_are_all_for_the_test(form: str, how: str, tmp_path: Path) -> None:
    """Twenty classes are twenty, where a split that is drawn would leave five: all of them at once are a task."""
    root = plain_folder(tmp_path / "twenty", "class", 20)
    if form == "arrays":
        images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(root.rglob("*.png"))])
        root = tmp_path / "twenty.npz"
        np.savez(root, images=images, labels=np.repeat([f"class{c:02}" for c in range(20)], 8))
    few, out = (*FEW, "--ways", 20), ("--out", tmp_path / "runs")
    first = ("run", "--method", "nearest-centroid", *few, *out, "--dataset")
    squares = ("--set", "data.side=8", "--set", "data.channels=3")
    own = plain_folder(tmp_path / "own", "own", 5, "class,split\n" + "".join(f"own{c:02},test\n" for c in range(5)))
    if how == "another root" and form == "folder":
        finished(*first, "folder", "--data-root", own, "--test-data-root", root, *squares)
    elif how == "a later test":
        finished("run", "--method", "nearest-centroid", *FEW, *out, "--dataset", "folder", "--data-root", own, *squares)
        place = ("--data-root", own, "--test-data-root", root)
        finished("test", only_run(tmp_path / "runs"), "--ways", 20, "--test-dataset", form, *place)
    else:
        place = ("--data-root", own, "--test-data-root", root)
        finished(*first, "folder", "--test-dataset", form, *place, *squares)
    assert splits_of(only_run(tmp_path / "runs")) == {"test": 20}
    assert load_record(only_run(tmp_path / "runs")).results[-1]["mean"] == 1.0


def test_of_images_that_state_a_split_its_test_part_is_tested(tmp_path: Path) -> None:
    """Which is said, each time."""
    split = "class,split\n" + "".join(f"class{c:02},{'test' if c < 6 else 'train'}\n" for c in range(20))
    root = plain_folder(tmp_path / "twenty", "class", 20, split)
    for _ in range(2):
        said = finished(
            *("run", "--method", "nearest-centroid", *FEW, "--dataset", "digits", "--test-dataset", "folder"),
            *("--data-root", root, "--out", tmp_path / "runs", "--on-existing", "overwrite"),
        )
        assert "Tested on the 6 test classes of 20 in folder" in said.err
        assert "split.csv" in said.err
    assert splits_of(only_run(tmp_path / "runs")) == {"test": 6, "train": 14}


def test_a_seed_for_images_of_the_test_alone_is_refused(tmp_path: Path) -> None:
    """Exit 2: nothing is drawn."""
    root = plain_folder(tmp_path / "twenty", "class", 20)
    said = call(
        *("run", "--method", "nearest-centroid", *FEW, "--dataset", "digits", "--test-dataset", "folder"),
        *("--data-root", root, "--set", "test_data.split_seed=1", "--out", tmp_path / "runs"),
    )
    assert said.code == 2
    assert "data.split_seed applies only to a split that is drawn; all these images are for the test" in said.complaint


def test_the_test_classes_of_a_folder_are_tested_where_it_is_one_of_several(tmp_path: Path) -> None:
    """It was trained on in part: the rest of its drawn split is not for the test."""
    root = plain_folder(tmp_path / "twenty", "class", 20)
    trained = DataChoice.of("folder+glyphs").build({"side": 28, "channels": 1}, root)
    tested, again = (DataChoice.of("folder").build_like(trained, {}, root, other) for other in (None, root))
    elsewhere = DataChoice.of("folder").build_like(trained, {}, root, plain_folder(tmp_path / "more", "more", 4))
    assert isinstance(tested, Dataset) and isinstance(again, Dataset) and isinstance(elsewhere, Dataset)
    assert [len(one.classes()["test"]) for one in (tested, again, elsewhere)] == [5, 5, 4]


def test_one_folder_for_training_and_for_the_test_is_refused(tmp_path: Path) -> None:
    """Exit 2, with what to leave out: its 10 classes of training and 5 of validation are among those of the test."""
    root = plain_folder(tmp_path / "twenty", "class", 20)
    said = call(
        *("run", "--method", LINEAR, *FEW, "--dataset", "folder", "--data-root", root, "--test-data-root", root),
        *(
            "--set",
            "data.side=8",
            "--set",
            "updates=2",
            "--set",
            "train.queries=2",
            "--set",
            "validation.queries=2",
            "--out",
            tmp_path / "runs",
        ),
    )
    assert said.code == 2
    assert "15 test classes of folder are trained or selected on in folder" in said.complaint
    assert "Both lie in one place: without --test-data-root the test is on its own test classes." in said.complaint


@pytest.mark.parametrize("name", ["Own00", "own00 ", "\uff4fwn00", "own\u200b00"])
def test_a_test_class_whose_name_looks_like_one_of_training_is_refused(name: str, tmp_path: Path) -> None:
    """Exit 2, with both names."""
    split = "class,split\n" + "".join(f"own{c:02},{'val' if c > 4 else 'train'}\n" for c in range(10))
    own = plain_folder(tmp_path / "own", "own", 10, split)
    others = plain_folder(tmp_path / "others", "other", 5)
    (others / "other00").rename(others / name)
    said = call(
        *("run", "--method", LINEAR, *FEW, "--dataset", "folder", "--data-root", own, "--test-data-root", others),
        *(
            "--set",
            "data.side=8",
            "--set",
            "updates=2",
            "--set",
            "train.queries=2",
            "--set",
            "validation.queries=2",
            "--out",
            tmp_path / "runs",
        ),
    )
    assert said.code == 2
    assert "1 test classes of folder are trained or selected on in folder" in said.complaint
    assert "(there own00)" in said.complaint


def test_numbers_that_name_no_class_are_told(tmp_path: Path) -> None:
    """Arrays of integers say nothing of what their classes are: exit 2, with what does."""
    images, labels = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8), np.repeat(range(10), 8)
    np.savez(tmp_path / "one.npz", images=images[:80], labels=labels, splits=["train"] * 40 + ["val"] * 40)
    np.savez(tmp_path / "two.npz", images=images[80:], labels=labels[:40])
    said = call(
        *("run", "--method", LINEAR, *FEW, "--dataset", "arrays", "--data-root", tmp_path / "one.npz"),
        *(
            "--test-data-root",
            tmp_path / "two.npz",
            "--set",
            "updates=2",
            "--set",
            "train.queries=2",
            "--set",
            "validation.queries=2",
        ),
        *("--out", tmp_path / "runs"),
    )
    assert said.code == 2
    assert "Numbers may be other classes there: give them names (an array `names`, or folders)." in said.complaint


READ_OTHERWISE = ("data.resize=squash", "data.depth=14", "data.background=black")


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Five test classes of noise."""
    files = {f"test/noise{c}/{i}.png": encoded(noise(10 * c + i)) for c in range(5) for i in range(8)}
    return write(tmp_path / "noisy", files)


def with_settings(*settings: str) -> list[str]:
    """As `--set` takes them."""
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.parametrize("stated", [(), ("test_data.resize=crop", "test_data.depth=12")])
def test_the_images_of_a_test_are_read_as_those_of_its_training(
    shades: Path, noisy: Path, tmp_path: Path, stated: tuple[str, ...]
) -> None:
    """In every option that says how, unless the test's own options do; the record's command makes the same result."""
    settings = with_settings(*READ_OTHERWISE, *stated)
    finished(*FOLDER, shades, "--test-data-root", noisy, "--out", tmp_path / "runs", *settings)
    run = only_run(tmp_path / "runs")
    (result,) = content(run)["results"]
    wanted = {"resize": "squash", "depth": 14, "background": "black"} | ({"resize": "crop", "depth": 12} if stated else {})
    assert result["test"]["data"] == wanted
    again = shlex.split(result["command"].replace(ELSEWHERE, shlex.quote(str(noisy))))[1:]
    finished(*again, "--data-root", shades, "--out", tmp_path / "again")
    assert [one["id"] for one in content(only_run(tmp_path / "again"))["results"]] == [result["id"]]


def test_a_test_added_later_is_read_as_its_training_was(shades: Path, noisy: Path, tmp_path: Path) -> None:
    """By `fsbench test`, as by `fsbench run`."""
    finished(*FOLDER, shades, "--out", tmp_path / "runs", *with_settings(*READ_OTHERWISE))
    run = only_run(tmp_path / "runs")
    finished("test", run, "--data-root", shades, "--test-data-root", noisy)
    assert content(run)["results"][1]["test"]["data"] == {"resize": "squash", "depth": 14, "background": "black"}


def test_arrays_are_resized_as_the_folder_that_was_trained_on(shades: Path, tmp_path: Path) -> None:
    """An option that two data sets share holds for both."""
    trained = DataChoice.of("folder").build({"side": 8, "resize": "squash"}, shades)
    images = np.stack([noise(i) for i in range(20)])
    np.savez(tmp_path / "own.npz", images=images, labels=np.repeat(np.arange(5), 4))
    tested = DataChoice.of("arrays").build_like(trained, {}, None, tmp_path / "own.npz")
    assert tested.options["resize"] == "squash" and tested.options["side"] == 8


def deep(root: Path, most: int, shift: int) -> Path:
    """Four test classes of images of 16 bits, whose largest value is `most`."""
    for c in range(4):
        for i in range(6):
            values = np.random.default_rng((shift, c, i)).integers(0, most + 1, (8, 8, 1))
            values[i, c] = most
            file = root / "test" / f"deep{shift}-{c}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(deep_png(values))
    return root


def test_a_depth_that_training_and_test_would_choose_apart_is_refused(tmp_path: Path) -> None:
    """One value would be two greys. Each of the two settings that are named mends it."""
    roots = deep(tmp_path / "a", 4000, 3), deep(tmp_path / "b", 9000, 7)
    asked = ["run", "--method", "nearest-centroid", "--dataset", "folder", "--protocol", "custom", "--episodes", "8"]
    asked += ["--ways", "3", "--queries", "3", "--data-root", roots[0], "--test-data-root", roots[1]]
    said = call(*asked, "--out", tmp_path / "runs")
    assert said.code == 2
    assert "Images of 16 bits are read as of 12 in training, as of 14 in folder" in said.complaint
    for setting in ("data.depth=14", "test_data.depth=12"):
        assert setting in said.complaint
        finished(*asked, "--out", tmp_path / setting, *with_settings(setting))
