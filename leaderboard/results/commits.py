"""The code of commits: unpacked, and asked for the hashes of its methods, old form and new, by that code itself."""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fewshot_bench

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


def code_of(content: Mapping[str, Any]) -> Code:
    """The method and the backbone of a record."""
    backbone = content["train"]["backbone"]
    return content["method"].get("reference", content["method"]["name"]), backbone["name"] if backbone else None


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
        later = git("log", "--reverse", "--format=%H", f"{commit}..HEAD", "--", *paths).decode().split()
        named = [one for one in later if one in self.wanted]
        for one in [*named, *(one for one in later if one not in named)]:
            with suppress(Refused):
                if sha256 in ((found := self.hashes(one, code)).then or ()):
                    return found
        raise Refused(f"no commit from {commit[:10]} on gives the source {sha256[:10]}")


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return done.stdout


@contextmanager
def unpacked(commit: str, *folders: str) -> Iterator[Path]:
    """These folders of a commit and its `pyproject.toml`, in a temporary folder; raises `Refused`."""
    root = git("rev-parse", "--show-toplevel").decode().strip()
    packed = git("-C", root, "archive", commit, "pyproject.toml", *folders)
    with tempfile.TemporaryDirectory() as tree:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(tree, filter="data")
        yield Path(tree)


def _ask(commit: str, codes: list[Code]) -> dict[Code, Hashes]:
    forms = _forms_of_version_1()
    with unpacked(commit, "fewshot_bench", "methods") as tree:
        places = os.pathsep.join([str(tree), f"{tree}/methods"])
        done = subprocess.run(
            [sys.executable, "-c", OF_A_COMMIT],
            input=json.dumps([str(tree), str(CORE), forms, codes]),
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
    commits = git("log", "--reverse", "--diff-filter=AM", "--format=%H", "--", f"{CORE / 'source.py'}").decode().split()
    texts = [git("show", f"{one}:fewshot_bench/source.py").decode() for one in commits]
    return [text for text in texts if "VERSION = " not in text]
