"""Where a difference comes from: by class, against a plain loop over the episodes and scipy's paired t."""

import csv
import io
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from command_line import LINEAR, assert_refused, call, finished
from scipy import stats

import fewshot_bench
from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.prepare import open_prepared
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.errors import DataError
from fewshot_bench.results.answer_files import NAME
from fewshot_bench.results.by_class import of_classes
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.storage import write_json

EPISODES, QUERIES = 40, 3
SIZE = ("--protocol", "custom", "--ways", 2, "--queries", QUERIES)
TRAINED = ("--set", "updates=2", "--set", "meta_batch_size=2", "--set", "validation=none")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on the digits, the second trained on glyphs, on a longer test of the same stream."""
    out: Path = tmp_path_factory.mktemp("runs")
    finished("run", "--method", "nearest-centroid", "--dataset", "digits", *SIZE, "--episodes", EPISODES, "--out", out)
    more = ("--test-dataset", "digits", "--episodes", EPISODES + 300)
    finished("run", "--method", LINEAR, *SIZE, *TRAINED, *more, "--out", out)
    return out


def by_loop(record: Record) -> dict[str, list[float]]:
    """For each class its share of right answers in each of the first episodes that show it."""
    data = DataChoice.of("digits").build({}, None)
    prepared = open_prepared("digits", data)  # type: ignore[arg-type]
    assert prepared is not None
    bank = prepared.bank("test")
    sampler, answers = EpisodeSampler(bank, 2, 1, QUERIES, 0), record.answers(record.results[0])
    assert answers is not None
    found: dict[str, list[float]] = defaultdict(list)
    right = iter(answers.right.tolist())
    for number in range(EPISODES):
        of_episode: dict[str, list[bool]] = defaultdict(list)
        for image in sampler.block(number, 1).query[0]:
            (place,) = [c for c in range(len(bank.class_names)) if bank.starts[c] <= image < bank.starts[c + 1]]
            of_episode[bank.class_names[place]].append(next(right))
        for name, said in of_episode.items():
            assert len(said) == QUERIES
            found[name].append(sum(said) / QUERIES)
    return found


def test_each_class_is_compared_over_the_episodes_that_show_it(runs: Path) -> None:
    """Accuracies by a plain loop, intervals and p by scipy, parts that add up to the whole difference; and the same from
    Python."""
    by_method = {record.content["train"]["method"]: by_loop(record) for record in find_records(runs)}
    (table,) = json.loads(finished("compare", runs, "--by", "class", "--json").out)["tables"]
    mine, theirs = by_method[table["first_result"]], by_method[table["second_result"]]
    assert {row["class"] for row in table["rows"]} == mine.keys() == theirs.keys()
    compared = 0
    for row in table["rows"]:
        one, other = mine[row["class"]], theirs[row["class"]]
        assert (row["first"], row["second"]) == (pytest.approx(np.mean(one)), pytest.approx(np.mean(other)))
        if one == other:
            assert (row["p"], row["low"], row["high"]) == (1, None, None)
        else:
            test = stats.ttest_rel(one, other)
            ends = test.confidence_interval(0.95)
            assert [row[key] for key in ("p", "low", "high")] == pytest.approx([test.pvalue, ends.low, ends.high], abs=1e-12)
            compared += 1
        assert (row["episodes"], row["queries"]) == (len(one), QUERIES * len(one))
    assert compared > 2
    sizes = [abs(row["difference"]) for row in table["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    comparison = fewshot_bench.compare(runs)[0]
    (judged,) = comparison.family.judged.values()
    assert sum(row["contribution"] for row in table["rows"]) == pytest.approx(judged.pair.difference)
    found = comparison.by_class()
    assert [one.name for one in found.classes] == [row["class"] for row in table["rows"]]
    assert found.difference == pytest.approx(judged.pair.difference)


def test_all_classes_are_in_csv_and_the_largest_in_text(runs: Path) -> None:
    """Within 80 columns, and what is left out is said."""
    text = finished("compare", runs, "--by", "class", "--classes", 1).out
    assert max(map(len, text.splitlines())) <= 80 and "The 1 largest of" in text
    rows = list(csv.DictReader(io.StringIO(finished("compare", runs, "--by", "class", "--format", "csv").out)))
    assert len(rows) > 1


def test_the_queries_of_a_class_are_found_in_any_order() -> None:
    """Also those of an episode that shows a class with more queries than another."""
    classes, episodes = np.array([2, 0, 2, 2, 0, 2]), np.array([0, 0, 0, 1, 2, 1])
    right = np.array([[1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]], dtype=bool)
    zero, two = of_classes(classes, episodes, right)
    assert (zero.place, zero.queries, zero.shares.tolist()) == (0, 2, [[0, 1], [0, 1]])
    assert (two.place, two.queries, two.shares.tolist()) == (2, 4, [[0.5, 1], [0, 0.5]])


def copied(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def test_what_is_missing_is_said_with_what_mends_it(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, images, a data set of another digest; pairs and two results."""
    out = copied(runs, tmp_path)
    folder = next(path.parent for path in out.glob(f"nearest-centroid*/{NAME}"))
    (folder / NAME).unlink()
    assert_refused(call("compare", out, "--by", "class"), 3, "does not say which queries", f"fsbench test {folder}")
    out = copied(runs, tmp_path / "digest")
    for path in out.rglob("record.json"):
        content = json.loads(path.read_text())
        content["results"][0]["digest"] = "d" * 64
        write_json(path, content)
    assert_refused(call("compare", out, "--by", "class"), 3, "are not those that", "data-root DIR")
    assert_refused(call("compare", runs, "--by", "class", "--unpaired"), 2, "leave --unpaired out")
    assert_refused(call("compare", runs, "--by", "clas"), 2, "'class'")
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "empty"))
    out = copied(runs, tmp_path / "older")
    for path in out.rglob("record.json"):
        content = json.loads(path.read_text())
        for data in (content["data"], content["results"][0].get("data", {})):
            data.get("splits", {}).pop("test", None)
        write_json(path, content)
    assert_refused(call("compare", out, "--by", "class"), 3, "not prepared here", "fsbench data get digits")
    with pytest.raises(DataError, match="fsbench data get digits"):
        fewshot_bench.compare(out)[0].by_class()


def test_without_the_data_set_classes_have_numbers(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers otherwise, from the record alone, and a note that says why."""
    whole = fewshot_bench.compare(runs)[0].by_class()
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "empty"))
    alone = fewshot_bench.compare(runs)[0].by_class()
    key = lambda one: (one.first, one.second, one.queries, one.contribution)  # noqa: E731
    assert sorted(map(key, alone.classes)) == sorted(map(key, whole.classes))
    assert {one.name for one in alone.classes} <= {f"class {place}" for place in range(10)}
    assert "fsbench data get digits" in " ".join(finished("compare", runs, "--by", "class").out.split())
