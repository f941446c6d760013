"""Brings records to the present form of ids: `python leaderboard/results/renew.py [FOLDER ...] [--write]`.

Of each record, the hash of its method's source is computed again from the commit that the record names, by that commit's
own code, or by a later form of version 1, to which early records were brought when it came. Where it is the record's, the
present hash of the same code takes its place, with it the run's id, the ids of its results and the name of its folder; the
old ones stay in the record (`former`). A record is left as it is, and named, where the hash is another, where the commit is
gone, or where it was made from uncommitted changes: it must be made again. A further test whose code no commit has is left
out, and the command that tests again is printed.

Without `--write` it says what it would do. What is done is not done again; FOLDER: the records beside this file.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fewshot_bench
from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import FewshotError
from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.results.score_files import read_scores, write_scores
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors, weights_sha256
from fewshot_bench.source.source_hash import VERSION
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import write_json

HERE = Path(__file__).parent
CORE = Path(str(fewshot_bench.__file__)).parent
OF_A_COMMIT = """
import importlib, json, sys, tomllib
from functools import reduce
from types import ModuleType

tree, core, forms, wanted = json.loads(sys.stdin.read())
points = tomllib.load(open(f"{tree}/pyproject.toml", "rb"))["project"]["entry-points"]

def load(group, name):
    module, _, attributes = (points[f"fewshot_bench.{group}"][name] if ":" not in name else name).partition(":")
    return reduce(getattr, attributes.split("."), importlib.import_module(module))

def loaded(method, backbone):
    try:
        return load("methods", method), load("backbones", backbone) if backbone else None
    except Exception as error:
        return error

for home in ("source.source_hash", "source", "plugins"):  # the present place, and those of earlier commits
    try:
        source_sha256 = importlib.import_module(f"fewshot_bench.{home}").source_sha256
        break
    except (ImportError, AttributeError):
        pass
found = [loaded(*one) for one in wanted]
hashes = [source_sha256]
for text in forms:
    form = ModuleType("form")
    exec(text, vars(form))
    hashes.append(form.source_sha256)

def old(method, backbone):
    objects = [method, *([getattr(backbone, "func", backbone)] if backbone else [])]
    return [compute(*objects) for compute in hashes]

then = [None if isinstance(one, Exception) else old(*one) for one in found]
for name in [one for one in sys.modules if one.startswith("fewshot_bench.source")]:
    del sys.modules[name]
package = sys.modules["fewshot_bench.source"] = ModuleType("fewshot_bench.source")
package.__path__ = [f"{core}/source"]
module = importlib.import_module("fewshot_bench.source.source_hash")
new = lambda method, backbone: module.source_sha256(method, *([backbone] if backbone else []))
now = [str(one) if isinstance(one, Exception) else new(*one) for one in found]
print("hashes:", json.dumps(list(zip(then, now))))
"""

Code = tuple[str, str | None]
"""A method and its backbone, by name."""


class Refused(Exception):
    """Why a record cannot be renewed."""


@dataclass(frozen=True)
class Hashes:
    """The source of one method at one commit."""

    then: tuple[str, ...] | None
    """By that commit's own code, and by each later form of version 1; None where it cannot be imported."""
    now: str
    """By the present code."""


