"""A run from request to record: train or resume, test, write. What `fsbench run` stands on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_bench.errors import DataError, FewshotError, UsageError, reason_of
from fewshot_bench.request import Request
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.score_files import groups
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors
from fewshot_bench.runs.checks.memory_need import check_image
from fewshot_bench.runs.checks.rehearsal import rehearse
from fewshot_bench.runs.checks.run_time import long_work
from fewshot_bench.runs.inputs import check_data, open_data, tell_unread, write_splits
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.provenance import now
from fewshot_bench.runs.requests.budget import SCHEDULES
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.retest import (
    OnExisting,
    add_predictions,
    check_keepable,
    check_on_existing,
    check_recordable,
    lacks_predictions,
    test_again,
    with_result,
)
from fewshot_bench.runs.session import Session, result_id
from fewshot_bench.runs.training import LOG, STATE, Progressed
from fewshot_bench.runs.written_record import record_content, replace_record, with_other_results, written_sizes
from fewshot_bench.storage import atomic, check_writable, only_one
from fewshot_bench.threads import one_thread_at_a_time
from fewshot_bench.threads import threads as threads_for


@one_thread_at_a_time()
def execute(
    request: Request,
    resolved: Resolved,
    out: Path,
    on_existing: OnExisting,
    listener: Listener,
    wanted: Plan | None = None,
) -> tuple[Record, dict[str, Any]]:
    """Carry out one request in `out`: the record, and the result that was asked for. A finished run is not run again, an
    unfinished one goes on. A new one is made under the plan that is `wanted`, or under one chosen now."""
    check_on_existing(on_existing)
    folder = out / resolved.folder_name
    if resolved.budget:
        listener.note(resolved.budget)
    tell_unread(resolved, request.data_root, request.test_data_root, listener.note)
    if not _is_finished(folder, on_existing):
        check_image(resolved)
        prepared, tested = open_data(resolved, listener)
        fixed = resolved.method_class.fixed_ways
        check_data(prepared, resolved.train, resolved.test, tested, listener.note, fixed_ways=fixed)
        classes = prepared.training_classes(resolved.train.split) if resolved.train.updates else 0
        rehearsed = rehearse(resolved, classes)
        check_recordable([], resolved.test)
        check_keepable(folder, resolved, request.keep, listener.note)
        plan = _stored_plan(folder, resolved.run_id) or wanted
        session = Session.open(resolved, prepared, plan, listener, tested, request.threads)  # refuses an unfit network
        if long := long_work(rehearsed, resolved.train, resolved.test, session.method, session.plan):
            listener.note(long)
        with _alone(folder, listener):
            if not _is_finished(folder, on_existing):  # by the other process meanwhile
                return with_result(_make(request, session, folder, listener), resolved)
    record = load_record(folder)
    if lacks_predictions(record, resolved, request.keep):
        record = add_predictions(record, resolved, listener, request.threads)
    elif record.find(result_id(resolved)) is not None:
        listener.note(f"Already done: {folder} (--on-existing overwrite runs it again).")
    else:
        record = test_again(record, resolved, resolved.test, _stored(request), listener, request.threads)
    return with_result(record, resolved)


def _stored(request: Request) -> StoredRequest:
    """What a record stores of a request, with all that it changes of its recipe: a budget of images comes to a number of
    updates, and a schedule that follows."""
    followed = [f"{section}.{key}=" for section, keys in SCHEDULES.items() for key in keys]
    updates = ("train.updates=", *followed) if request.images is not None else ()
    backbone = ("backbone.name=",) if request.backbone is not None else ()
    return StoredRequest.of(request, (*backbone, *request.settings, *updates))


def _is_finished(folder: Path, on_existing: OnExisting) -> bool:
    """Whether there is a finished run to be reused; raises `UsageError` where it must not be there."""
    try:
        finished = (folder / "record.json").is_file() and not (folder / STATE).is_file()  # with one: it is being overwritten
    except OSError as error:  # a folder that may not be entered, or a name that is too long
        raise FewshotError(f"Cannot write {folder}: {reason_of(error)}. Choose another folder with --out.") from error
    if finished and on_existing == "error":
        raise UsageError(f"{folder} exists already; --on-existing reuse takes it, overwrite replaces it.")
    return finished and on_existing == "reuse"


@contextmanager
def _alone(folder: Path, listener: Listener) -> Iterator[None]:
    """Keep other processes from making the same run: each would replace the other's record."""
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):  # no folder to write to, which is said later; or no such locks there
            held.enter_context(only_one(folder, lambda: listener.note(f"Another process makes {folder}: waiting for it.")))
        yield


def _make(request: Request, session: Session, folder: Path, listener: Listener) -> Record:
    """Train, from where an interrupted training stands, and test, and write the record."""
    started, resolved, state = now(), session.resolved, folder / STATE
    check_writable(folder, written_sizes(session, request.keep))
    stored = _stored_plan(folder, resolved.run_id)
    if stored not in (None, session.plan):  # begun meanwhile by a process that was killed
        session = Session.open(resolved, session.prepared, stored, listener, session.tested)
    if stored not in (None, session.plan):
        raise FewshotError(
            f"{folder} was begun with the fast kernels: without them it would end with another record.\n"
            f"Delete {state.name} there to train from the start."
        )
    if stored is not None:
        _tell_threads(stored, request.threads, listener)
    at, log = _train(session, folder, listener)
    tested, scored = session.test(resolved.test, listener, predictions=request.keep is not None)
    result = tested.model_copy(update={"request": _stored(request)})
    save_tensors(folder / "checkpoint.safetensors", session.method.state_dict(), {"run_id": resolved.run_id})
    with atomic(folder / LOG) as temporary:
        temporary.write_text("".join(line + "\n" for line in log), encoding="utf-8")
    write_splits(folder, resolved)
    content = with_other_results(folder, record_content(session, request, at, result, started), listener)
    replace_record(folder, content, groups(result.id, scored.scores), {result.id: scored.answers})
    state.unlink(missing_ok=True)
    return load_record(folder)


def _tell_threads(plan: Plan, asked: int | None, listener: Listener) -> None:
    """Say so where a training goes on with other threads than it would be begun with: with others it would end otherwise."""
    if plan.threads != (now := threads_for(asked)):
        listener.note(f"It was begun with {plan.threads} threads and goes on with as many, not {now}: the plan is kept.")


def _train(session: Session, folder: Path, listener: Listener) -> tuple[Progressed, list[str]]:
    if not session.method.trained:
        return Progressed(), []
    trainer = session.trainer(folder)
    if trainer.state_path.is_file():
        trainer.resume()
    listener.training(replace(trainer.at), session.resolved.train.updates)
    trainer.train(listener)
    return trainer.at, trainer.log


def _stored_plan(folder: Path, run_id: str) -> Plan | None:
    """The plan of the training that was begun in a folder, if one was; raises `DataError` where its state is damaged or
    another run's."""
    state = folder / STATE
    try:
        about = load_tensors(state)[1] if state.is_file() else None
    except DataError as error:
        raise DataError(f"{error}\nDelete it to train from the start.") from None
    if about is None:
        return None
    if about.get("run_id") != run_id:
        raise DataError(f"{state} is the state of another run than {run_id}.\nDelete it to train from the start.")
    return Plan(**about["plan"])
