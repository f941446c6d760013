"""The code blocks of README and docs, as they stand in their pages, and a folder in which a page's blocks run in order.

A page is read from top to bottom. What stands before a block says what becomes of it:

- a line `` `name.py`: `` makes it a file of that name in the page's folder;
- a comment `<!-- not run: REASON -->` leaves it out, and the reason is counted;
- a block of `text` shows a folder or an output, and is no code. Any other must be of a language in `LANGUAGES`.
"""

import linecache
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from command_line import call

import fewshot_bench
from fewshot_bench import find_records

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = ("sh", "python", "yaml", "toml", "csv", "text")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w./-]+)`:\n\n\Z")
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n+(?:`[\w./-]+`:\n\n)?\Z")
FSBENCH = (sys.executable, "-c", "from fewshot_bench.cli.main import main; main()")
TRAINING = {"updates": 2, "validation.every": 2, "validation.episodes": 4}
TEST = ("--protocol", "custom", "--episodes", "8")
UNTRAINED = ("nearest-centroid", "nearest-neighbour")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    file: str | None
    """The name that the line before it gives it."""
    not_run: str | None
    """The reason why it is left out."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    found = []
    for fence in FENCE.finditer(text):
        before = text[: fence.start()]
        file, left_out = FILE.search(before), NOT_RUN.search(before)
        indent = len(fence["indent"])
        lines = "".join(line[indent:] for line in fence["text"].splitlines(keepends=True))
        line = before.count("\n") + 1
        file_name, reason = (file[1] if file else None), (left_out[1] if left_out else None)
        found.append(Block(name, line, fence["language"], lines, file_name, reason))
    return found


def commands_in(line: str) -> list[list[str]]:
    """The commands of a line, whose words `&&` parts; none of a comment."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def tiny(words: list[str]) -> list[str]:
    """A command that ends in a moment, in place of the one that a page shows; the others stay as they are.

    `run` trains for two updates and is tested on 8 episodes, whatever the page sets. With a protocol or a budget of its own
    it is a dry run: the whole request is resolved and the method rehearsed, and nothing is trained. `test` tests on 8
    episodes of the protocol `custom`, on 24 where it is a shard. `RUN` is the newest run.
    `list --check` lists without trying out every method.
    """
    if words[0] == "list":
        return [word for word in words if word != "--check"]
    if words[0] == "run":
        return _tiny_run(words)
    if words[0] == "test":
        return _tiny_test(words)
    return _named(words)


def _tiny_run(words: list[str]) -> list[str]:
    method = words[words.index("--method") + 1]
    protocol = words[words.index("--protocol") + 1] if "--protocol" in words else None
    if "--dry-run" in words:
        return words
    if protocol not in (None, "custom") or "--images" in words:
        return [*words, "--dry-run"]
    words = [word for before, word in pairwise(["", *words]) if "--episodes" not in (before, word)]
    test = TEST if protocol is None else TEST[2:]
    settings = [after for word, after in pairwise(words) if word == "--set"]
    training = {} if method in UNTRAINED or "updates=0" in settings else TRAINING
    if "validation=none" in settings:
        training = {key: value for key, value in training.items() if key == "updates"}
    pairs = [("--set", one) for one in settings if one.partition("=")[0].removeprefix("train.") in training]
    kept = [
        word
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False)
        if (word, after) not in pairs and (before, word) not in pairs
    ]
    return [*kept, *test, *(f"--set={key}={value}" for key, value in training.items())]


def _tiny_test(words: list[str]) -> list[str]:
    kept = list(words)
    if "--protocol" in kept:
        at = kept.index("--protocol")
        del kept[at : at + 2]
    episodes = "24" if "--shard" in kept else "8"
    return [*_named(kept), *TEST[:3], episodes]


def _named(words: list[str]) -> list[str]:
    """The words with the newest run in the place of `RUN`."""
    if "RUN" not in words:
        return words
    newest = max(find_records(["runs"]), key=lambda record: (record.folder / "record.json").stat().st_mtime_ns)
    return [newest.run_id if word == "RUN" else word for word in words]


def tiny_run(**arguments: Any) -> Any:
    """`fewshot_bench.run` for a moment, as `tiny` changes its command."""
    settings = arguments.pop("settings", None) or {}
    flat = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    for section, values in settings.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{key}": value for key, value in values.items()}
    flat = {key: value for key, value in flat.items() if key.removeprefix("train.") not in TRAINING}
    training = {} if arguments.get("method") in UNTRAINED else TRAINING
    return REAL_RUN(**{"protocol": "custom", "episodes": 8} | arguments, settings=flat | training)


REAL_RUN = fewshot_bench.run


@dataclass
class Reader:
    """Who follows a page in a folder of its own: writes its files, gives its commands, runs its Python."""

    folder: Path
    packages: Path | None = None
    """Where pip has installed what the page has written."""
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    said: list[tuple[str, str]] = field(default_factory=list)
    """Each command of the page and what it printed."""

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        assert block.language in LANGUAGES, f"{block}: no language, or one that is not run: {block.language!r}"
        if block.file:
            (self.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        checks: Mapping[str, Callable[[str], Any]] = {"yaml": yaml.safe_load, "toml": tomllib.loads}
        if block.language in checks:
            checks[block.language](block.text)
        elif block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                for words in commands_in(line):
                    self.give(words, f"{block}: {line}")
        elif block.language == "python":
            self.python(block)

    def python(self, block: Block) -> None:
        """Run a block of Python where those before it left off; a file of a plugin is run, too."""
        source = f"<{block}>"
        linecache.cache[source] = len(block.text), None, block.text.splitlines(keepends=True), source
        names = {"__name__": Path(block.file).stem} if block.file else self.names
        if not block.file:
            exec(compile(block.text, source, "exec"), names)
        else:
            compile(block.text, source, "exec")  # it is imported by the command that names it

    def give(self, words: list[str], where: str) -> None:
        """Give a command; it must end well."""
        if words[:4] == ["python", "-m", "pip", "install"]:
            return self.install(words[4:], where)
        if words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], env=self.environment(), capture_output=True, text=True)
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            assert words[0] == "fsbench", f"{where}: only fsbench, python and pip are run"
            code, out, err = self.fsbench(tiny(words[1:]))
        assert code == 0, f"{where}\n{err}"
        self.said.append((shlex.join(words), out))
        return None

    def fsbench(self, words: list[str]) -> tuple[int, str, str]:
        """In this process, or in one of its own once a package is installed."""
        if self.packages is None:
            said = call(*words)
            return said.code, said.out, said.err
        done = subprocess.run([*FSBENCH, *words], env=self.environment(), capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def install(self, what: list[str], where: str) -> None:
        """Install the page's own package beside the others, without a network. Where the page writes none, fewshot-bench
        itself is meant, which is installed (`tests/test_wheel.py` does that)."""
        assert what == ["."], f"{where}: only what the page itself writes is installed"
        if not (self.folder / "pyproject.toml").is_file():
            return
        self.packages = self.folder / "packages"
        offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
        pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(self.packages), "."]
        done = subprocess.run(pip, capture_output=True, text=True)
        assert done.returncode == 0, f"{where}\n{done.stderr}"

    def environment(self) -> dict[str, str]:
        """The environment of a process of its own."""
        path = os.pathsep.join(filter(None, [self.packages and str(self.packages), os.environ.get("PYTHONPATH")]))
        return os.environ | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": path} if path else {})

    def printed(self, start: str) -> str:
        """What the last command that begins so printed."""
        return [out for command, out in self.said if command.startswith(start)][-1]


@contextmanager
def reading_in(folder: Path) -> Iterator[Reader]:
    """A reader whose working folder is `folder`, where only what the page makes is found."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        with mock.patch.object(fewshot_bench, "run", tiny_run, create=True):
            yield Reader(folder)
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
