"""`fsbench explain` and `--keep predictions`, against scikit-learn and the metric `ece`."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import NAMED, TINY, assert_refused, call, content, finished, one_thread, only_run
from safetensors.numpy import load_file, save_file
from scipy import stats
from sklearn.metrics import confusion_matrix

from fewshot_bench.metrics import calibration_error
from fewshot_bench.request import TestRequest
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers, Predictions
from fewshot_bench.results.calibration import calibration
from fewshot_bench.results.drawn_queries import draw_queries
from fewshot_bench.results.explanation import classes_said
from fewshot_bench.results.records import load_record
from fewshot_bench.runs.scores import ExtraScores

EPISODES, QUERIES = 60, 4
RUN = ("run", "--method", "nearest-centroid", "--dataset", "digits", "--protocol", "custom", "--ways", 4)
SIZE = ("--episodes", EPISODES, "--queries", QUERIES)
KEEP = ("--keep", "predictions")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that kept its predictions, beside the outputs that were scored."""
    out, seen = tmp_path_factory.mktemp("made"), []
    usual = ExtraScores.__call__

    def spy(self: ExtraScores, source: object, first: int, tasks: object, outputs: torch.Tensor) -> None:
        seen.append(outputs.clone())
        usual(self, source, first, tasks, outputs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(ExtraScores, "__call__", spy)
        finished(*RUN, *SIZE, *KEEP, "--set", "test.extra_metrics=ece", "--out", out)
    torch.save(torch.cat(seen), out / "seen.pt")
    return only_run(out)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made, tmp_path / "runs" / made.name))


def tables(*arguments: object) -> dict[str, dict[str, object]]:
    """The tables of an explanation by part."""
    return {table["part"]: table for table in json.loads(finished("explain", *arguments, "--json").out)["tables"]}


def test_confused_classes_are_those_of_scikit_learn(made: Path) -> None:
    """Labels are of an episode; the class that each means is told by the episode alone."""
    record = load_record(made)
    (result,) = record.results
    drawn, answers = draw_queries(record, result, TestRequest()), record.answers(result)
    assert answers is not None
    said = torch.load(made.parent / "seen.pt").argmax(-1).numpy()  # [E, Q]
    true_names, said_names = [], []
    for number in range(EPISODES):
        episode = drawn.episode(number)
        of_label = {}
        for image, label in zip(episode.support[0], episode.support_y[0], strict=True):
            of_label[label] = next(name for name, end in zip(drawn.names, drawn.starts[1:], strict=True) if image < end)
        true_names += [of_label[label] for label in episode.query_y[0]]
        said_names += [of_label[label] for label in said[number]]
    matrix = confusion_matrix(true_names, said_names, labels=drawn.names)
    found = tables(made)["confusions"]["rows"]
    counted = {(row["true"], row["said"]): row["times"] for row in found}  # type: ignore[index, union-attr]
    expected = {(drawn.names[i], drawn.names[j]): int(matrix[i, j]) for i, j in np.argwhere(matrix) if i != j}
    assert counted == expected and expected
    hardest = {row["class"]: row["accuracy"] for row in tables(made)["classes"]["rows"]}  # type: ignore[index, union-attr]
    assert hardest == pytest.approx({name: matrix[i, i] / matrix[i].sum() for i, name in enumerate(drawn.names)})
    assert min(hardest.values()) == next(iter(hardest.values()))


def test_a_pair_is_counted_among_the_episodes_that_show_both(made: Path) -> None:
    """By a plain loop."""
    record = load_record(made)
    drawn = draw_queries(record, record.results[0], TestRequest())
    shown = [{drawn.names[place] for place in of_episode} for of_episode in drawn.by_label]
    for row in tables(made)["confusions"]["rows"]:  # type: ignore[union-attr]
        both = sum({row["true"], row["said"]} <= names for names in shown)
        assert (row["episodes"], row["chances"]) == (both, QUERIES * both)


