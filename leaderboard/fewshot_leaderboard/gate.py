"""The gatekeeper of `leaderboard/results`: written rules that a submitted record keeps before a person looks at it.

Nothing that is submitted is imported: what a record names must be installed here, or it is not looked at further.
"""

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.request import TestRequest
from fewshot_bench.results.bundle import NAMES
from fewshot_bench.results.records import Record, load_record, measured
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.verification.findings import Verification
from fewshot_bench.runs.verification.verify import verify_run

NEEDED = ("record.json", "episodes.parquet", "log.jsonl")
LARGEST = 4 * 2**20
"""Bytes of a record's folder."""

RULES = {
    "files": f"The folder holds {', '.join(NEEDED)}, and of other files only such as `fsbench pack` takes; no link.",
    "size": f"The folder has at most {LARGEST // 2**20} MiB; the weights may be left out.",
    "record": "The record reads, in the schema of this version.",
    "folder": "The folder has the name that the run gave it: METHOD-DATASET-RUN_ID.",
    "names": "Method, backbone, data sets and protocols are installed here. Code that is submitted is never imported.",
    "verified": "`fsbench verify` finds nothing that differs: means follow from scores, digests from the protocol.",
    "run again": "A method that needs no training is computed again, where the data are here.",
    "unchanged": "A record that is published already keeps every result and every score.",
}
"""By name: what a record must keep. Each has an example in the tests that breaks it."""


@dataclass(frozen=True)
class Broken:
    """A rule that a record breaks, and how."""

    rule: str
    said: str


class Refused(FewshotError):
    """A record breaks a rule."""

    exit_code = 4


class CheckFailed(FewshotError):
    """The check itself failed: nothing is known of the record."""

    exit_code = 70


def checked(folder: Path, published: Path | None, request: TestRequest, listener: Listener) -> list[Broken]:
    """As `broken_rules`; raises `CheckFailed` for whatever is a fault of the check, and not of the record."""
    try:
        return broken_rules(folder, published, request, listener)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        raise CheckFailed(
            f"The check itself failed on {folder.name}, so nothing is known of it: {type(error).__name__} in {at}: {error}\n"
            "Please report this as a fault of fewshot-bench."
        ) from error


def submitted(paths: Iterable[Path]) -> list[Path]:
    """The folders of records in `paths`: each itself, or those that lie directly in it. Raises `UsageError` where there is
    none."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is no folder of a record, or of records.")
        within = [path] if _is_record(path) else [one for one in sorted(path.iterdir()) if one.is_dir() and _is_record(one)]
        if not within:
            raise UsageError(f"{path} holds no record.")
        found += within
    return list(dict.fromkeys(found))


def _is_record(folder: Path) -> bool:
    """Whether a folder has a file of a record, be it whole or not."""
    return any(NAMES.fullmatch(path.name) for path in folder.iterdir())


def broken_rules(folder: Path, published: Path | None, request: TestRequest, listener: Listener) -> list[Broken]:
    """The rules that the record in `folder` breaks. The first that makes the others meaningless is the last that is asked.

    `published` is the folder of the records that are there already; `request` says where the data are.
    """
    found = [Broken("files", said) for said in _files(folder)] or [Broken("size", said) for said in _size(folder)]
    if found:
        return found
    try:
        record = load_record(folder)
    except DataError as error:
        return [Broken("record", _first_line(error))]
    found = [Broken("folder", said) for said in _folder(record)] + [Broken("names", said) for said in _names(record)]
    if found:
        return found
    found = [Broken("unchanged", said) for said in _unchanged(record, published)]
    verification = verify_run(folder, request, listener)
    found += [
        Broken("verified", f"{check.field}: {check.said}") for check in verification.checks if check.standing == "differs"
    ]
    return found + [Broken("run again", said) for said in _run_again(verification)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _files(folder: Path) -> Iterator[str]:
    there = {path.name: path for path in sorted(folder.iterdir())}
    for name, path in there.items():
        if path.is_symlink() or not path.is_file():
            yield f"{name} is no plain file"
        elif not NAMES.fullmatch(name):
            yield f"{name} is none of a record's files"
    yield from (f"{name} is missing" for name in NEEDED if name not in there)


def _size(folder: Path) -> Iterator[str]:
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST:
        yield f"it has {size / 2**20:.1f} MiB"


def _folder(record: Record) -> Iterator[str]:
    train = record.content["train"]
    due = f"{train['method']}-{train['dataset']}-{record.run_id}"
    if record.folder.resolve().name != due:
        yield f"its run has the name {due}"


def _names(record: Record) -> Iterator[str]:
    train = record.content["train"]
    tests = [result["test"] for result in record.results]
    backbone = (train["backbone"] or {}).get("name")
    datasets = {part for spec in (train, *tests) for part in spec["dataset"].split("+")}
    named: dict[str, tuple[Any, set[str]]] = {
        "method": (registry.registered("methods"), {train["method"]}),
        "backbone": (registry.registered("backbones"), {backbone} if backbone else set()),
        "data set": (registry.registered("datasets"), datasets),
        "protocol": (PROTOCOLS, {test["protocol"] for test in tests}),
    }
    for kind, (known, names) in named.items():
        yield from (f"{kind} {name!a} is not installed here" for name in sorted(names) if name not in known)


def _unchanged(record: Record, published: Path | None) -> Iterator[str]:
    """Against the record of the same run that is published, if there is one."""
    before = published / record.folder.resolve().name if published else None
    if before is None or not before.is_dir() or before.resolve() == record.folder.resolve():
        return
    old = load_record(before)
    for result in old.results:
        if (now := record.find(result["id"])) is None:
            yield f"result {result['id']} is gone"
            continue
        for metric in measured(result):
            if metric not in measured(now) or not np.array_equal(old.scores(result, metric), record.scores(now, metric)):
                yield f"scores of result {result['id']} by {metric} are others than those that are published"


def _run_again(found: Verification) -> Iterator[str]:
    """Scores that needed no training and are nevertheless not computed again, though the data are here."""
    standing = {check.field: check for check in found.checks}
    untrained = found.record.content["train"]["updates"] == 0
    pixels = standing.get("pixels")
    if not untrained or pixels is None or pixels.standing != "recomputed":
        return
    for result in found.record.results:
        check = standing.get(f"{result['id']} scores")
        if check is not None and check.standing == "unvouched":
            yield f"result {result['id']}: {check.said}"
