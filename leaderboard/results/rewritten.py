"""Records of methods that were rewritten without another computation: shown by what both codes compute (see `renew.py`).

Each code runs in a process of its own (`computed.py`), from the record's specs and seed, under its plan. What is compared:
the losses of the first updates, the whole state after them, a block of the validation, and the outputs and scores of the
first episodes of each test. Nothing may differ in a bit.
"""

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from commits import HERE, Refused, code_of, git, unpacked
from fewshot_bench.engine import ENGINE
from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.results.records import Record
from fewshot_bench.runs.checkpoint import load_tensors, weights_sha256
from fewshot_bench.source.source_hash import VERSION
from fewshot_bench.specs import TestSpec, TrainSpec

PACKAGES = ("fewshot_bench", "methods", "datasets")
GROCERIES = "$FSBENCH_DATA/grocery-store"
"""The photographs of the published records of `folder`, as `make.py` has them."""
OWN, TRAINED = "its own", "those after these updates"
"""What tests were compared with: the record's own weights, or where they are not at hand those of the updates compared."""
NEAR = 1e-4
"""By so much, relatively, may a squared error differ from one that another machine computed."""


@dataclass(frozen=True)
class Extent:
    """How much is compared."""

    updates: int = 20
    episodes: int = 50
    weights: Path | None = None
    """Where runs with their weights lie, beside those that records hold."""


