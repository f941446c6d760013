"""CRC-32 of the files of a folder or an archive: a zip lists them, others are read once.

Those that were read are kept in the cache, and hold until a file's name, size or time of change is another. So the same
images have one identity in a folder, a zip and a tar, wherever they lie, and an image is known to be another even where
its size is the same.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from zlib import crc32

from fewshot_bench.errors import FewshotError
from fewshot_bench.files import BROKEN, Files, opened
from fewshot_bench.prepare import cache_folder
from fewshot_bench.records import atomic
from fewshot_bench.specs import short_hash

UNREAD = -1
"""In place of the CRC-32 of a file that cannot be read: preparation names it."""


def checksums(files: Files, names: Sequence[str], stamps: Mapping[str, tuple[int, int]]) -> list[int]:
    """CRC-32 of each named file, whose size and time of change `stamps` has. Raises `DataError` for a damaged archive."""
    if (listed := files.sums()) is not None:
        return [listed[name] for name in names]
    stamp = short_hash([(name, *stamps[name]) for name in names])
    kept = cache_folder() / "checksums" / f"{short_hash(str(files.path.absolute()))}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(kept.read_text(encoding="utf-8"))
        if held["stamp"] == stamp:
            return [int(one) for one in held["sums"]]
    with opened(files.path, cache_folder()) as readable, ThreadPoolExecutor() as threads:
        sums = list(threads.map(partial(_checksum, readable), names))
    if UNREAD not in sums:
        _keep(kept, {"stamp": stamp, "sums": sums})
    return sums


def _checksum(files: Files, name: str) -> int:
    try:
        return crc32(files.read(name))
    except BROKEN:
        return UNREAD


def _keep(path: Path, held: dict[str, object]) -> None:
    with suppress(FewshotError), atomic(path) as temporary:  # a cache that cannot be written: they are read again
        temporary.write_text(json.dumps(held), encoding="utf-8")
