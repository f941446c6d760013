"""The command line called in the tests' own process, and the smallest run that trains, validates and tests."""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from fewshot_bench.cli.main import _main

LINEAR = f"{Path(__file__).with_name('linear_method.py')}:Linear"
PIXELS = ("run", "--method", "nearest-centroid", "--protocol", "custom", "--episodes", "8")
NAMED = ("--method", LINEAR)
"""What `fsbench test` of such a run needs, whose method is not installed."""
TINY = (
    *("run", "--method", LINEAR, "--protocol", "custom", "--episodes", "8", "--queries", "5"),
    *("--set", "updates=6", "--set", "meta_batch_size=2", "--set", "validation.every=2", "--set", "validation.episodes=4"),
)
"""Six updates of a linear map; validated after the second, fourth and sixth."""


def changed(command: Iterable[object], *settings: str) -> list[object]:
    """A command with settings in the place of its own of the same keys, which may be given once."""
    keys = tuple(setting[: setting.index("=") + 1] for setting in settings)
    words = list(command)
    kept = [
        word
        for word, after in zip(words, [*words[1:], None], strict=True)
        if not (word == "--set" and str(after).startswith(keys))
    ]
    return [word for word in kept if not str(word).startswith(keys)] + [one for each in settings for one in ("--set", each)]


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What stands on stderr from the error on, after any progress."""
        return self.err[self.err.index("fsbench:") :]


def call(*arguments: object) -> Said:
    """Run `fsbench ARGUMENTS` in this process, on one thread."""
    out, err = io.StringIO(), io.StringIO()
    with one_thread(), redirect_stdout(out), redirect_stderr(err):
        code = _main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def finished(*arguments: object) -> Said:
    """`call` of a command that must end well."""
    said = call(*arguments)
    assert said.code == 0, said.err
    return said


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs inside plan for one thread: several slow tiny work down, and an execution plan decides the last bits."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    try:
        with mock.patch("os.sched_getaffinity", lambda pid: {0}, create=True), mock.patch.dict(os.environ):
            os.environ.pop("OMP_NUM_THREADS", None)
            yield
    finally:
        if torch and before:
            torch.set_num_threads(before)


def assert_refused(said: Said, code: int, *words: str) -> None:
    """The manners of every refusal."""
    assert said.code == code, said.err
    assert said.out == ""
    assert 1 <= len(said.complaint.splitlines()) <= 3, said.err
    assert "Traceback" not in said.err
    assert [word for word in words if word not in said.complaint] == [], said.complaint


def only_run(out: Path) -> Path:
    """The folder of the one run in `out`."""
    (folder,) = (path.parent for path in out.rglob("record.json"))
    return folder


def content(folder: Path) -> dict[str, Any]:
    """The content of a record but for times and costs."""
    record: dict[str, Any] = timeless(json.loads((folder / "record.json").read_text()))
    return record


def timeless(value: Any) -> Any:
    """A JSON value without what two equal runs may differ in."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in ("cost", "started", "finished", "train_s", "test_s")}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def environment(**changes: str) -> dict[str, str]:
    """The environment for a process of its own, on one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}
