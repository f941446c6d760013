"""The committed records are what the project promises of its methods, made by the recipes and the code that are here."""

import json
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fewshot_bench.errors import FewshotError
from fewshot_bench.identity import run_id
from fewshot_bench.plugins import registry
from fewshot_bench.results.record_models import SCHEMA
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.results.rerun_command import again
from fewshot_bench.specs import TrainSpec
from fewshot_leaderboard.comparison import comparison_tables
from fewshot_leaderboard.measured import made_by_another_version
from fewshot_leaderboard.published import published

FOLDER = Path(__file__).parents[2] / "leaderboard" / "results"
RECORDS = find_records([FOLDER])
PIXELS = ("nearest-centroid", "nearest-neighbour")
GRADIENT = ("maml", "fomaml", "anil", "meta-sgd", "t-net", "mt-net", "reptile", "l2l-maml", "l2l-meta-sgd")
FIRST_EIGHT_ROWS = ("matching-networks", "prototypical-networks", *GRADIENT[:7], "lstm-meta-learner", "tcml", "snail")
"""Of the methods of `methods/README.md`: those that the first papers brought."""
TRAINED = [name for name in registry.registered("methods") if name not in PIXELS and name != "linear"]
EARLIER = ("maml-omniglot-", "prototypical-networks-omniglot-")
"""Trainings of a quarter of an hour and more, which an earlier version made with `default` and `transductive`."""
MINUTES = {"glyphs": 5, "omniglot": 5, "cifar-fs": 10}
"""CPU-minutes of training."""
SLACK = 1.2
"""Other work on the machine shows in the minutes of older records, which are those of the clock."""

UNCOMMITTED = "lstm-meta-learner-cifar-fs-7f5c815ba7d8"
"""Made from changes that were not committed then, so that `renew.py` leaves it as it is: to be made again."""
ON_A_BUSY_MACHINE = "lstm-meta-learner-cifar-fs-a6f528dc4b2f"
"""Made again beside other work, which shows in its minutes; the scores are those of the record before it, bit for bit."""

Result = Mapping[str, Any]


def results(method: str, dataset: str, ways: int | None, shots: int, protocol: str) -> list[Result]:
    """The results of a method's records, whatever the recipe."""
    size = {"dataset": dataset, "shots": shots, "protocol": protocol} | ({"ways": ways} if ways else {})
    found = [result for record in RECORDS if record.content["method"]["name"] == method for result in record.results]
    return [result for result in found if size.items() <= result["test"].items()]


def records_but(name: str, why: str, records: list[Record]) -> list[Any]:
    """Records as parameters of a test that one of them is known to fail."""
    known = pytest.mark.xfail(reason=why, strict=True)
    return [pytest.param(one, marks=known if one.folder.name == name else ()) for one in records]


def name_of(record: Record) -> str:
    """The name of a test."""
    return record.folder.name


@pytest.mark.parametrize("record", records_but(UNCOMMITTED, "made from uncommitted changes", RECORDS), ids=name_of)
def test_a_record_is_of_the_recipe_and_the_code_that_are_here(record: Record) -> None:
    """But for long trainings, which the tables mark as an earlier version's."""
    try:
        registry.find("methods", record.content["method"]["name"]).load()
    except FewshotError as error:
        pytest.skip(str(error))
    long = name_of(record).startswith(EARLIER) and record.content["cost"]["train_s"] > 15 * 60
    assert long or not made_by_another_version(record.content)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_records_id_is_that_of_its_training(record: Record) -> None:
    """A later field of a specification, or option of a data set, changes no id where it is not set."""
    raw = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))
    if raw["schema"] != SCHEMA:
        pytest.skip("an older schema: the ids of its time")
    spec = TrainSpec.model_validate_json(json.dumps(raw["train"]))
    assert run_id(spec, raw["method"]["source_sha256"], raw["data"]["identity"]) == raw["run_id"]
    assert raw["run_id"] in name_of(record)


