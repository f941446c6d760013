"""Verification of a record: what follows from its weights, what is only consistent, and what nobody can check.

Each field gets one of four standings:

    recomputed   computed again here, and the same
    consistent   follows from something else in the record
    unvouched    rests on the record's word alone
    differs      not what it says; the record does not hold

Scores are computed again under the plan that the record states. On the same kind of processor and the same torch they must
be the same bit for bit; elsewhere they may differ within `SHARE` and `SHIFT`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.engine import ENGINE
from fewshot_bench.episodes.protocols import PROTOCOLS, conditions
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.metrics import METRICS
from fewshot_bench.request import TestRequest
from fewshot_bench.results.answer_files import PREDICTIONS
from fewshot_bench.results.answers import Answers
from fewshot_bench.results.records import Record, load_record, measured
from fewshot_bench.results.score_files import Scores
from fewshot_bench.runs.inputs import Data, open_data
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.provenance import environment
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.retest import read_weights, resolve_result, resolve_trained
from fewshot_bench.runs.session import Session, described
from fewshot_bench.threads import one_thread_at_a_time

Standing = Literal["recomputed", "consistent", "unvouched", "differs"]
SHARE, SHIFT = 0.05, 0.001
"""On another processor or torch: the most episodes whose score may differ, and the most that the mean may move, in accuracy
or as a share of the mean error."""


@dataclass(frozen=True)
class Check:
    """One field of a record, and how it stands."""

    field: str
    standing: Standing
    said: str


@dataclass
class Verification:
    """What was found of one record."""

    record: Record
    checks: list[Check] = field(default_factory=list)

    def add(self, name: str, standing: Standing, said: str) -> None:
        """One more field."""
        self.checks.append(Check(name, standing, said))

    def same(self, name: str, found: Any, stated: Any, said: str) -> None:
        """A field that was computed again."""
        if found == stated:
            self.add(name, "recomputed", said)
        else:
            self.add(name, "differs", f"the record says {stated}, here it is {found}")

    def differ(self, *names: str) -> bool:
        """Whether one of these fields does not hold."""
        return any(check.field in names and check.standing == "differs" for check in self.checks)

    @property
    def first_difference(self) -> Check | None:
        """The first field that does not hold."""
        return next((check for check in self.checks if check.standing == "differs"), None)

    @property
    def verdict(self) -> Standing:
        """Of the whole: `recomputed` where the scores of every result were, else `consistent`, unless something differs."""
        if self.first_difference:
            return "differs"
        scores = [check.standing for check in self.checks if check.field.endswith("scores")]
        return "recomputed" if all(one == "recomputed" for one in scores) else "consistent"


@one_thread_at_a_time()
def verify_run(folder: Path, request: TestRequest, listener: Listener) -> Verification:
    """Check the record of a finished run as far as this machine can.

    `request` may name code that is not installed and the folder of the data, as for another test of the run. Raises
    `DataError` where the record cannot be read at all.
    """
    found = Verification(load_record(folder))
    found.add("ids", "consistent", "run and results have the ids of their specifications, code and data")
    _check_training(found)
    for result in found.record.results:
        _check_alone(found, result)
    if (reason := _recompute(found, request, listener)) is not None:
        there = {check.field for check in found.checks}
        for name in ("data", "weights", *(f"{result['id']} scores" for result in found.record.results)):
            if name not in there:
                found.add(name, "unvouched", reason)
    found.add("training", "unvouched", "that the weights come from this training only training again can show")
    found.add("cost", "unvouched", "times and memory are the record's word")
    found.add("provenance", "unvouched", "dates, versions, processor, commit and command are the record's word")
    if (found.record.folder / "log.jsonl").is_file():
        found.add("log", "unvouched", "the learning curve is the record's word")
    if "former" in found.record.content:
        found.add("former", "unvouched", "that an earlier version made it under other ids is the record's word")
    return found


def _check_training(found: Verification) -> None:
    """What the record says of the training against its specification."""
    content = found.record.content
    made, wanted = (content.get("training") or {}).get("updates", 0), content["train"]["updates"]
    if made != wanted:
        found.add("updates", "differs", f"the training made {made:,}, its specification asks for {wanted:,}")
    if "plan" in content and content["plan"]["device"].partition(":")[0] != content["train"]["device"]:
        device = content["plan"]["device"]
        found.add("plan", "differs", f"it is of {device}, the training's specification of {content['train']['device']}")


def _check_alone(found: Verification, result: Mapping[str, Any]) -> None:
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
    if "by_step" in result:
        found.add(f"{name} by_step", "unvouched", "the errors after each inner step are the record's word")
    if test["protocol"] not in PROTOCOLS:
        found.add(f"{name} protocol", "unvouched", f"{test['protocol']!r} is none of this version's protocols")
        return
    asked = {key: int(test[key]) for key in ("queries", "episodes", "seed")}
    try:
        conditions(test["protocol"], METRICS[result["metric"]].kind, test["dataset"], test["shots"], **asked)
    except UsageError as error:
        found.add(f"{name} protocol", "differs", str(error))
    else:
        found.add(f"{name} protocol", "consistent", f"queries, episodes and seed are those of {test['protocol']}")


def _check_tested_on(found: Verification, result: Mapping[str, Any]) -> None:
    """Whether the data that the test's specification names are those that the record describes."""
    test, train, data = result["test"], found.record.content["train"], result.get("data")
    if data is None and (test["dataset"], test["data"]) != (train["dataset"], train["data"]):
        said = f"the test is on {test['dataset']} {test['data']}, the training was on {train['dataset']} {train['data']}"
        found.add(f"{result['id']} data", "differs", f"{said}, and the record describes no other data")
    elif data is not None and data["name"] != test["dataset"]:
        found.add(f"{result['id']} data", "differs", f"the test is on {test['dataset']}, the data are {data['name']}")


