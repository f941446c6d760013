"""A finished run, tested again: under other conditions, on other data, or in shards."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from fewshot_bench.data.choice import DataChoice, kind_of
from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.request import TestRequest, words
from fewshot_bench.results import answer_files
from fewshot_bench.results.answer_files import MOST_ANSWERS
from fewshot_bench.results.answers import answers_in
from fewshot_bench.results.record_models import MOST_SCORES, Result, scores_in
from fewshot_bench.results.records import Record, add_answers, add_result, check_whole, load_record
from fewshot_bench.results.rerun_command import again
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.runs.checkpoint import differences, listed, load_tensors, weights_sha256
from fewshot_bench.runs.checks.memory_need import check_memory
from fewshot_bench.runs.checks.run_time import long_test
from fewshot_bench.runs.inputs import Data, check_data, open_data, write_splits
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.requests.resolve import Resolved, another_test, resolve_again
from fewshot_bench.runs.requests.trusted_names import Names, names_of
from fewshot_bench.runs.session import Session, result_id
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import check_writable
from fewshot_bench.text.printable import printable
from fewshot_bench.threads import one_thread_at_a_time, told

MANY = 100_000
"""Test episodes that can take a day: no task takes a second, but where one step is for a large network."""
BYTES_A_SCORE = 8
"""About, on disk."""
OnExisting = Literal["reuse", "error", "overwrite"]


def check_recordable(present: Sequence[Mapping[str, Any]], spec: TestSpec) -> None:
    """Refuse a test whose scores, beside those of the results that are present, would not be read back."""
    most = spec.episodes * (spec.max_ways or spec.ways) * spec.queries
    if sum(map(answers_in, present)) + most > MOST_ANSWERS:
        raise UsageError(
            f"A record holds at most {MOST_ANSWERS:,} answers in all, here up to {most:,} more: "
            f"lower --episodes {spec.episodes:,}."
        )
    if sum(scores_in(result["test"]) for result in present) + scores_in(spec) > MOST_SCORES:
        raise UsageError(
            f"A record holds at most {MOST_SCORES:,} test episodes in all, each counted once a metric: "
            f"lower --episodes {spec.episodes:,}."
        )


@one_thread_at_a_time()
def test_run(
    folder: Path, request: TestRequest, listener: Listener, on_existing: OnExisting = "reuse"
) -> tuple[Record, dict[str, Any]]:
    """Test the checkpoint of a finished run under other conditions and add the result to its record."""
    record, resolved, spec = resolve_test(folder, request, on_existing)
    if is_tested(record, resolved, on_existing) and lacks_predictions(record, resolved, request.keep):
        record = add_predictions(record, resolved, listener, request.threads)
    elif is_tested(record, resolved, on_existing):
        listener.note(f"Already done: {folder} holds this result (--on-existing overwrite computes it again).")
    else:
        record = test_again(record, resolved, spec, StoredRequest.of(request), listener, request.threads)
    return with_result(record, resolved)


def is_tested(record: Record, resolved: Resolved, on_existing: OnExisting) -> bool:
    """Whether there is a result to be reused; raises `UsageError` where it must not be there."""
    check_on_existing(on_existing)
    there = record.find(result_id(resolved)) is not None
    if there and on_existing == "error":
        raise UsageError(f"{record.folder} holds this result; --on-existing reuse takes it, overwrite computes it again.")
    return there and on_existing == "reuse"


def check_on_existing(given: str) -> None:
    """Raises `UsageError` for what is none of the three."""
    if given not in get_args(OnExisting):
        raise UsageError(f"--on-existing must be reuse, error or overwrite, got {given!r}.")


def resolve_test(folder: Path, request: TestRequest, on_existing: str = "reuse") -> tuple[Record, Resolved, TestSpec]:
    """A finished run's record, the run as it is on this machine with the test that is asked of it, and that test's spec."""
    record = load_record(folder)
    check_whole(record)  # what this one is added to, found out before any work
    if "plan" not in record.content:
        raise DataError(f"{folder} cannot be tested again: its record.json holds no plan.")
    more = {} if on_existing == "reuse" else {"on_existing": on_existing}
    resolved, names = resolve_trained(record, request, words(request, [str(folder)], **more), request.device)
    made = resolved.test
    if names.tested_on is not None:  # by whom it is named makes no other test of it
        request = replace(request, test_dataset=None)
    asked = another_test(resolved, request, made, names.tested_on)
    if request.data_root is not None and record.find(result_id(asked)) is not None:
        _check_same_images(record, asked)
    return record, asked, asked.test


def resolve_trained(record: Record, request: TestRequest, command: Sequence[str], device: str) -> tuple[Resolved, Names]:
    """A record's run on this machine under its own specifications, with its first test on what it was trained on, and what
    may be imported for `command`. Raises `UsageError` where something is not installed and not named."""
    train = TrainSpec.model_validate_json(json.dumps(record.content["train"]))
    names = names_of(record, train, request, command)
    made = TestSpec.checked(record.results[0]["test"])
    return resolve_again(names, train, made, device, request.data_root), names


def resolve_result(run: Resolved, names: Names, record: Record, result: Mapping[str, Any], request: TestRequest) -> Resolved:
    """The run with the test of one of its results, on what that was made on.

    Raises `UsageError` where its data set is not installed: a record's word imports nothing.
    """
    run = replace(run, test=TestSpec.checked(result["test"]))
    if "data" not in result:
        return run
    first = result["id"] == record.results[0]["id"]
    reference = names.tested_on if first and names.tested_on else result["data"]["name"]
    if reference != names.tested_on and registry.is_uninstalled(reference):
        raise registry.NotInstalled(f"The data set {printable(reference)} of result {result['id']} is not installed.")
    on = DataChoice.of(reference).build_like(run.dataset, run.test.data, request.data_root, request.test_data_root)
    return replace(run, test_data=on, test_reference=reference)


def with_result(record: Record, resolved: Resolved) -> tuple[Record, dict[str, Any]]:
    """A record and the result in it that was asked for."""
    result = record.find(result_id(resolved))
    assert result is not None, "it was added or there"
    return record, result


def _check_same_images(record: Record, resolved: Resolved) -> None:
    """Refuse a data root that holds other images than those whose result is there; raises `DataError`."""
    if resolved.dataset.identity() != record.content["data"]["identity"]:
        raise DataError(
            f"The result is there, but not of what lies in the data root: {record.run_id} was trained on other images of\n"
            f"{record.content['data']['name']}. Leave --data-root out to see it; --test-data-root tests on others."
        )


def reopen(
    record: Record,
    resolved: Resolved,
    spec: TestSpec,
    listener: Listener,
    threads: int | None = None,
    keep: str | None = None,
) -> Session:
    """A finished run with its data open and its weights loaded, for the test `spec`, on the threads that are asked for
    (`told`) or else on those of its plan."""
    trained = record.content["method"]["source_sha256"], record.content["engine"]
    if (resolved.source_sha256, ENGINE) != trained:
        what = f"The source of {resolved.method.name}" if resolved.source_sha256 != trained[0] else "The core's numerics"
        listener.note(f"{what} has changed since {record.run_id} was trained; the result says what scored it.")
    prepared, tested = open_data(resolved, listener)
    _check_unchanged(record, prepared)
    check_data(prepared, resolved.train, spec, tested, listener.note)
    classes = prepared.training_classes(resolved.train.split) if resolved.train.updates else 0
    check_memory(replace(resolved, test=spec), classes)
    if record.find(result_id(resolved)) is None:
        check_recordable(record.results, spec)
    check_keepable(record.folder, replace(resolved, test=spec), keep, listener.note)
    if prepared.fingerprint != record.content["data"]["fingerprint"]:
        name = resolved.train.dataset
        listener.note(f"The pixels of {name} differ from those that {record.run_id} was trained on.")
    asked = told(threads)
    plan = Plan(**(record.content["plan"] | {"device": resolved.device} | ({"threads": asked} if asked else {})))
    session = Session.open(resolved, prepared, plan, listener, tested)
    if session.method.trained or resolved.train.backbone:
        session.method.load_state_dict(read_weights(record, session))
    if spec.episodes > MANY and (long := long_test(spec, session.method, session.plan)):
        listener.note(long)
    return session


def read_weights(record: Record, session: Session) -> dict[str, Tensor]:
    """The weights of a finished run; raises `DataError` where they are another's."""
    path = record.folder / "checkpoint.safetensors"
    tensors, about = load_tensors(path)
    again = "Put its own file back, or train it again: fsbench run ... --on-existing overwrite."
    if about.get("run_id") != record.run_id:
        theirs = printable(str(about.get("run_id", "that it does not name")))
        raise DataError(f"{path} holds the weights of run {theirs}, not of {record.run_id}.\n{again}")
    if said := differences(tensors, session.method.state_dict()):
        raise DataError(f"{path} does not fit {session.resolved.method.name}: {printable(listed(said))}.\n{again}")
    if record.content.get("weights_sha256") not in (None, weights_sha256(tensors)):
        raise DataError(f"{path} holds other weights than those that {record.run_id} ended with.\n{again}")
    return tensors


