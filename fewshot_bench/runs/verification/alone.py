"""What follows from a record itself: means from its scores, conditions from the protocol, one statement from another."""

import json
from collections.abc import Mapping
from typing import Any

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.errors import DataError
from fewshot_bench.results.data_parts import NoDataInterval
from fewshot_bench.results.drawn_episodes import redrawn, test_split
from fewshot_bench.results.records import measured
from fewshot_bench.runs.verification.findings import Verification


def check_training(found: Verification) -> None:
    """What the record says of the training against its specification."""
    content = found.record.content
    for kind, part in (("method", "method"), ("dataset", "data")):
        if content["train"][kind] != content[part]["name"]:
            said = f"the training is of {content['train'][kind]}, the record describes {content[part]['name']}"
            found.add(f"{kind} name", "differs", said)
    made, wanted = (content.get("training") or {}).get("updates", 0), content["train"]["updates"]
    if made != wanted:
        found.add("updates", "differs", f"the training made {made:,}, its specification asks for {wanted:,}")
    if "plan" in content and content["plan"]["device"].partition(":")[0] != content["train"]["device"]:
        device = content["plan"]["device"]
        found.add("plan", "differs", f"it is of {device}, the training's specification of {content['train']['device']}")


def check_curve(found: Verification) -> None:
    """Whether the best validation score that the record states is that of its learning curve."""
    training = found.record.content.get("training") or {}
    best, stated = training.get("best_update"), training.get("validation_score")
    if stated is None:
        return
    try:
        lines = (found.record.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        curve = {point["update"]: point["validation"] for point in map(json.loads, lines)}
    except FileNotFoundError:
        found.add("validation", "unvouched", "there is no learning curve beside the record")
        return
    except (OSError, ValueError, LookupError, TypeError) as error:
        found.add("validation", "differs", f"log.jsonl is damaged: {type(error).__name__}")
        return
    if curve.get(best) == stated:
        found.add("validation", "consistent", f"the score at update {best:,} is that of the learning curve")
    else:
        said = f"the record says {stated} at update {best}, the learning curve {curve.get(best, 'nothing')}"
        found.add("validation", "differs", said)


def check_result(found: Verification, result: Mapping[str, Any]) -> None:
    """What follows from the record itself: the means from the scores, the conditions from the protocol."""
    name, test = result["id"], result["test"]
    for metric in measured(result):
        label = f"{name} mean" if metric == result["metric"] else f"{name} {metric}"
        try:
            found.record.scores(result, metric)  # which compares them with what the result states
        except DataError as error:
            found.add(label, "differs", str(error))
        else:
            found.add(label, "consistent", "mean and interval follow from the scores")
    _check_answers(found, result)
    _check_tested_on(found, result)
    _check_episodes(found, result)
    if "by_step" in result:
        found.add(f"{name} by_step", "unvouched", "the errors after each inner step are the record's word")
    if test["protocol"] in PROTOCOLS:  # or it could not have been read
        found.add(f"{name} protocol", "consistent", f"queries, episodes and seed are those of {test['protocol']}")
    else:
        found.add(f"{name} protocol", "unvouched", f"{test['protocol']!r} is none of this version's protocols")


def _check_tested_on(found: Verification, result: Mapping[str, Any]) -> None:
    """Whether the data that the test's specification names are those that the record describes."""
    test, train, data = result["test"], found.record.content["train"], result.get("data")
    if data is None and (test["dataset"], test["data"]) != (train["dataset"], train["data"]):
        said = f"the test is on {test['dataset']} {test['data']}, the training was on {train['dataset']} {train['data']}"
        found.add(f"{result['id']} data", "differs", f"{said}, and the record describes no other data")
    elif data is not None and data["name"] != test["dataset"]:
        found.add(f"{result['id']} data", "differs", f"the test is on {test['dataset']}, the data are {data['name']}")


def _check_episodes(found: Verification, result: Mapping[str, Any]) -> None:
    """Whether the digest is that of the episodes which follow from the split that the record states."""
    name = f"{result['id']} episodes"
    try:
        _, digest = redrawn(found.record, result)
    except NoDataInterval as error:
        found.add(name, "unvouched", str(error).partition(". ")[0].rstrip("."))
        return
    if digest == result["digest"]:
        found.add(name, "consistent", "the digest is that of episodes of the split that the record states")
    elif "class_sizes" in test_split(found.record, result):
        found.add(name, "differs", "the split that the record states gives other episodes than those of its digest")
    else:
        found.add(name, "unvouched", "the record does not state how many images each class has")


def _check_answers(found: Verification, result: Mapping[str, Any]) -> None:
    for name, read in (("bits", found.record.answers), ("predictions", found.record.predictions)):
        try:
            there = read(result) is not None
        except DataError as error:
            found.add(f"{result['id']} {name}", "differs", str(error).partition("\n")[0])
            return
        if there and name == "bits":
            found.add(f"{result['id']} bits", "consistent", "the share of right answers in each episode is its score")