class Commits:
    """The hashes of commits' methods, each commit unpacked and asked once."""

    def __init__(self, wanted: Mapping[str, set[Code]]) -> None:
        self.wanted = wanted
        self.found: dict[str, dict[Code, Hashes]] = {}
        self.silent: dict[str, str] = {}
        """Commits that cannot be asked, and why."""

    def hashes(self, commit: str, code: Code) -> Hashes:
        """The hashes of a method at a commit; raises `Refused`."""
        if commit in self.silent:
            raise Refused(self.silent[commit])
        if code not in self.found.setdefault(commit, {}):
            try:
                self.found[commit] |= _ask(commit, sorted({*self.wanted.get(commit, ()), code}, key=str))
            except Refused as reason:
                self.silent[commit] = str(reason)
                raise
        found = self.found[commit][code]
        if not found.then:
            raise Refused(f"its method cannot be imported at commit {commit[:10]}: {found.now}")
        return found

    def that_gives(self, sha256: str, commit: str, code: Code) -> Hashes:
        """The hashes at the first commit from `commit` on whose own code gives `sha256`; raises `Refused`."""
        if sha256 in ((first := self.hashes(commit, code)).then or ()):
            return first
        paths = (
            "fewshot_bench/source.py",
            "fewshot_bench/source",
            f"methods/fewshot_methods/{code[0].replace('-', '_')}*.py",
            "methods/*/backbones",
        )
        later = _git("log", "--reverse", "--format=%H", f"{commit}..HEAD", "--", *paths).decode().split()
        named = [one for one in later if one in self.wanted]
        for one in [*named, *(one for one in later if one not in named)]:
            with suppress(Refused):
                if sha256 in ((found := self.hashes(one, code)).then or ()):
                    return found
        raise Refused(f"no commit from {commit[:10]} on gives the source {sha256[:10]}")


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return done.stdout


