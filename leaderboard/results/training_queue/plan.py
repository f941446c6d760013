"""Jobs with what tells whether they are done: the folder of the run, its length, the ids of its results.

Resolving imports torch. A queue asks for its plan in a process of its own (`asked_for`), so that it waits in little memory.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training_queue.jobs import Job


@dataclass(frozen=True)
class Planned:
    """A job whose run is known."""

    training: str
    """In words: `maml omniglot paper 5 1`."""
    arguments: tuple[str, ...]
    """Of `fsbench run`."""
    tests: tuple[tuple[str, ...], ...]
    """Of `fsbench test`, for each further test."""
    folder: str
    """The name of the run's folder."""
    updates: int
    results: tuple[str, ...]
    """The ids of the results of all its tests."""
    tier: int = 0
    hours: float | None = None
    """Of one core: an estimate; None where nobody made one."""
    missing: str = ""
    """Why it cannot be trained here."""

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Planned":
        """What `asdict` and JSON made of one."""
        tests = tuple(tuple(test) for test in content["tests"])
        lists = {"arguments": tuple(content["arguments"]), "tests": tests, "results": tuple(content["results"])}
        return cls(**content | lists)


def planned(job: "Job", device: str, tier: int = 0, hours: float | None = None) -> Planned:
    """A job, resolved; one that is refused says why, and has no folder."""
    from fewshot_bench.errors import FewshotError
    from fewshot_bench.runs.requests.resolve import another_test, resolve
    from fewshot_bench.runs.session import result_id

    common: dict[str, Any] = {"training": job.training, "arguments": job.arguments, "tests": job.tests}
    common |= {"tier": tier, "hours": hours}
    try:
        run = resolve(request_of(job.arguments, device))
        tests = [run, *(another_test(run, further_test(words), run.test) for words in job.tests)]
        ids = tuple(dict.fromkeys(result_id(one) for one in tests))
    except FewshotError as error:
        return Planned(**common, folder="", updates=0, results=(), missing=str(error).partition("\n")[0])
    missing = without_data(run)
    return Planned(**common, folder=run.folder_name, updates=run.train.updates, results=ids, missing=missing)


def without_data(run: Any) -> str:
    """Why the data of a run are not at hand; empty where they are, or are made when they are needed."""
    from fewshot_bench.data.catalogue import standing
    from fewshot_bench.data.dataset import Dataset
    from fewshot_bench.plugins import registry

    if not isinstance(run.dataset, Dataset) or run.train.dataset not in registry.registered("datasets"):
        return ""
    state, _ = standing(registry.find("datasets", run.train.dataset), run.dataset)
    return f"its data are {state}" if state in ("to import", "to download") else ""


def request_of(arguments: tuple[str, ...], device: str) -> Any:
    """The request of `fsbench run` with these options."""
    from fewshot_bench.request import Request, checked

    given = _named(arguments)
    seeds = given.pop("seeds", "0")
    return checked(Request, {**given, "seed": int(seeds), "device": device})


def further_test(arguments: tuple[str, ...]) -> Any:
    """The request of `fsbench test RUN` with these options."""
    from fewshot_bench.request import TestRequest, checked

    return checked(TestRequest, _named(arguments))


def _named(arguments: tuple[str, ...]) -> dict[str, Any]:
    """`--name value ...` by name, whole numbers as such; what `--set` sets in a list."""
    given: dict[str, Any] = {}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        if name == "set":
            given.setdefault("settings", []).append(value)
        else:
            given[name] = int(value) if value.isdecimal() else value
    return given


def printed(plans: Iterable[Planned]) -> str:
    """Plans as `asked_for` reads them."""
    return json.dumps([asdict(one) for one in plans])


def asked_for(script: str, arguments: list[str]) -> list[Planned]:
    """The plan that `script` prints; raises `SystemExit` with its last words where it prints none."""
    asked = subprocess.run([sys.executable, script, *arguments, "--print-plan"], stdout=subprocess.PIPE, text=True)
    if asked.returncode:
        raise SystemExit(asked.returncode)
    return [Planned.read(one) for one in json.loads(asked.stdout)]
