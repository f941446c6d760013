"""Texts that take a while to make and that every run asks for, kept in the cache until what they were made of changes."""

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from fewshot_bench.errors import FewshotError
from fewshot_bench.files import Files
from fewshot_bench.prepare import cache_folder
from fewshot_bench.records import atomic
from fewshot_bench.specs import short_hash


def kept(kind: str, made_of: object, make: Callable[[], str], worth: Callable[[], bool] = lambda: True) -> str:
    """`make()`, or what it was when it was last made of the same; `made_of` is anything that JSON can say.

    What is not `worth` it, asked once it is made, is not kept.
    """
    path = cache_folder() / kind / short_hash(made_of)
    with suppress(OSError):
        return path.read_text("utf-8")
    text = make()
    if worth():
        with suppress(FewshotError), atomic(path) as temporary:  # a cache that cannot be written: it is made again, no more
            temporary.write_text(text, "utf-8")
    return text


def stamp(path: Path) -> str:
    """A short text that changes when a file does, or any file below a folder, by its size or its time of change."""
    if path.is_dir():
        return f"{path.absolute()} {sha256(repr(Files(path).stamps()).encode()).hexdigest()}"
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"