def test_calibration_is_that_of_the_metric(made: Path) -> None:
    """The mean of the episodes' errors is the record's `ece`, and the one over all answers that of one long episode."""
    outputs = torch.load(made.parent / "seen.pt").double()
    record = load_record(made)
    found = tables(made)["calibration"]
    assert found["ece_by_episode"] == pytest.approx(record.results[0]["extra"]["ece"]["mean"], abs=1e-12)
    answers, predictions = record.answers(record.results[0]), record.predictions(record.results[0])
    assert answers is not None and predictions is not None
    labels = torch.where(torch.from_numpy(answers.right), outputs.argmax(-1).reshape(-1), -1)
    whole = calibration_error(outputs.reshape(1, -1, 4), labels[None].clamp(-1))
    assert found["ece"] == pytest.approx(float(whole), abs=1e-12)
    assert np.array_equal(predictions.confidence, outputs.softmax(-1).amax(-1).reshape(-1).numpy())


def test_the_interval_of_a_bin_is_students_where_episodes_have_as_many() -> None:
    """A ratio of sums whose lower sums are equal is a mean."""
    random = np.random.Generator(np.random.Philox(3))
    right = random.integers(0, 2, (20, 6)).astype(bool)
    answers = Answers(np.full(20, 6), right.reshape(-1))
    (one,) = calibration(answers, Predictions(np.zeros(120, int), np.full(120, 0.5))).bins
    ends = stats.t.interval(0.95, 19, right.mean(), stats.sem(right.mean(1)))
    assert one.interval is not None and (one.interval.low, one.interval.high) == pytest.approx(ends)
    assert (one.low, one.high, one.answers) == (pytest.approx(7 / 15), pytest.approx(8 / 15), 120)


def test_the_interval_of_a_bin_ends_at_0_and_1() -> None:
    """Two answers of two episodes, of which one is right: Student's t with one degree of freedom spans far more."""
    answers = Answers(np.ones(2, int), np.array([True, False]))
    (one,) = calibration(answers, Predictions(np.zeros(2, int), np.full(2, 0.5))).bins
    assert one.interval is not None and (one.interval.low, one.interval.high) == (0, 1)


def test_it_is_read_in_80_columns_and_every_form(made: Path) -> None:
    """And the page shows each image of an episode, asks for nothing else, and runs no script."""
    page = made.parent / "hard.html"
    text = finished("explain", made, "--page", page, "--episodes", 2).out
    assert max(map(len, text.replace(str(page), "").splitlines())) <= 80
    for title in ("Hardest classes", "Most confused classes", "Calibration", "Hardest episodes"):
        assert title in text and title in page.read_text()
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 2 * 4 * (1 + QUERIES)
    assert not re.search(r"<script|https?:|<link|url\(", html)
    worst = np.sort(load_record(made).scores(load_record(made).results[0]))[:2]
    assert [int(one) for one in re.findall(r"(\d+) of 16 right", html)] == (worst * 16).round().astype(int).tolist()
    for form in ("markdown", "csv", "latex"):
        assert "Hardest" in (said := finished("explain", made, "--format", form).out) or (form == "csv" and "," in said)


def test_without_predictions_a_part_is_told_and_the_command_for_the_rest(folder: Path) -> None:
    """The command adds them, and changes nothing else of the record."""
    (folder / answer_files.PREDICTIONS).unlink()
    before = (folder / "record.json").read_bytes()
    said = finished("explain", folder)
    assert "Hardest classes" in said.out and "Calibration" not in said.out
    found = json.loads(finished("explain", folder, "--json").out)["missing"]
    (command,) = (one.partition("Add them: ")[2] for one in found)
    assert command == f"fsbench test {folder} --keep predictions"
    finished(*command.split()[1:])
    assert (folder / "record.json").read_bytes() == before
    assert "Calibration" in finished("explain", folder).out
    assert "Already done" in finished(*command.split()[1:]).err


def test_without_answers_or_images_the_hardest_episodes_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their scores; the page is refused with what mends it."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "empty"))
    said = finished("explain", folder).out
    assert "Hardest episodes" in said and "Calibration" in said and "fsbench data get digits" in " ".join(said.split())
    assert re.search(r"^class \d ", said, re.MULTILINE) and max(map(len, said.splitlines())) <= 80
    assert_refused(call("explain", folder, "--page", tmp_path / "x.html"), 2, "--page", "fsbench data get digits")
    monkeypatch.undo()
    for name in (answer_files.NAME, answer_files.PREDICTIONS):
        (folder / name).unlink()
    said = finished("explain", folder).out
    assert "Hardest episodes" in said and "Hardest classes\n" not in said and "an older version made it" in said


