"""The record of a run, as it is made and written."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError
from fewshot_bench.request import Request
from fewshot_bench.results import answer_files
from fewshot_bench.results.answers import Answers
from fewshot_bench.results.record_models import (
    MOST_SCORES,
    SCHEMA,
    Cost,
    DataPart,
    MethodPart,
    PlanPart,
    Provenance,
    RecordContent,
    Result,
    TrainingPart,
    scores_in,
)
from fewshot_bench.results.records import load_record, locked
from fewshot_bench.results.rerun_command import again
from fewshot_bench.results.score_files import Scores, read_scores, write_scores
from fewshot_bench.runs.checkpoint import weights_sha256
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.provenance import environment, now, peak_mib
from fewshot_bench.runs.retest import test_sizes
from fewshot_bench.runs.session import Session, described, result_id
from fewshot_bench.runs.training import LOG, STATE, Progressed
from fewshot_bench.source.source_hash import VERSION


def written_sizes(session: Session, keep: str | None) -> dict[str, int]:
    """The files that a run writes, and about how many bytes each has."""
    resolved = session.resolved
    weights = sum(tensor.untyped_storage().nbytes() for tensor in session.method.state_dict().values())
    state = {STATE: 4 * weights, LOG: 1} if session.method.trained else {}  # best weights too, and two moments
    written = {"checkpoint.safetensors": weights, **test_sizes(resolved.test, keep)}
    return state | written | {"record.json": 1, f"split-{result_id(resolved)}.csv": 1}


def record_content(session: Session, request: Request, at: Progressed, result: Result, started: str) -> dict[str, Any]:
    """What `record.json` holds after a training and its test."""
    resolved = session.resolved
    score = at.best_score if resolved.train.validation else None
    asked = {} if resolved.recipe_updates is None else {"recipe_updates": resolved.recipe_updates}
    training = TrainingPart.of({"updates": at.update, **asked, "best_update": at.best_update, "validation_score": score})
    cpu = {} if at.train_cpu_s is None else {"train_cpu_s": round(at.train_cpu_s, 3)}
    record = RecordContent(
        schema=SCHEMA,
        run_id=resolved.run_id,
        engine=ENGINE,
        weights_sha256=weights_sha256(session.method.state_dict()),
        train=resolved.train,
        method=_method(session, request),
        data=_data(session, request),
        training=training if session.method.trained else None,
        results=[result],
        cost=Cost.of({"train_s": round(at.train_s, 3), **cpu, "peak_mib": peak_mib()}),
        plan=PlanPart.of(session.plan.as_json()),
        provenance=Provenance.of({"started": started, "finished": now(), **environment()}),
    )
    command = again(record.as_json(), result.as_json())
    results = [result.model_copy(update={"command": command})]
    provenance = record.provenance.model_copy(update={"command": command})
    return record.model_copy(update={"results": results, "provenance": provenance}).as_json()


def _method(session: Session, request: Request) -> MethodPart:
    resolved = session.resolved
    weights = resolved.backbone.weights if resolved.backbone else None
    return MethodPart.of(
        {
            "name": resolved.method.name,
            "reference": request.method,
            "title": resolved.method.card().get("title", resolved.method.name),
            "plugin": resolved.method.distribution,
            "source_sha256": resolved.source_sha256,
            "source_version": VERSION,
            "packages": dict(resolved.packages),
            **({"weights_file": weights.name} if weights else {}),
            "parameters": sum(p.numel() for p in session.method.parameters()),
        }
    )


def _data(session: Session, request: Request) -> DataPart:
    resolved = session.resolved
    splits = [*([resolved.train.split] if resolved.train.updates else []), *(["val"] if resolved.train.validation else [])]
    splits += ["test"] if resolved.test_data is resolved.dataset else []
    return DataPart(
        name=resolved.train.dataset,
        reference=request.dataset,
        identity=resolved.dataset.identity(),
        fingerprint=session.prepared.fingerprint,
        splits=described(session.prepared, resolved.dataset, *splits),
    )


def with_other_results(folder: Path, content: dict[str, Any], listener: Listener) -> dict[str, Any]:
    """A record that overwrites another one, with that one's results of other tests where its weights were the same. Where
    they were not, a note says which commands make those results again."""
    try:
        former = load_record(folder)
    except DataError:  # none is there, or it is damaged: what it was overwritten for
        return content
    (new,) = content["results"]
    others = [one for one in former.results if one["id"] != new["id"]]
    same = former.content.get("weights_sha256") == content["weights_sha256"]
    same = same and former.content["data"].get("fingerprint") == content["data"]["fingerprint"]
    if same and sum(scores_in(one["test"]) for one in [new, *others]) <= MOST_SCORES:
        return content | {"results": [new, *others]}
    if others:
        why = "more scores than a record holds" if same else "other weights or images"
        commands = [str(one.get("command", "")).rpartition(" && ")[2] for one in others]
        each = "".join(f"\n{command}" for command in filter(None, commands[:3]))
        listener.note(f"Results of other tests dropped: {len(others)}, of {why}. Made again by:{each}")
    return content


def replace_record(
    folder: Path, content: dict[str, Any], scores: dict[str, Scores], answers: Mapping[str, Answers | None]
) -> None:
    """Write a record, its scores by `group` and its answers by result; one that was there stays readable, its scores and
    answers beside the new ones, until it is replaced."""
    kept: dict[str, Scores] = {}
    with locked(folder):
        if (folder / "record.json").is_file():
            with suppress(DataError):  # damaged: what it was overwritten for
                kept = read_scores(folder)
        files = _files(folder, answers)
        write_scores(folder, kept | scores, with_json=("record.json", content), with_files=files)
    if kept.keys() - scores.keys():
        with locked(folder):  # the new record: another process may have added to it
            held = load_record(folder)
            there = {name: one for name, one in read_scores(folder).items() if held.find(name.partition("/")[0])}
            files = answer_files.contents(folder, {}, lambda result_id: held.find(result_id) is not None)
            write_scores(folder, there, with_files=files)


def _files(folder: Path, answers: Mapping[str, Answers | None]) -> dict[str, bytes]:
    """The files of answers, beside those that are there; without these where they are damaged."""
    with suppress(DataError):
        return answer_files.contents(folder, answers)
    return answer_files.contents(folder, answers, afresh=True)
