"""Results that take long to make and that every run needs, kept in the cache until what they were made from changes."""

import json
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.errors import FewshotError
from fewshot_bench.hashing import short_hash
from fewshot_bench.storage import atomic

T = TypeVar("T")


def kept(kind: str, made_of: object, make: Callable[[], T], worth: Callable[[], bool] = lambda: True) -> T:
    """`make()`, or its result when it was last made from the same. JSON must be able to hold both the result and `made_of`.

    A result that is not `worth` it, which is asked once it is made, is not kept.
    """
    if (held := find_kept(kind, made_of)) is not None:
        there: T = held
        return there
    made = make()
    if worth():
        with suppress(FewshotError), atomic(_file(kind, made_of)) as temporary:  # unless the cache cannot be written
            temporary.write_text(json.dumps(made), "utf-8")
    return made


def find_kept(kind: str, made_of: object) -> Any:
    """What is kept, or None, also for a file that is damaged or cannot be read."""
    with suppress(OSError, ValueError):  # ValueError: not UTF-8, or not JSON
        return json.loads(_file(kind, made_of).read_text("utf-8"))
    return None


def _file(kind: str, made_of: object) -> Path:
    return cache_folder() / kind / short_hash(made_of)


def stamp(path: Path) -> str:
    """A short text that changes when a file does, or any file below a folder, by its size or its time of change."""
    if path.is_dir():
        walked = Files(path).walked()
        stamps = walked.stamps  # in the order of the system, which changes with the folder: sorting would take longer
        linked = chain(walked.nowhere, *walked.again.items())
        hashed = sha256("\0".join(chain(stamps, linked)).encode("utf-8", "surrogateescape"))
        hashed.update(np.fromiter(chain.from_iterable(stamps.values()), np.int64, 2 * len(stamps)).tobytes())
        return f"{path.absolute()} {hashed.hexdigest()}"
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"
