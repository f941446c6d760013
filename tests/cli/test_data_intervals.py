"""Intervals on new images and new classes, and disjoint episodes, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call, finished
from scipy import stats

from fewshot_bench.results.records import load_record

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
PIXELS = ("run", "--method", "nearest-centroid", "--protocol", "custom", "--episodes", "30", "--queries", "5")


@pytest.fixture(scope="module")
def cifar() -> list[Path]:
    """Two published results on CIFAR-FS, 5-way 1-shot."""
    return sorted(RESULTS.glob("*-cifar-fs-6171deee403a")) + sorted(RESULTS.glob("*-cifar-fs-91b167ed8639"))


def rows(*command: object) -> list[dict[str, Any]]:
    """Of the first table."""
    return list(json.loads(finished(*command, "--json").out)["tables"][0]["rows"])


def test_a_table_shows_both(cifar: list[Path]) -> None:
    """New images are a wider question than more episodes, and new classes a far wider one where there are 20."""
    for row in rows("table", *cifar, "--over", "images", "--over", "classes"):
        usual = row["high"] - row["low"]
        assert usual < row["over-images-high"] - row["over-images-low"] < 2 * usual
        assert row["over-classes-high"] - row["over-classes-low"] > 10 * usual
        assert "20 classes in 2,000 episodes" in row["over-classes-interval"]
        assert row["estimand"] == "this checkpoint, on more episodes of these images"
    text = finished("table", *cifar, "--over", "classes").out
    assert "± classes: the 95% interval of the mean on new classes of this kind." in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_table_says_why_an_interval_is_missing() -> None:
    """On Omniglot the images cannot be told from their classes."""
    (folder,) = RESULTS.glob("prototypical-networks-omniglot-ce86becd3f3c")
    text = " ".join(finished("table", folder, "--over", "images").out.split())
    assert "No ± images: two test episodes that share a class nearly always share images" in text


def test_a_comparison_on_new_classes(cifar: list[Path]) -> None:
    """The difference is the same, its interval wider; the classes that both were tested on make it narrower than apart."""
    usual, new = ({row["first"]: row for row in _pairs(*cifar, *more)} for more in ((), ("--over", "classes")))
    (one,), (other,) = usual.values(), new.values()
    assert other["difference"] == one["difference"]
    assert other["high"] - other["low"] > 2 * (one["high"] - one["low"])
    assert other["narrower"] > 3
    assert other["estimand"] == "these checkpoints, on new classes of this kind"
    text = " ".join(finished("compare", *cifar, "--over", "classes").out.split())
    assert "Speaks of these checkpoints alone, on new classes of this kind" in text


def _pairs(*command: object) -> list[dict[str, Any]]:
    tables = json.loads(finished("compare", *command, "--json").out)["tables"]
    return next(list(table["rows"]) for table in tables if table["part"] == "pairs")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("table", "--over", "colour"), "Unknown --over 'colour'."),
        (("table", "--interval", "z"), "Unknown --interval 'z'."),
        (("compare", "--over", "colour"), "Unknown --over 'colour'."),
        (("compare", "--over", "classes", "--unpaired"), "leave out --unpaired"),
        (("compare", "--over", "classes", "--by", "class"), "leave --over classes out"),
    ],
)
def test_what_is_not_a_question_is_refused(cifar: list[Path], command: tuple[str, ...], text: str) -> None:
    """With the questions that there are."""
    said = call(*command, *cifar)
    assert (said.code, text in said.err) == (2, True)


def test_a_comparison_that_cannot_be_made_on_new_images_says_so() -> None:
    """And what can be."""
    folders = [next(RESULTS.glob(f"prototypical-networks-omniglot-{run}")) for run in ("ce86becd3f3c", "440a2e0ba208")]
    said = call("compare", *folders, "--over", "images")
    assert said.code == 2
    assert "nearly always share images" in said.complaint
    assert "Leave --over images out" in said.complaint


def test_a_bootstrap_is_scipys(cifar: list[Path]) -> None:
    """BCa, and the same each time."""
    (row,) = rows("table", cifar[0], "--interval", "bca")
    record = load_record(cifar[0])
    scores = record.scores(record.results[0])
    due = stats.bootstrap((scores,), np.mean, n_resamples=9_999, method="BCa", batch=500, rng=np.random.default_rng(0))
    assert (row["low"], row["high"]) == tuple(due.confidence_interval)
    assert "BCa bootstrap interval (9,999 resamples)" in row["interval"]


def test_disjoint_episodes(tmp_path: Path) -> None:
    """They are a test of their own, with a title, an interval and a command that say so."""
    said = finished(*PIXELS, "--sampling", "disjoint", "--out", tmp_path)
    assert "without an image in common: speaks of new images of these classes" in said.out
    assert "--sampling disjoint" in said.out
    finished(*PIXELS, "--out", tmp_path)
    tables = json.loads(finished("table", tmp_path, "--json").out)["tables"]
    assert sorted(table["title"] for table in tables) == [
        "glyphs, 5-way 1-shot, disjoint episodes, protocol custom",
        "glyphs, 5-way 1-shot, protocol custom",
    ]
    (row,) = next(table["rows"] for table in tables if "disjoint" in table["title"])
    assert row["estimand"] == "this checkpoint, on new images of these classes"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--protocol", "standard"), "--protocol custom"),
        (
            ("--protocol", "custom", "--episodes", "5000"),
            "5-way 1-shot with 15 queries a class, not 5,000: --episodes",
        ),
        (("--protocol", "custom", "--set", "test.unlabelled=2"), "leave unlabelled out"),
        (("--protocol", "custom", "--dataset", "sinusoid"), "leave test.sampling out"),
    ],
)
def test_disjoint_episodes_that_cannot_be_are_refused(tmp_path: Path, more: tuple[str, ...], text: str) -> None:
    """Before any work, with the largest number that there are."""
    method = "maml" if "sinusoid" in more else "nearest-centroid"
    said = call("run", "--method", method, "--sampling", "disjoint", *more, "--out", tmp_path / "runs")
    assert (said.code, text in said.err, (tmp_path / "runs").exists()) == (2, True, False)