def test_mistakes_are_told_before_any_work(folder: Path, tmp_path: Path) -> None:
    """What to keep, of what kind, and how much; which result."""
    assert_refused(call(*RUN, *SIZE, "--keep", "answers", "--out", tmp_path / "a"), 2, "predictions")
    assert_refused(call(*RUN, "--episodes", 3_000_000, *KEEP, "--out", tmp_path / "a"), 2, "--episodes", "MB")
    functions = ("run", "--method", "maml", "--dataset", "sinusoid", *KEEP, "--out", tmp_path / "a")
    assert_refused(call(*functions), 2, "--keep", "classification")
    assert not (tmp_path / "a").exists()
    finished("test", folder, "--shots", 2)
    assert_refused(call("explain", folder), 2, "--result")
    finished("explain", folder, "--result", load_record(folder).results[1]["id"][:5])
    for option, given in (("--episodes", 0), ("--classes", -1), ("--page", "x.png")):
        assert_refused(call("explain", folder, "--result", "", option, given), 2, option)


DAMAGE = {
    "other labels": (lambda t, name: t.update({f"{name}/label": (t[f"{name}/label"] + 1) % 4}), "right in one file"),
    "no label": (lambda t, name: t[f"{name}/label"].__setitem__(0, 9), "none of its episode"),
    "a confidence below chance": (lambda t, name: t[f"{name}/confidence"].__setitem__(0, 0.1), "is no probability"),
    "not a number": (lambda t, name: t[f"{name}/confidence"].__setitem__(0, np.nan), "is no probability"),
    "too few": (lambda t, name: t.update({f"{name}/label": t[f"{name}/label"][1:]}), "the labels of result"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_predictions_are_refused(folder: Path, kind: str) -> None:
    """With exit code 3."""
    change, said = DAMAGE[kind]
    tensors = load_file(folder / answer_files.PREDICTIONS)
    change(tensors, load_record(folder).results[0]["id"])
    save_file(tensors, folder / answer_files.PREDICTIONS)
    assert_refused(call("explain", folder), 3, "is damaged", said)


def test_they_change_no_id_and_travel_with_the_run(tmp_path: Path) -> None:
    """The same record but for what was asked; `verify` computes them again; parts carry them; the command keeps them."""
    finished(*TINY, "--out", tmp_path / "plain")
    finished(*TINY, *KEEP, "--out", tmp_path / "kept")
    plain, kept = only_run(tmp_path / "plain"), only_run(tmp_path / "kept")
    assert plain.name == kept.name
    text = json.dumps(content(kept)).replace(" --keep predictions", "").replace(', "keep": "predictions"', "")
    assert json.loads(text) == content(plain)
    assert (plain / answer_files.NAME).read_bytes() == (kept / answer_files.NAME).read_bytes()
    assert "all 200 are the same, bit for bit" in finished("verify", kept, *NAMED).out
    whole = Path(shutil.copytree(kept, tmp_path / "whole"))
    more = (*NAMED, "--shots", 2, "--episodes", 80, *KEEP)
    finished("test", whole, *more)
    for part in ("2/2", "1/2"):
        finished("test", kept, *more, "--shard", part)
    for name in (answer_files.NAME, answer_files.PREDICTIONS):
        assert (kept / name).read_bytes() == (whole / name).read_bytes()
    finished("pack", kept, tmp_path / "x.zip")
    finished("unpack", tmp_path / "x.zip", "--out", tmp_path / "other")
    assert (tmp_path / "other" / kept.name / answer_files.PREDICTIONS).is_file()


def test_the_class_that_is_said_follows_from_the_episode_also_of_varying_ways(tmp_path: Path) -> None:
    """A right answer says the class of its query, a wrong one another of its episode."""
    finished(*RUN[:-2], "--ways", 2, "--set", "test.max_ways=5", *SIZE, *KEEP, "--out", tmp_path)
    record = load_record(only_run(tmp_path))
    (result,) = record.results
    drawn = draw_queries(record, result, TestRequest())
    answers, predictions = record.answers(result), record.predictions(result)
    assert answers is not None and predictions is not None
    said = classes_said(drawn, answers, predictions)
    assert ((said == drawn.classes) == answers.right).all() and not answers.right.all()
    for place, number in enumerate(answers.episodes):
        assert said[place] in drawn.by_label[number]
