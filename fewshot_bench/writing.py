"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fewshot_bench.errors import FewshotError


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON atomically; never NaN."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    Raises `FewshotError` that names the path where the system refuses (disk full, folder not writable).
    """
    here = f"{os.getpid()}-{os.urandom(4).hex()}"  # machines that share a folder may share process numbers
    temporary = path.with_name(f".{path.name}.{here}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FewshotError(f"Cannot write {path}: {reason}. Nothing that was there is lost.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