def _ask(commit: str, codes: list[Code]) -> dict[Code, Hashes]:
    root = _git("rev-parse", "--show-toplevel").decode().strip()
    forms = _forms_of_version_1()
    packed = _git("-C", root, "archive", commit, "pyproject.toml", "fewshot_bench", "methods")
    with tempfile.TemporaryDirectory() as tree:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(tree, filter="data")
        places = os.pathsep.join([tree, f"{tree}/methods"])
        done = subprocess.run(
            [sys.executable, "-c", OF_A_COMMIT],
            input=json.dumps([tree, str(CORE), forms, codes]),
            env=os.environ | {"PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            cwd=tree,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("hashes:")]
    if not lines:
        raise Refused(f"commit {commit[:10]} cannot be asked: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    pairs = json.loads(lines[0].partition(":")[2])
    return {code: Hashes(then and tuple(then), now) for code, (then, now) in zip(codes, pairs, strict=True)}


@cache
def _forms_of_version_1() -> list[str]:
    """The texts that `fewshot_bench/source.py` had, before version 2 and before it moved."""
    commits = _git("log", "--reverse", "--diff-filter=AM", "--format=%H", "--", f"{CORE / 'source.py'}").decode().split()
    texts = [_git("show", f"{one}:fewshot_bench/source.py").decode() for one in commits]
    return [text for text in texts if "VERSION = " not in text]


def code_of(content: Mapping[str, Any]) -> Code:
    """The method and the backbone of a record."""
    backbone = content["train"]["backbone"]
    return content["method"].get("reference", content["method"]["name"]), backbone["name"] if backbone else None


def commit_of(content: Mapping[str, Any]) -> str:
    """The commit that a record was made at; raises `Refused`."""
    git = content["provenance"].get("git")
    if not git:
        raise Refused("it names no commit")
    if git["dirty"]:
        raise Refused("it was made from uncommitted changes")
    try:
        _git("cat-file", "-e", f"{git['commit']}^{{commit}}")
    except Refused:
        raise Refused(f"commit {git['commit'][:10]} is gone") from None
    return str(git["commit"])


def is_present(content: Mapping[str, Any]) -> bool:
    """Whether a record was made with the present form of ids."""
    return "former" not in content and content["method"].get("source_version") == VERSION


def renewed(record: Record, commits: Commits) -> dict[str, Any]:
    """The record's content under its new ids; raises `Refused`."""
    content, code, commit = record.content, code_of(record.content), commit_of(record.content)
    former = content.get("former", {"run_id": record.run_id, "source_sha256": content["method"]["source_sha256"]})
    hashes = commits.hashes(commit, code)
    if former["source_sha256"] not in (hashes.then or ()):
        raise Refused(f"its source {former['source_sha256'][:10]} is not that of commit {commit[:10]}")
    spec = TrainSpec.model_validate_json(json.dumps(content["train"]))
    new = run_id(spec, hashes.now, content["data"]["identity"])
    results = []
    for result in content["results"]:
        try:
            results.append(_renewed_result(result, commit, code, commits))
        except Refused as reason:
            print(f"{record.folder.name}: left out is a test, {reason}. Again: {result.get('command')}")
    if not results:
        raise Refused("no commit has the code of any of its tests")
    made = content | {
        "run_id": new,
        "former": former,
        "engine": ENGINE,
        "train": spec.model_dump(mode="json"),
        "method": content["method"] | {"source_sha256": hashes.now, "source_version": VERSION},
        "results": results,
    }
    text = json.dumps(made).replace(f"fsbench test {record.run_id} ", f"fsbench test {new} ")
    return dict(json.loads(text))


def _renewed_result(result: dict[str, Any], commit: str, code: Code, commits: Commits) -> dict[str, Any]:
    former = result.get("former", {"id": result["id"], "source_sha256": result["source_sha256"]})
    now = commits.that_gives(former["source_sha256"], commit, code).now
    test = TestSpec.model_validate_json(json.dumps(result["test"]))
    new = identify_result(test, result["data"]["identity"] if "data" in result else None, now)
    return result | {"id": new, "source_sha256": now, "engine": ENGINE, "former": former}


def write(record: Record, content: dict[str, Any]) -> Path:
    """Put a renewed record in the old one's place, its weights and scores under the new ids; returns its folder."""
    folder = record.folder.with_name(record.folder.name.replace(record.run_id, content["run_id"]))
    scores = read_scores(record.folder, sum(one["test"]["episodes"] for one in record.results))
    ids = {one["id"] if one["id"] in scores else one["former"]["id"]: one["id"] for one in content["results"]}
    with tempfile.TemporaryDirectory(dir=record.folder.parent) as place:
        made = Path(place) / folder.name
        shutil.copytree(record.folder, made)
        if (checkpoint := made / "checkpoint.safetensors").is_file():
            tensors, about = load_tensors(checkpoint)
            if about["run_id"] not in (record.run_id, content["former"]["run_id"]):
                raise Refused(f"its weights are those of {about['run_id']}")
            save_tensors(checkpoint, tensors, about | {"run_id": content["run_id"]})
            content = content | {"weights_sha256": weights_sha256(tensors)}
        write_scores(made, {new: scores[old] for old, new in ids.items()})
        write_json(made / "record.json", content)
        shutil.rmtree(record.folder)
        made.rename(folder)
    return folder


def main() -> None:
    """Renew what can be renewed, and say what cannot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[HERE], help="where records lie")
    parser.add_argument("--write", action="store_true", help="change them; without it, say what would be done")
    given = parser.parse_args()
    records = [record for record in find_records(given.folders) if not is_present(record.content)]
    commits = Commits(_wanted(records))
    present: dict[Code, str] = {}
    refused = changed = 0
    for record in records:
        try:
            content = renewed(record, commits)
            if content != record.content and given.write:
                write(record, content)
            changed += content != record.content
            print(f"{record.folder.name} -> {content['run_id']}{_outdated(content, present)}")
        except Refused as reason:
            refused += 1
            print(f"{record.folder.name}: to be made again, {reason}")
    print(f"{changed} {'renewed' if given.write else 'to be renewed'}, {refused} refused.")
    sys.exit(1 if refused else 0)


def _wanted(records: Iterable[Record]) -> dict[str, set[Code]]:
    wanted: dict[str, set[Code]] = defaultdict(set)
    for record in records:
        git = record.content["provenance"].get("git") or {}
        wanted[str(git.get("commit"))].add(code_of(record.content))
    return wanted


def _outdated(content: Mapping[str, Any], present: dict[Code, str]) -> str:
    """Says so where the method's code is another by now."""
    from fewshot_bench.plugins import registry
    from fewshot_bench.source.source_hash import source_sha256

    code = code_of(content)
    try:
        if code not in present:
            method, backbone = registry.find("methods", code[0]).load(), code[1]
            present[code] = source_sha256(method, *([registry.find("backbones", backbone).load()] if backbone else []))
    except FewshotError:
        return " (its method is not installed here)"
    return "" if present[code] == content["method"]["source_sha256"] else " (its method's code is another by now)"


if __name__ == "__main__":
    main()
