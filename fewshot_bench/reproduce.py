"""The command that makes a record again, and the request that it is."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_bench.errors import UsageError
from fewshot_bench.records import Record
from fewshot_bench.resolve import Request, Resolved, TestRequest

ELSEWHERE = "TEST-DATA-ROOT"
"""In the place of a folder that must be said, and that a record does not name."""


def reproduce_command(request: Request, seeds: str | None = None, out: Path | None = None) -> str:
    """The command that carries out this request, for all of `seeds` where they are given.

    Folders of this machine are named only where `out` is given: a record names none.
    """
    here = {"--data-root": request.data_root, "--out": out} if out is not None else {}
    elsewhere = request.test_data_root if out is not None or request.test_data_root is None else ELSEWHERE
    options = {
        "--method": request.method,
        "--dataset": request.dataset,
        "--test-dataset": request.test_dataset,
        "--test-data-root": elsewhere,
        "--ways": request.ways,
        "--shots": request.shots,
        **_test_options(request),
        "--recipe": request.recipe,
        "--images": request.images,
        "--seeds": request.seed if seeds is None else seeds,
        "--device": None if request.device == "auto" else request.device,
        "--threads": request.threads,
        **here,
    }
    return _join("run", options, request.settings)


def with_places(command: str, data_root: Path | None, test_data_root: Path | None) -> str:
    """A record's command with the folders of data that it needs to be given on this machine, as far as they are known."""
    here = f" --data-root {shlex.quote(str(data_root))}" if data_root else ""
    command = " && ".join(part + here for part in command.split(" && "))
    return command.replace(ELSEWHERE, shlex.quote(str(test_data_root))) if test_data_root else command


def request_of(command: str) -> Request:
    """The request of a record's command, `fsbench run ...`; raises `UsageError` for another text."""
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    for option in ("method", "dataset", "test-dataset", "protocol", "recipe", "device"):
        parser.add_argument(f"--{option}", default=argparse.SUPPRESS)
    parser.add_argument("--test-data-root", type=Path, default=argparse.SUPPRESS)
    for option in ("ways", "shots", "queries", "episodes", "images", "threads"):
        parser.add_argument(f"--{option}", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, dest="seed", default=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", dest="settings", default=[])
    program, _, options = command.partition(" run ")
    try:
        given, unknown = parser.parse_known_args(shlex.split(options))
        if program == "fsbench" and not unknown and "method" in given:
            return Request(**vars(given) | {"settings": tuple(given.settings)})
    except (argparse.ArgumentError, ValueError):
        pass
    raise UsageError(f"Not the command of a run: {command!r}.")


def run_command(request: Request, resolved: Resolved) -> str:
    """The command for the record: on any machine the same run, so with the type of device that `auto` found here."""
    ways = resolved.test.ways if resolved.kind == "classification" else None
    return reproduce_command(replace(request, device=resolved.train.device, ways=ways))


def test_command(record: Record, request: TestRequest) -> str:
    """The command that makes this run again and adds this test to it."""
    options = {
        "--test-dataset": request.dataset,
        "--test-data-root": ELSEWHERE if request.test_data_root else None,
        "--ways": request.ways,
        "--shots": request.shots,
        **_test_options(request),
        "--threads": request.threads,
    }
    again = _join(f"test {record.run_id}", options, request.settings)
    return f"{record.content['provenance']['command']} && {again}"


def _test_options(request: Request | TestRequest) -> dict[str, Any]:
    return {"--protocol": request.protocol, "--queries": request.queries, "--episodes": request.episodes}


def _join(command: str, options: dict[str, Any], settings: tuple[str, ...]) -> str:
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    words += [word for setting in settings for word in ("--set", setting)]
    return f"fsbench {command} {shlex.join(words)}"
