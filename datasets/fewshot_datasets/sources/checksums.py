"""CRC-32 of the files of a folder or an archive: a zip lists them, others are read once.

Those that were read are kept in the cache until a file's name, size or time of change differs. So the same images have one
identity in a folder, a zip and a tar, wherever they lie, and a changed image is noticed even if its size is the same.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from zlib import crc32

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.files.source_files import BROKEN, Files, opened
from fewshot_datasets.sources.kept import kept

UNREAD = -1
"""Stands for the CRC-32 of a file that cannot be read. Preparation then names the file."""


def checksums(files: Files, names: Sequence[str], stamps: Mapping[str, tuple[int, int]]) -> list[int]:
    """CRC-32 of each named file, whose size and time of change `stamps` has. Raises `DataError` for a damaged archive."""
    if (listed := files.sums()) is not None:
        return [listed[name] for name in names]
    sums: list[int] = []

    def read() -> list[int]:
        with opened(files.path, cache_folder()) as readable, ThreadPoolExecutor() as threads:
            sums.extend(threads.map(partial(_checksum, readable), names))
        return sums

    made_of = [str(files.path.absolute()), *((name, *stamps[name]) for name in names)]
    return kept("checksums", made_of, read, worth=lambda: UNREAD not in sums)


def _checksum(files: Files, name: str) -> int:
    try:
        return crc32(files.read(name))
    except BROKEN:
        return UNREAD
