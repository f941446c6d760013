"""Data sets of one name in two places: trained on one folder, tested on another."""

import json
import shlex
from pathlib import Path

import pytest
from command_line import PIXELS, call, content, finished, only_run
from PIL import Image

from fewshot_bench.cli.progress import Bars
from fewshot_bench.records import load_record
from fewshot_bench.reproduce import ELSEWHERE, request_of
from fewshot_bench.training import Progressed

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


def test_the_request_of_a_command_knows_that_a_place_is_missing() -> None:
    """It is where the record's command says so."""
    request = request_of(f"fsbench run --method maml --test-data-root {ELSEWHERE}")
    assert request.test_data_root == Path(ELSEWHERE)


def test_seeds_are_of_one_method_whatever_is_edited_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is read once, before the first of them trains."""
    source = tmp_path / "mine.py"
    source.write_text(Path(__file__).with_name("linear_method.py").read_text())

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
