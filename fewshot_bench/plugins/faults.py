"""The error for an exception in a plugin's code, in one to three lines: what was raised, and at which line of the plugin."""

import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fewshot_bench.errors import FewshotError, PluginError
from fewshot_bench.plugins import registry
from fewshot_bench.text.printable import printable

CORE = Path(__file__).parents[1]
STDLIB = Path(sysconfig.get_path("stdlib"))
TRACEBACK = "FSBENCH_TRACEBACK"
"""The environment variable that asks for tracebacks."""
MOST_TEXT = 300
"""The most characters of an exception's text that are shown."""


@contextmanager
def plugin_faults_told() -> Iterator[None]:
    """Turn an exception that a plugin's code raised into a `PluginError`, whose cause it stays. Others pass unchanged."""
    try:
        yield
    except FewshotError:
        raise
    except (Exception, SystemExit) as error:
        told = told_fault(error)
        if told is None:
            raise
        raise told from error


def told_fault(error: BaseException) -> FewshotError | None:
    """The error for an exception of a plugin's code, or for a lack of memory; None for any other exception."""
    place = _place(error)
    if os.environ.get(TRACEBACK) and place is not None:
        traceback.print_exception(error, file=sys.stderr)
    if _is_want_of_memory(error):
        asked = re.search(r"allocate (\d[\d.]* \w+)", str(error))
        return FewshotError(
            f"There is not enough memory{f' for {asked[1]} more' if asked else ''}{f' ({place})' if place else ''}.\n"
            "These need less: fewer --ways, --shots or --queries, --set batch_size, a smaller network or smaller images."
        )
    if place is None:
        return None
    if _wants_query_labels(error):
        return PluginError(
            f"{_text(error)} ({place}).\n"
            "tasks.query_y is None in predict: no method sees a query label at a test. It answers from the support."
        )
    if os.environ.get(TRACEBACK):
        return PluginError(f"{_text(error)} ({place}).")
    return PluginError(
        f"{_text(error)} ({place}).\nThis is an error in the plugin's own code; {TRACEBACK}=1 prints the traceback."
    )


def _wants_query_labels(error: BaseException) -> bool:
    """Whether a line of a plugin failed on query labels, which are None where there are none to be seen."""
    lines = (frame.line or "" for frame in traceback.extract_tb(error.__traceback__) if frame.name != "loss")
    return "NoneType" in str(error) and any("query_y" in line for line in lines)


def _is_want_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: in Python, numpy or torch, on the CPU or an accelerator."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


def _text(error: BaseException) -> str:
    """The exception's type and the first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = printable(lines[0], MOST_TEXT) if lines else ""
    return ": ".join(filter(None, [type(error).__name__, text.rstrip(".")]))


def _place(error: BaseException) -> str | None:
    """File, line and function of the innermost frame of a plugin, else of the innermost frame of the core that works for a
    plugin's class."""
    frames = list(traceback.walk_tb(error.__traceback__))[::-1]
    for frame, line in frames:
        if _is_plugin_file(frame):
            return f"{_shown(frame.f_code.co_filename)}, line {line}, in {frame.f_code.co_name}"
    for frame, line in frames:
        if (owner := _plugin_class(frame)) is not None:
            name = frame.f_code.co_name
            return (
                f"{Path(frame.f_code.co_filename).name}, line {line}, in {name} of {owner.__module__}:{owner.__qualname__}"
            )
    return None


def _is_plugin_file(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if module in registry.IMPORTED:
        return True
    path = Path(frame.f_code.co_filename)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return path.suffix == ".py" and not (installed or path.is_relative_to(CORE) or path.is_relative_to(STDLIB))


def _plugin_class(frame: FrameType) -> type[Any] | None:
    owner = type(frame.f_locals.get("self"))
    return owner if owner.__module__.partition(".")[0] in registry.IMPORTED else None


def _shown(path: str) -> str:
    """A file's path, relative if it lies below the working folder."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path
