"""A hash of the content of large files.

Reading gigabytes takes seconds, and every run needs the hash. So it is kept in the cache, by the file's place, size and time
of change.
"""

from collections.abc import Iterable
from hashlib import file_digest, sha256
from pathlib import Path

from fewshot_bench.data.files.source_files import BROKEN, Files
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.kept import kept, stamp


def content_hash(files: Files, place: Path, names: Iterable[str]) -> str:
    """The first 12 hex digits of a sha256 over the content of some files, in this order; raises `DataError`.

    `place` is the folder or archive as the user has it, which `files` may have been unpacked from.
    """
    return sha256("".join(_file_hash(files, place, name) for name in names).encode()).hexdigest()[:12]


def _file_hash(files: Files, place: Path, name: str) -> str:
    path = place / name if place.is_dir() else place

    def read() -> str:
        with files.stream(name) as file:
            return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    try:
        return kept("hashes", [name, stamp(path)], read)
    except BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}). Copy or download it again.") from error