def _check_answers(found: Verification, result: Mapping[str, Any]) -> None:
    for name, read in (("bits", found.record.answers), ("predictions", found.record.predictions)):
        try:
            there = read(result) is not None
        except DataError as error:
            found.add(f"{result['id']} {name}", "differs", str(error).partition("\n")[0])
            return
        if there and name == "bits":
            found.add(f"{result['id']} bits", "consistent", "the share of right answers in each episode is its score")


def _recompute(found: Verification, request: TestRequest, listener: Listener) -> str | None:
    """Compute again what can be; the reason where nothing can."""
    record, content = found.record, found.record.content
    if "plan" not in content:
        return "its version wrote no execution plan"
    try:
        command = ["fsbench", "verify", str(record.folder)]
        resolved, names = resolve_trained(record, request, command, content["plan"]["device"])
        prepared, _ = open_data(resolved, listener)
        pixels = _check_data(found, resolved.dataset, prepared, content["data"])
        if found.differ("data", "splits"):
            return "the data here are not the record's"
        session = Session.open(resolved, prepared, Plan(**content["plan"]), listener)
    except FewshotError as error:  # also that of a method that can no longer be built
        return str(error).partition("\n")[0]
    able = _same_code(found, session) and _loaded(found, session) and pixels
    for result in record.results:
        try:
            _score_again(found, session, resolve_result(resolved, names, record, result, request), result, able, listener)
        except FewshotError as error:
            found.add(f"{result['id']} scores", "unvouched", str(error).partition("\n")[0])
    return None


def _same_code(found: Verification, session: Session) -> bool:
    """Whether the method here is the one that was trained; another may have other parameters, which says nothing of the
    record."""
    content = found.record.content
    if (session.resolved.source_sha256, ENGINE) != (content["method"]["source_sha256"], content["engine"]):
        found.add("weights", "unvouched", "the code here is another than the one that trained them")
        return False
    if "parameters" in content["method"]:
        count = sum(parameter.numel() for parameter in session.method.parameters())
        found.same("parameters", count, content["method"]["parameters"], f"{count:,}")
    return True


def _check_data(
    found: Verification, dataset: Dataset | FunctionFamily, prepared: Data, data: Mapping[str, Any], whose: str = ""
) -> bool:
    """Whether the data here are those that a record describes, to the pixel; `whose` names the result that is of others."""
    splits = data.get("splits", {})
    present = {split: one.as_json() for split, one in described(prepared, dataset, *splits).items()}
    stated = {split: {key: present[split].get(key) for key in one} for split, one in splits.items()}  # of what is stated
    found.same(f"{whose}data", dataset.identity(), data["identity"], "the data set's identity")
    found.same(f"{whose}splits", stated, splits, f"classes and images of {', '.join(splits) or 'none'}")
    if found.differ(f"{whose}data", f"{whose}splits"):
        return False
    pixels = bool(data.get("fingerprint", prepared.fingerprint) == prepared.fingerprint)
    said = "the same" if pixels else "not the same here: another decoder, or other images under the same names"
    found.add(f"{whose}pixels", "recomputed" if pixels else "unvouched", said)
    return pixels


def _loaded(found: Verification, session: Session) -> bool:
    """Whether the method has the run's weights now, or needs none."""
    if not (session.method.trained or session.resolved.train.backbone):
        found.add("weights", "recomputed", "the method has none to train")
        return True
    if not (found.record.folder / "checkpoint.safetensors").is_file():
        found.add("weights", "unvouched", "checkpoint.safetensors is not there")
        return False
    try:
        session.method.load_state_dict(read_weights(found.record, session))
    except DataError as error:
        found.add("weights", "differs", str(error).partition("\n")[0])
        return False
    stated = "weights_sha256" in found.record.content
    found.add("weights", "recomputed" if stated else "consistent", "they fit, and have their hash" if stated else "they fit")
    return True


