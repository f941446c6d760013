"""A run from request to record: train or resume, test, write. What `fsbench run` and `fsbench test` stand on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, SupportsIndex, get_args

import torch
from torch import Tensor

from fewshot_bench import given, plugins
from fewshot_bench.again import Asked, again
from fewshot_bench.budget import SCHEDULES
from fewshot_bench.checkpoint import differences, listed, load_tensors, save_tensors, weights_sha256
from fewshot_bench.cost import check_image, check_memory
from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import DataError, FewshotError, UsageError, reason_of, system_errors
from fewshot_bench.locks import one_thread_at_a_time, only_one
from fewshot_bench.long_work import long_test, long_work
from fewshot_bench.method import Method
from fewshot_bench.named_again import names_of
from fewshot_bench.plan import Plan
from fewshot_bench.plugin_faults import plugin_faults_told
from fewshot_bench.printable import printable
from fewshot_bench.provenance import environment, now, peak_mib
from fewshot_bench.record_models import MOST_EPISODES
from fewshot_bench.records import SCHEMA, Record, add_result, load_record, locked
from fewshot_bench.rehearsal import rehearse
from fewshot_bench.reproduce import test_command
from fewshot_bench.resolve import Request, Resolved, TestRequest, another_test, resolve, resolve_again
from fewshot_bench.run_data import Data, check_data, open_data, write_splits
from fewshot_bench.score_files import Scores, read_scores, write_scores
from fewshot_bench.session import Listener, Session, result_id
from fewshot_bench.several import SEPARATOR
from fewshot_bench.source import VERSION
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.threads import threads as threads_for
from fewshot_bench.threads import told
from fewshot_bench.training import STATE, Progressed
from fewshot_bench.writing import atomic, check_writable

MANY = 100_000
"""Test episodes that can take a day: no task takes a second, but where one step is for a large network."""
BYTES_AN_EPISODE = 8
"""About, of the scores on disk."""
OnExisting = Literal["reuse", "error", "overwrite"]


@one_thread_at_a_time()
@system_errors()
def run(
    method: str | type[Method],
    ways: SupportsIndex | None = None,
    shots: SupportsIndex = 1,
    *,
    dataset: str | type | Sequence[str] = "glyphs",
    protocol: str | None = None,
    recipe: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    seed: SupportsIndex = 0,
    device: str | torch.device = "auto",
    data_root: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "runs",
    on_existing: OnExisting = "reuse",
    queries: SupportsIndex | None = None,
    episodes: SupportsIndex | None = None,
    test_dataset: str | type | None = None,
    test_data_root: str | PathLike[str] | None = None,
    images: SupportsIndex | None = None,
    threads: SupportsIndex | None = None,
    backbone: str | None = None,
) -> Record:
    """Train and test one method under one seed, as `fsbench run` does, and return its record.

    `method`, `dataset` and `test_dataset` are names, `file.py:Class`, or classes; several names of data sets are trained on
    together. A class of a notebook is identified by its source, but no command can make its run again: its record says so.
    `settings` are the `--set` keys, as `{"train.updates": 3}`, `{"train": {"updates": 3}}` or `["train.updates=3"]`; values
    may be numbers and arrays of numpy or torch, lists, tuples and paths. Whole numbers may be numpy's, paths texts or
    `Path`s, the device torch's. `images` is the most images that the training sees. `threads` None takes what
    `OMP_NUM_THREADS` says, or every core; processes that are forked afterwards compute with one. A second thread of this
    process waits until the first one's run is done. No other thread may change what the method's own module holds meanwhile:
    a check of the test puts it back to what it was. What a user should know (images that were scaled, a run that was there
    already) is logged as a warning of logger `fewshot_bench`.

    Raises `UsageError` for a request that cannot be met, `DataError` for data that is missing or damaged, `FewshotError`
    where the run fails.
    """
    if not isinstance(dataset, str | type) and isinstance(dataset, Sequence):
        dataset = SEPARATOR.join(given.word("a name in dataset", one) for one in dataset)
    classes = {"method": method, "dataset": dataset, "test_dataset": test_dataset}
    classes = {name: one for name, one in classes.items() if isinstance(one, type)}
    request = Request(
        method=_reference("method", method),
        dataset=_reference("dataset", dataset),
        ways=None if ways is None else given.whole("ways", ways),
        shots=given.whole("shots", shots),
        protocol=None if protocol is None else given.word("protocol", protocol),
        queries=None if queries is None else given.whole("queries", queries),
        episodes=None if episodes is None else given.whole("episodes", episodes),
        recipe=None if recipe is None else str(given.path("recipe", recipe)),
        settings=given.settings(settings),
        seed=given.whole("seed", seed),
        device=_device(device),
        data_root=None if data_root is None else given.path("data_root", data_root),
        test_dataset=None if test_dataset is None else _reference("test_dataset", test_dataset),
        test_data_root=None if test_data_root is None else given.path("test_data_root", test_data_root),
        images=None if images is None else given.whole("images", images),
        threads=None if threads is None else given.whole("threads", threads),
        classes=classes,  # type: ignore[arg-type]
        backbone=None if backbone is None else given.word("backbone", backbone),
    )
    with plugin_faults_told(), system_errors():
        return execute(request, resolve(request), given.path("out", out), on_existing, Listener())[0]


def _device(one: Any) -> str:
    """The name of a device; there is one CPU, whatever number torch gives it."""
    if isinstance(one, torch.device):
        return str(one) if one.type == "cuda" else one.type
    return given.word("device", one)


def _reference(name: str, one: Any) -> str:
    """How a record names a method or data set that was given by name or as a class."""
    if isinstance(one, type):
        plugin = plugins.find("methods" if name == "method" else "datasets", one)
        return plugin.reference if ":" in plugin.name else plugin.name
    if not isinstance(one, str | PathLike):
        raise UsageError(f"{name} must be a name or a class, got {given.shown(one)}.")
    return given.word(name, one) if isinstance(one, str) else str(one)


@one_thread_at_a_time()
def execute(
    request: Request, resolved: Resolved, out: Path, on_existing: OnExisting, listener: Listener
) -> tuple[Record, dict[str, Any]]:
    """Carry out one request in `out`: the record, and the result that was asked for. A finished run is not run again, an
    unfinished one goes on."""
    check_on_existing(on_existing)
    folder = out / resolved.folder_name
    if resolved.budget:
        listener.note(resolved.budget)
    if not _is_finished(folder, on_existing):
        check_image(resolved)
        prepared, tested = open_data(resolved, listener)
        fixed = resolved.method_class.fixed_ways
        check_data(prepared, resolved.train, resolved.test, tested, listener.note, fixed_ways=fixed)
        classes = prepared.training_classes(resolved.train.split) if resolved.train.updates else 0
        rehearsed = rehearse(resolved, classes)
        _check_recordable([], resolved.test)
        plan = _stored_plan(folder, resolved.run_id)
        session = Session.open(resolved, prepared, plan, listener, tested, request.threads)  # refuses an unfit network
        if long := long_work(rehearsed, resolved.train, resolved.test, session.method, session.plan):
            listener.note(long)
        with _alone(folder, listener):
            if not _is_finished(folder, on_existing):  # by the other process meanwhile
                return _with_result(_make(request, session, folder, listener), resolved)
    record = load_record(folder)
    if record.find(result_id(resolved)) is not None:
        listener.note(f"Already done: {folder} (--on-existing overwrite runs it again).")
    else:
        record = _test_again(record, resolved, resolved.test, _asked(request), listener, request.threads)
    return _with_result(record, resolved)


def _check_recordable(present: Sequence[Mapping[str, Any]], spec: TestSpec) -> None:
    """Refuse a test whose scores, beside those of the results that are present, would not be read back."""
    if sum(result["test"]["episodes"] for result in present) + spec.episodes > MOST_EPISODES:
        raise UsageError(
            f"A record holds at most {MOST_EPISODES:,} test episodes in all: lower --episodes {spec.episodes:,}."
        )


def _asked(request: Request) -> Asked:
    """What a request changes of its recipe; a budget of images comes to a number of updates, and a schedule that follows."""
    followed = [f"{section}.{key}=" for section, keys in SCHEDULES.items() for key in keys]
    updates = ("train.updates=", *followed) if request.images is not None else ()
    backbone = ("backbone.name=",) if request.backbone is not None else ()
    return Asked.by_settings("run", request.recipe, (*backbone, *request.settings, *updates), request.threads)


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
    check_writable(folder, _sizes(session))
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
    result, scores = session.test(resolved.test, listener)
    save_tensors(folder / "checkpoint.safetensors", session.method.state_dict(), {"run_id": resolved.run_id})
    with atomic(folder / "log.jsonl") as temporary:
        temporary.write_text("".join(line + "\n" for line in log), encoding="utf-8")
    result["asked"] = _asked(request).as_json()
    write_splits(folder, resolved)
    _replace_record(folder, _content(session, request, at, result, started), {result["id"]: scores})
    state.unlink(missing_ok=True)
    return load_record(folder)


@one_thread_at_a_time()
def test_run(
    folder: Path, request: TestRequest, device: str, listener: Listener, on_existing: OnExisting = "reuse"
) -> tuple[Record, dict[str, Any]]:
    """Test the checkpoint of a finished run under other conditions and add the result to its record."""
    record, resolved, spec = resolve_test(folder, request, device, on_existing=on_existing)
    if is_tested(record, resolved, on_existing):
        listener.note(f"Already done: {folder} holds this result (--on-existing overwrite computes it again).")
    else:
        asked = Asked.by_settings("test", None, request.settings, request.threads)
        record = _test_again(record, resolved, spec, asked, listener, request.threads)
    return _with_result(record, resolved)


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


def resolve_test(
    folder: Path, request: TestRequest, device: str, shard: str | None = None, on_existing: str = "reuse"
) -> tuple[Record, Resolved, TestSpec]:
    """A finished run's record, the run as it is on this machine with the test that is asked of it, and that test's spec."""
    record = load_record(folder)
    first = record.results[0]
    made = TestSpec.checked(first["test"])
    train = TrainSpec.model_validate_json(json.dumps(record.content["train"]))
    for result in record.results:  # what this one is added to, found out before any work
        record.scores(result["id"])
    if "plan" not in record.content:
        raise DataError(f"{folder} cannot be tested again: its record.json holds no plan.")
    names = names_of(record, train, request, test_command(folder, request, device, shard, on_existing))
    resolved = resolve_again(names.method, names.backbone, names.dataset, train, made, device, request.data_root)
    if names.tested_on is not None:  # by whom it is named makes no other test of it
        request = replace(request, dataset=None)
    asked = another_test(resolved, request, made, names.tested_on)
    if request.data_root is not None and record.find(result_id(asked)) is not None:
        _check_same_images(record, asked)
    return record, asked, asked.test


def _tell_threads(plan: Plan, asked: int | None, listener: Listener) -> None:
    """Say so where a training goes on with other threads than it would be begun with: with others it would end otherwise."""
    if plan.threads != (now := threads_for(asked)):
        listener.note(f"It was begun with {plan.threads} threads and goes on with as many, not {now}: the plan is kept.")


def _with_result(record: Record, resolved: Resolved) -> tuple[Record, dict[str, Any]]:
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


def _train(session: Session, folder: Path, listener: Listener) -> tuple[Progressed, list[str]]:
    if not session.method.trained:
        return Progressed(), []
    trainer = session.trainer(folder)
    if trainer.state_path.is_file():
        trainer.resume()
    listener.training(replace(trainer.at), session.resolved.train.updates)
    trainer.train(listener)
    return trainer.at, trainer.log


def reopen(record: Record, resolved: Resolved, spec: TestSpec, listener: Listener, threads: int | None = None) -> Session:
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
    _check_recordable(record.results, spec)
    if prepared.fingerprint != record.content["data"]["fingerprint"]:
        name = resolved.train.dataset
        listener.note(f"The pixels of {name} differ from those that {record.run_id} was trained on.")
    asked = told(threads)
    plan = Plan(**(record.content["plan"] | {"device": resolved.device} | ({"threads": asked} if asked else {})))
    session = Session.open(resolved, prepared, plan, listener, tested)
    if session.method.trained or resolved.train.backbone:
        session.method.load_state_dict(_weights(record, session))
    if spec.episodes > MANY and (long := long_test(spec, session.method, session.plan)):
        listener.note(long)
    return session


def _weights(record: Record, session: Session) -> dict[str, Tensor]:
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


def _test_again(
    record: Record, resolved: Resolved, spec: TestSpec, asked: Asked, listener: Listener, threads: int | None
) -> Record:
    session = reopen(record, resolved, spec, listener, threads)
    check_writable_test(record.folder, spec)
    result, scores = session.test(spec, listener)
    write_splits(record.folder, resolved)
    return add_result(record, with_command(record.content, result, asked), scores, replace=True)


def with_command(content: Mapping[str, Any], result: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """A result that is added to a record, with what it was asked for by and the command that makes it again."""
    result = result | {"asked": asked.as_json()}
    return result | {"command": again(content, result)}


def check_writable_test(folder: Path, spec: TestSpec) -> None:
    """Find out before a test whether its result can be written; raises `FewshotError`."""
    check_writable(folder, {"record.json": 1, "episodes.parquet": BYTES_AN_EPISODE * spec.episodes})


def _sizes(session: Session) -> dict[str, int]:
    """The files that a run writes, and about how many bytes each has."""
    resolved = session.resolved
    weights = sum(tensor.untyped_storage().nbytes() for tensor in session.method.state_dict().values())
    state = {STATE: 4 * weights, "log.jsonl": 1} if session.method.trained else {}  # best weights too, and two moments
    written = {"checkpoint.safetensors": weights, "episodes.parquet": BYTES_AN_EPISODE * resolved.test.episodes}
    return state | written | {"record.json": 1, f"split-{result_id(resolved)}.csv": 1}


def _content(session: Session, request: Request, at: Progressed, result: dict[str, Any], started: str) -> dict[str, Any]:
    resolved = session.resolved
    weights = resolved.backbone.weights if resolved.backbone else None
    splits = [*([resolved.train.split] if resolved.train.updates else []), *(["val"] if resolved.train.validation else [])]
    splits += ["test"] if resolved.test_data is resolved.dataset else []
    score = at.best_score if resolved.train.validation else None
    training = {"updates": at.update, "best_update": at.best_update, "validation_score": score}
    cpu = {} if at.train_cpu_s is None else {"train_cpu_s": round(at.train_cpu_s, 3)}
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": resolved.run_id,
        "engine": ENGINE,
        "weights_sha256": weights_sha256(session.method.state_dict()),
        "train": resolved.train.model_dump(),
        "method": {
            "name": resolved.method.name,
            "reference": request.method,
            "title": resolved.method.card().get("title", resolved.method.name),
            "plugin": resolved.method.distribution,
            "source_sha256": resolved.source_sha256,
            "source_version": VERSION,
            "packages": dict(resolved.packages),
            **({"weights_file": weights.name} if weights else {}),
            "parameters": sum(p.numel() for p in session.method.parameters()),
        },
        "data": {
            "name": resolved.train.dataset,
            "reference": request.dataset,
            "identity": resolved.dataset.identity(),
            "fingerprint": session.prepared.fingerprint,
            "splits": session.prepared.describe(*splits),
        },
        "training": training if session.method.trained else None,
        "results": [result],
        "cost": {"train_s": round(at.train_s, 3), **cpu, "peak_mib": peak_mib()},
        "plan": session.plan.as_json(),
        "provenance": {"started": started, "finished": now(), **environment()},
    }
    result["command"] = again(content, result)
    content["provenance"] = {"command": result["command"], **content["provenance"]}
    return content


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


def _replace_record(folder: Path, content: dict[str, Any], scores: dict[str, Scores]) -> None:
    """Write a record; one that was there stays readable, its scores beside the new ones, until it is replaced."""
    kept: dict[str, Scores] = {}
    with locked(folder):
        if (folder / "record.json").is_file():
            with suppress(DataError):  # damaged: what it was overwritten for
                kept = read_scores(folder)
        write_scores(folder, kept | scores, with_json=("record.json", content))
    if kept.keys() - scores.keys():
        with locked(folder):  # the new record: another process may have added to it
            held = load_record(folder)
            write_scores(folder, {name: one for name, one in read_scores(folder).items() if held.find(name)})
