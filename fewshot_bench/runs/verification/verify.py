"""Verification of a record: what follows from its weights, what is only consistent, and what nobody can check.

Scores are computed again under the plan that the record states.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.request import TestRequest
from fewshot_bench.results.answer_files import PREDICTIONS
from fewshot_bench.results.records import load_record
from fewshot_bench.results.rerun_command import request_of
from fewshot_bench.runs.checkpoint import weights_sha256
from fewshot_bench.runs.inputs import Data, open_data
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.provenance import environment
from fewshot_bench.runs.requests.resolve import Resolved, resolve
from fewshot_bench.runs.retest import read_weights, resolve_result, resolve_trained
from fewshot_bench.runs.scores import NotFinite
from fewshot_bench.runs.session import Session, described
from fewshot_bench.runs.verification.alone import check_curve, check_result, check_training
from fewshot_bench.runs.verification.findings import Verification
from fewshot_bench.runs.verification.scores import compare_answers, compare_scores
from fewshot_bench.threads import one_thread_at_a_time


@one_thread_at_a_time()
def verify_run(folder: Path, request: TestRequest, listener: Listener) -> Verification:
    """Check the record of a finished run as far as this machine can.

    `request` may name code that is not installed and the folder of the data, as for another test of the run. Raises
    `DataError` where the record cannot be read at all.
    """
    found = Verification(load_record(folder))
    found.add("ids", "consistent", "run and results have the ids of their specifications, code and data")
    check_training(found)
    check_curve(found)
    for result in found.record.results:
        check_result(found, result)
    if (reason := _recompute(found, request, listener)) is not None:
        there = {check.field for check in found.checks}
        for name in ("data", "weights", *(f"{result['id']} scores" for result in found.record.results)):
            if name not in there:
                found.add(name, "unvouched", reason)
    found.add("training", "unvouched", "that the weights come from this training only training again can show")
    found.add("cost", "unvouched", "times and memory are the record's word")
    found.add("provenance", "unvouched", "dates, versions, titles, processor, plan, commit and command are its word")
    if (found.record.folder / "log.jsonl").is_file():
        found.add("log", "unvouched", "the learning curve is the record's word")
    if "former" in found.record.content:
        found.add("former", "unvouched", "that an earlier version made it under other ids is the record's word")
    return found


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
    same = _same_code(found, session)
    if same and session.method.trained:
        _check_recipe(found)
    able = same and _loaded(found, session) and pixels
    for result in record.results:
        try:
            _score_again(found, session, resolve_result(resolved, names, record, result, request), result, able, listener)
        except NotFinite as error:
            found.add(f"{result['id']} scores", "differs", str(error).partition("\n")[0])
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


def _check_recipe(found: Verification) -> None:
    """Whether the record says that its training was cut short, where its recipe here is longer."""
    content = found.record.content
    try:
        asked = resolve(request_of(content))
    except FewshotError as error:
        found.add("recipe", "unvouched", str(error).partition("\n")[0])
        return
    planned = asked.recipe_updates or asked.train.updates
    due = planned if planned != content["train"]["updates"] else None
    stated = (content.get("training") or {}).get("recipe_updates")
    if due == stated:
        found.add(
            "recipe", "recomputed", "as long as its recipe here" if due is None else f"of its recipe's {due:,} updates"
        )
    elif stated is None:
        found.add("recipe", "unvouched", f"its recipe here has {due:,} updates, of which the record does not speak")
    elif not _is_of_this_version(content):
        here = due or content["train"]["updates"]
        of_record = f"its recipe here has {here:,} updates, that of the record's version {stated:,}"
        found.add("recipe", "unvouched", of_record)
    else:
        found.same("recipe", due, stated, "")


def _is_of_this_version(content: Mapping[str, Any]) -> bool:
    """Whether a record was made by this very version: recipes are no part of the source that a hash proves."""
    theirs, ours = content["provenance"], environment()
    commits = [(one.get("git") or {}).get("commit") for one in (theirs, ours)]
    versions = [(one.get("versions") or {}).get("fewshot-bench") for one in (theirs, ours)]
    return commits[0] == commits[1] and versions[0] == versions[1]


def _check_data(
    found: Verification, dataset: Dataset | FunctionFamily, prepared: Data, data: Mapping[str, Any], whose: str = ""
) -> bool:
    """Whether the data here are those that a record describes, to the pixel; `whose` names the result that is of others."""
    splits = data.get("splits", {})
    present = {split: one.as_json() for split, one in described(prepared, dataset, *splits).items()}
    stated = {split: {key: present[split].get(key) for key in one} for split, one in splits.items()}  # of what is stated
    found.same(f"{whose}data", dataset.identity(), data["identity"], "the data set's identity")
    unlike = [f"{split} {key}" for split, one in splits.items() for key in one if stated[split][key] != one[key]]
    said = f"classes and images of {', '.join(splits) or 'none'}"
    if unlike:
        split, key = unlike[0].split()
        said = f"the record says {unlike[0]} {splits[split][key]}, here it is {stated[split][key]}"
    found.add(f"{whose}splits", "differs" if unlike else "recomputed", said)
    if found.differ(f"{whose}data", f"{whose}splits"):
        return False
    pixels = bool(data.get("fingerprint", prepared.fingerprint) == prepared.fingerprint)
    said = "the same" if pixels else "not the same here: another decoder, or other images under the same names"
    found.add(f"{whose}pixels", "recomputed" if pixels else "unvouched", said)
    return pixels


def _loaded(found: Verification, session: Session) -> bool:
    """Whether the method has the run's weights now, or needs none."""
    if not (session.method.trained or session.resolved.train.backbone):
        stated = found.record.content.get("weights_sha256", own := weights_sha256(session.method.state_dict()))
        if stated != own:
            found.add("weights", "differs", "the record states a hash of weights, and the method has none")
            return False
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
        compare_scores(found, result, scored.scores)
        compare_answers(found, result, scored.answers)