def _check_unchanged(record: Record, prepared: Data) -> None:
    """Raises `DataError` where a split has other classes or images than when the run was made: one that is tested now may
    have been trained on then."""
    recorded = record.content["data"].get("splits", {})
    present = prepared.describe(*recorded)
    if changed := [split for split, one in recorded.items() if one["structure_id"] != present[split]["structure_id"]]:
        raise DataError(
            f"{record.content['data']['name']} has other classes or images in {', '.join(changed)} than when "
            f"{record.run_id} was trained.\nTest it on the data that it was trained on, or train it again."
        )


def test_again(
    record: Record, resolved: Resolved, spec: TestSpec, stored: StoredRequest, listener: Listener, threads: int | None
) -> Record:
    session = reopen(record, resolved, spec, listener, threads, stored.keep)
    check_writable_test(record.folder, spec, stored.keep)
    result, scored = session.test(spec, listener, predictions=stored.keep is not None)
    write_splits(record.folder, resolved)
    made = with_command(record.content, result, stored)
    return add_result(record, made, scored.scores, scored.answers, replace=True)


def with_command(content: Mapping[str, Any], result: Result, stored: StoredRequest) -> dict[str, Any]:
    """A result that is added to a record, with the request that it was made by and the command that makes it again."""
    result = result.model_copy(update={"request": stored})
    return result.model_copy(update={"command": again(content, result.as_json())}).as_json()