def named(command: str) -> tuple[int, list[str], list[str]]:
    """How many commands a line has, and which recipe and which keys of `--set` the last one names."""
    *before, last = command.split(" && ")
    pairs = list(pairwise(shlex.split(last)))
    keys = [value.partition("=")[0] for option, value in pairs if option == "--set"]
    return len(before), [value for option, value in pairs if option == "--recipe"], keys


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_result_holds_the_request_that_its_command_was_made_of(record: Record) -> None:
    """The command that is made of it now names the same recipe and settings as the one that was printed then."""
    for result in record.results:
        assert "request" in result
        printed = result.get("command") or record.content["provenance"]["command"]
        assert named(again(record.content, result)) == named(printed)


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_method_beats_pixels_on_glyphs(name: str) -> None:
    """By more than both intervals."""
    (pixels,) = results("nearest-centroid", "glyphs", 5, 1, "standard")
    (trained,) = results(name, "glyphs", 5, 1, "standard")
    assert trained["low"] > pixels["high"]


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_method_has_a_record_on_omniglot(name: str) -> None:
    """5-way 1-shot, well above pixels; those of MAML's family tested transductively, too."""
    (pixels,) = results("nearest-centroid", "omniglot", 5, 1, "standard")
    assert all(trained["low"] > pixels["high"] for trained in results(name, "omniglot", 5, 1, "standard"))
    assert results(name, "omniglot", 5, 1, "standard")
    assert name not in GRADIENT or results(name, "omniglot", 5, 1, "standard-transductive")


def test_four_methods_have_a_record_of_20_ways() -> None:
    """On Omniglot."""
    assert len([name for name in TRAINED if results(name, "omniglot", 20, 1, "standard")]) >= 4


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("name", FIRST_EIGHT_ROWS)
def test_the_first_methods_have_controlled_records_on_cifar_fs(name: str, shots: int) -> None:
    """Above chance by more than the interval."""
    (result,) = results(name, "cifar-fs", 5, shots, "standard")
    assert result["low"] > 1 / 5


@pytest.mark.parametrize(
    "record",
    records_but(ON_A_BUSY_MACHINE, "made beside other work", [one for one in RECORDS if one.content["cost"]["train_s"]]),
    ids=name_of,
)
def test_a_training_takes_the_minutes_that_are_said(record: Record) -> None:
    """All cores together; `default` and `transductive` on Omniglot take longer and say so."""
    command, dataset = record.content["provenance"]["command"], record.content["train"]["dataset"]
    if dataset not in MINUTES or (dataset == "omniglot" and "--recipe short" not in command):
        pytest.skip("no limit is promised")
    cost = record.content["cost"]
    minutes = cost.get("train_cpu_s", cost["train_s"] * record.content["plan"]["threads"]) / 60
    assert minutes < MINUTES[dataset] * SLACK


@pytest.mark.parametrize("dataset", ["cifar-fs", "folder"])
def test_a_prototypical_network_has_a_record_of_photographs(dataset: str) -> None:
    """5-way 5-shot, trained for at most 20 minutes; on the folder of groceries beside pixels, and beside its split."""
    found = [
        record
        for record in RECORDS
        if (record.content["train"]["method"], record.content["train"]["dataset"]) == ("prototypical-networks", dataset)
    ]
    records = [one for one in found if any(result["test"]["shots"] == 5 for result in one.results)]
    assert records
    for record in records:
        assert record.content["cost"]["train_s"] < 20 * 60
        assert dataset != "folder" or (record.folder / "split.csv").read_text("utf-8").startswith("class,split\n")
    (trained,) = results("prototypical-networks", dataset, 5, 5, "standard")
    pixels = results("nearest-centroid", dataset, 5, 5, "standard")
    assert trained["low"] > max([1 / 5, *(result["high"] for result in pixels)])


@pytest.mark.usefixtures("l2l")
def test_every_number_outside_the_published_one_has_its_experiment() -> None:
    """In `explanations.yaml`, the method's card, or the recipe `paper`; the peer's methods have theirs."""
    notes = [note for table in comparison_tables(RECORDS) for note in table.notes]
    assert [note for note in notes if "not explained yet" in note] == []


@pytest.mark.parametrize("name", ["maml", "meta-sgd"])
def test_sinusoids_are_measured_beside_each_printed_number(name: str) -> None:
    """Trained with 5 points, tested with 5, 10 and 20."""
    for shots in (5, 10, 20):
        assert results(name, "sinusoid-varying-frequency", None, shots, "standard-regression")
        assert published(name, "sinusoid-varying-frequency", None, shots, "mse", train_shots=5)
        assert published(name, "sinusoid-varying-frequency", None, shots, "mse", train_shots=10) == ()