def _score_again(
    found: Verification,
    session: Session,
    resolved: Resolved,
    result: Mapping[str, Any],
    able: bool,
    listener: Listener,
) -> None:
    """The digest and the scores of one result, which `resolved` tests."""
    name, spec = result["id"], resolved.test
    if found.differ(f"{name} data"):
        return
    _, tested = open_data(resolved, listener)
    if "data" in result:
        able = _check_data(found, resolved.test_data, tested, result["data"], f"{name} ") and able
    if found.differ(f"{name} data", f"{name} splits"):
        return
    plan = Plan(**result.get("plan", found.record.content["plan"]))
    own = replace(session, resolved=resolved, tested=tested, banks={})
    digest = own.test_source(spec).sampler.digest(spec.episodes)
    found.same(f"{name} digest", digest, result["digest"], f"the digest of {spec.episodes:,} episodes")
    code = result["source_sha256"], result["engine"]
    if digest != result["digest"]:
        return
    if not able:
        found.add(f"{name} scores", "unvouched", "without the run's own code, weights and pixels they cannot be computed")
    elif plan.device != session.plan.device:
        said = f"they were computed on {plan.device}, the training on {session.plan.device}"
        found.add(f"{name} scores", "unvouched", f"{said}; only scores of the training's own device are computed again")
    elif code != (session.resolved.source_sha256, ENGINE):
        found.add(f"{name} scores", "unvouched", "the code here is another than the one that scored them")
    else:
        kept = found.record.folder / PREDICTIONS
        scored = replace(own, plan=plan).score(spec, range(spec.episodes), listener, predictions=kept.is_file())
        _compare_scores(found, result, scored.scores)
        _compare_answers(found, result, scored.answers)


def _compare_scores(found: Verification, result: Mapping[str, Any], scores: Mapping[str, Scores]) -> None:
    name, bitwise = result["id"], unlike_here(found.record) is None
    for metric, here in scores.items():
        label = f"{name} scores" if metric == result["metric"] else f"{name} {metric} scores"
        try:
            stated = found.record.scores(result, metric)
        except DataError as error:
            found.add(label, "differs", str(error))
            continue
        moved = int((here != stated).sum())
        if not moved:
            found.add(label, "recomputed", f"all {len(here):,} are the same, bit for bit")
            continue
        at = int(np.flatnonzero(here != stated)[0])
        first = f"{moved:,} of {len(here):,} differ, the first at episode {at}: {stated[at]:.6g}, here {here[at]:.6g}"
        shift = abs(float(here.mean() - stated.mean()))
        within = moved <= SHARE * len(here) and shift <= SHIFT * max(1.0, abs(float(here.mean())))
        if bitwise or not within:
            found.add(label, "differs", first)
        else:
            found.add(label, "recomputed", f"{first}; within the bound for {unlike_here(found.record)}")


def _compare_answers(found: Verification, result: Mapping[str, Any], here: Answers | None) -> None:
    """Each query, where the record says which were answered right."""
    try:
        stated = found.record.answers(result)
    except DataError:  # which was said before
        return
    if stated is None or here is None:
        return
    _compare_predictions(found, result, here)
    label, moved = f"{result['id']} queries", np.flatnonzero(here.right != stated.right)
    if not len(moved):
        found.add(label, "recomputed", f"all {len(here.right):,} are right or wrong as the record says")
        return
    at = int(moved[0])
    episode = int(here.episodes[at])
    first = f"{len(moved):,} of {len(here.right):,} differ, the first query {at - here.starts[episode]} of episode {episode}"
    if unlike_here(found.record) is None or len(moved) > SHARE * len(here.right):
        found.add(label, "differs", first)
    else:
        found.add(label, "recomputed", f"{first}; within the bound for {unlike_here(found.record)}")


def _compare_predictions(found: Verification, result: Mapping[str, Any], here: Answers) -> None:
    try:
        stated, mine = found.record.predictions(result), here.predictions
    except DataError:  # which was said before
        return
    if stated is None or mine is None:
        return
    moved = int(((mine.labels != stated.labels) | (mine.confidence != stated.confidence)).sum())
    labels = int((mine.labels != stated.labels).sum())
    unlike, count = unlike_here(found.record), len(mine.labels)
    said = f"{moved:,} of {count:,} differ, {labels:,} in the label" if moved else f"all {count:,} are the same, bit for bit"
    holds = not moved or (unlike is not None and labels <= SHARE * count)
    more = f"; within the bound for {unlike}" if moved and holds else ""
    found.add(f"{result['id']} predictions", "recomputed" if holds else "differs", said + more)


def unlike_here(record: Record) -> str | None:
    """In what this machine differs from the record's, so that numbers may differ in their last bits; None: in nothing."""
    theirs, ours = record.content["provenance"], environment()
    if (theirs.get("versions") or {}).get("torch") != ours["versions"]["torch"]:
        return "another torch"
    for key, what in (("processor", "another processor"), ("cpu_capability", "another capability of the processor")):
        if key in theirs and theirs[key] != ours[key]:
            return what
    return None if theirs.get("processor") else "a machine that the record does not name"


class NotVerified(FewshotError):
    """A record does not hold."""

    exit_code = 4