def lacks_predictions(record: Record, resolved: Resolved, keep: str | None) -> bool:
    """Whether a result is there whose predictions are to be kept, and are not."""
    there = record.find(result_id(resolved))
    return keep is not None and there is not None and record.predictions(there) is None


def add_predictions(record: Record, resolved: Resolved, listener: Listener, threads: int | None) -> Record:
    """Answer the queries of a result that is there again, under its own plan, and keep the answers beside it.

    Raises `FewshotError` where its scores come out otherwise: they would not be its answers.
    """
    there, spec = record.find(result_id(resolved)), resolved.test
    assert there is not None, "what predictions are added to"
    session = reopen(record, resolved, spec, listener, threads, "predictions")
    check_writable_test(record.folder, spec, "predictions")
    plan = Plan(**(there.get("plan", record.content["plan"]) | {"device": session.plan.device}))
    session = replace(session, plan=plan if threads is None else session.plan)
    scored = session.score(spec, range(spec.episodes), listener, predictions=True)
    stated = record.scores(there)
    if moved := int((scored.scores[session.metric.name] != stated).sum()):
        raise FewshotError(
            f"{moved:,} of {len(stated):,} scores come out otherwise here, so these are not the answers of that result.\n"
            "--on-existing overwrite replaces it by the one that is computed here."
        )
    assert scored.answers is not None, "of classification"
    listener.note(f"Predictions added to result {there['id']}: its scores came out the same.")
    return add_answers(record, there["id"], scored.answers)


def check_keepable(folder: Path, resolved: Resolved, keep: str | None, note: Callable[[str], None]) -> None:
    """Refuse predictions that would not be read back, and say how large they will be; raises `UsageError`."""
    if keep is None:
        return
    if kind_of(resolved.dataset) == "regression":
        raise UsageError("--keep predictions is for classification: leave it out.")
    answers, size = _predictions_of(resolved.test)
    path, most = folder / answer_files.PREDICTIONS, answer_files.LARGEST[answer_files.PREDICTIONS]
    there = path.stat().st_size if path.is_file() else 0
    if size + there > most:
        raise UsageError(
            f"--keep predictions would write {size / 1e6:,.1f} MB for {answers:,} answers, where a record holds "
            f"{most / 1e6:,.1f} MB of them and has {there / 1e6:,.1f}.\nLower --episodes, or leave --keep out."
        )
    note(f"{answer_files.PREDICTIONS} will hold {answers:,} answers: {size / 1e6:,.2f} MB.")


def _predictions_of(spec: TestSpec) -> tuple[int, int]:
    """The most answers of a test, and the bytes of their predictions."""
    ways = spec.max_ways or spec.ways
    answers = spec.episodes * ways * spec.queries
    return answers, answer_files.bytes_of_predictions(answers, ways)


def check_writable_test(folder: Path, spec: TestSpec, keep: str | None = None) -> None:
    """Find out before a test whether its result can be written; raises `FewshotError`."""
    check_writable(folder, {"record.json": 1, **test_sizes(spec, keep)})


def test_sizes(spec: TestSpec, keep: str | None = None) -> dict[str, int]:
    """The files of scores and of answers, and about how many bytes a test adds to each."""
    bits = spec.episodes * spec.ways * spec.queries // 8
    more = {} if keep is None else {answer_files.PREDICTIONS: _predictions_of(spec)[1]}
    return {"episodes.parquet": BYTES_A_SCORE * scores_in(spec), answer_files.NAME: bits, **more}