class Side:
    """The code of a tree, or with None the present code, in a process of its own, which is begun when it is asked."""

    def __init__(self, tree: Path | None = None) -> None:
        places = [str(tree / one) for one in (".", *PACKAGES[1:])] if tree else []
        path = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        self.process: subprocess.Popen[str] | None = None

    def _begun(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", str(HERE / "computed.py")]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment, cwd=HERE, text=True
        )

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers; raises `Refused` with its reason."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._begun()
        assert self.process.stdin and self.process.stdout
        line = ""
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise Refused(f"its process ended with {self.process.wait()}")
        said: dict[str, Any] = json.loads(line)
        if "refused" in said:
            raise Refused(said["refused"])
        return said


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A commit's code, unpacked, with what makes its plugins known where it is imported from."""
    with unpacked(commit, *PACKAGES) as tree:
        project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
        about = tree / f"fewshot_bench-{project['version']}.dist-info"
        about.mkdir()
        text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (about / "METADATA").write_text(text, "utf-8")
        groups = project["entry-points"].items()
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items()) for group, points in groups
        ]
        (about / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        yield tree


def asked_of(record: Record, extent: Extent) -> dict[str, Any]:
    """What is asked of both sides about a record: for now the source alone; raises `Refused`."""
    content, (method, backbone) = record.content, code_of(record.content)
    if "plan" not in content:
        raise Refused("it holds no plan")
    groceries = Path(os.path.expandvars(GROCERIES))
    return {
        "method": method,
        "backbone": backbone,
        "dataset": content["data"].get("reference", content["train"]["dataset"]),
        "data_root": str(groceries) if content["train"]["dataset"] == "folder" else None,
        "identity": content["data"]["identity"],
        "train": content["train"],
        "tests": {result["id"]: result["test"] for result in record.results},
        "plan": {"kernels": False} | content["plan"],
        "updates": extent.updates,
        "episodes": extent.episodes,
        "weights": None,
        "compute": False,
    }


def weights_of(record: Record, folder: Path | None) -> Path | None:
    """A record's own weights, None where they are not at hand; raises `Refused` for another's."""
    homes = [record.folder, *([folder / record.folder.name] if folder else [])]
    path = next((one for home in homes if (one := home / "checkpoint.safetensors").is_file()), None)
    if path is None:
        return None
    tensors, about = load_tensors(path)
    if about["run_id"] not in ids_of(record) or record.content.get("weights_sha256") not in (None, weights_sha256(tensors)):
        raise Refused(f"{path} holds the weights of another run")
    return path


def ids_of(record: Record) -> list[str]:
    """The id of a record and those that it had."""
    ids, former = [record.run_id], record.content.get("former")
    while former:
        ids.append(former["run_id"])
        former = former.get("former")
    return ids


def same(asked: Mapping[str, Any], then: Side, now: Side) -> dict[str, Any]:
    """What both sides compute; raises `Refused` where anything differs."""
    before, after = then.ask(asked), now.ask(asked)
    what = {"losses": "losses", "state": "weights or the optimiser's state", "validation": "validation scores"}
    for key, words in what.items():
        if before.get(key) != after.get(key):
            first = _first(before[key], after[key]) if key == "losses" else ""
            raise Refused(f"the {words} differ{first} between the two codes")
    for name, found in before["tests"].items():
        if found != after["tests"][name]:
            raise Refused(f"the outputs of test {name} differ between the two codes")
    if before["engine"] != after["engine"]:
        raise Refused("the core computes otherwise since (ENGINE)")
    return after


def _first(before: list[float], after: list[float]) -> str:
    update = next(i for i, (one, other) in enumerate(zip(before, after, strict=True)) if one != other)
    return f" at update {update + 1} ({before[update]!r}, {after[update]!r})"


def check_recorded(record: Record, found: Mapping[str, Any]) -> None:
    """Raises `Refused` where scores are not those recorded; another machine's rounding may turn one query of an episode."""
    for name, one in found["tests"].items():
        result = record.find(name)
        assert result is not None
        pairs = list(zip(one["scores"], record.scores(result), strict=False))
        if result["metric"] == "accuracy":
            query = 1 / (result["test"]["ways"] * result["test"]["queries"]) + 1e-9
            differing = sum(abs(score - recorded) > query for score, recorded in pairs)
        else:
            differing = sum(abs(score - recorded) > NEAR * max(abs(recorded), NEAR) for score, recorded in pairs)
        if differing:
            raise Refused(f"{differing} of the first {len(pairs)} scores of test {name} are not those recorded")


def brought_over(record: Record, commit: str, extent: Extent, then: Side, now: Side) -> dict[str, Any] | None:
    """The content of a record under its new ids, None where it has them; raises `Refused` where the code of `commit` is not
    its own, or where it does not compute what the present code does."""
    asked = asked_of(record, extent)
    if now.ask(asked)["source_sha256"] == record.content["method"]["source_sha256"]:
        return None
    hashes = {record.content["method"]["source_sha256"], *(one["source_sha256"] for one in record.results)}
    if hashes != {gives := then.ask(asked)["source_sha256"]}:
        named = ", ".join(sorted(one[:10] for one in hashes))
        raise Refused(f"its source {named} is not what commit {commit[:10]} gives, {gives[:10]}")
    if record.content["engine"] != ENGINE or any(one["engine"] != ENGINE for one in record.results):
        raise Refused("its numerics are those of another ENGINE")
    if any("data" in result for result in record.results):
        raise Refused("it is tested on other data than it was trained on, which is not compared")
    weights = weights_of(record, extent.weights)
    found = same(asked | {"compute": True, "weights": str(weights) if weights else None}, then, now)
    own = weights is not None or not found.get("losses")  # what has nothing to learn has no other
    if own:
        check_recorded(record, found)
    return _under_new_ids(record, found, {"since": commit, "weights": OWN if own else TRAINED})


def _under_new_ids(record: Record, found: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    content, source = record.content, found["source_sha256"]
    train = TrainSpec.model_validate_json(json.dumps(content["train"]))
    new = run_id(train, source, content["data"]["identity"])
    old = {"run_id": record.run_id, "source_sha256": content["method"]["source_sha256"]}
    validated = len(found["validation"]["scores"]) if found.get("validation") else 0
    seen = {**shown, "updates": len(found.get("losses", ())), "validation_episodes": validated}
    made = content | {
        "run_id": new,
        "former": _with_earlier({**old, "rewritten": seen}, content),
        "method": content["method"] | {"source_sha256": source, "source_version": VERSION},
        "results": [_result(one, source, len(found["tests"][one["id"]]["scores"])) for one in record.results],
    }
    text = json.dumps(made).replace(f"fsbench test {record.run_id} ", f"fsbench test {new} ")
    return dict(json.loads(text))


def _result(result: Mapping[str, Any], source: str, episodes: int) -> dict[str, Any]:
    new = identify_result(TestSpec.model_validate_json(json.dumps(result["test"])), None, source)
    old = {"id": result["id"], "source_sha256": result["source_sha256"], "rewritten": {"episodes": episodes}}
    return dict(result) | {"id": new, "source_sha256": source, "former": _with_earlier(old, result)}


def _with_earlier(former: dict[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
    """The ids of before, which hold those of before them."""
    return former | ({"former": of["former"]} if "former" in of else {})


Outcome = tuple[Record, dict[str, Any] | Refused | None, float]
"""A record, its new content (None: it needs none; or why there is none), and the seconds that it took."""


def all_brought_over(records: Iterable[Record], commit: str, extent: Extent, jobs: int) -> Iterator[Outcome]:
    """Each record as it is done, so many at once, by one pair of processes for each job; raises `Refused`."""
    whole = git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    with ExitStack() as held:
        tree = held.enter_context(tree_of(whole))
        sides: SimpleQueue[tuple[Side, Side]] = SimpleQueue()
        for _ in range(jobs):
            sides.put((held.enter_context(Side(tree)), held.enter_context(Side())))

        def outcome(record: Record) -> Outcome:
            pair, started = sides.get(), time.perf_counter()
            try:
                return record, brought_over(record, whole, extent, *pair), time.perf_counter() - started
            except Refused as reason:
                return record, reason, time.perf_counter() - started
            finally:
                sides.put(pair)

        pool = held.enter_context(ThreadPoolExecutor(jobs))
        yield from pool.map(outcome, records)
