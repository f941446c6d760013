"""A hash of the content of large files.

Reading gigabytes takes seconds, and every run asks: a hash is kept in the cache, by the file's place, size and time of
change.
"""

from collections.abc import Iterable
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path

from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.files import BROKEN, Files
from fewshot_bench.prepare import cache_folder
from fewshot_bench.records import atomic


def content_hash(files: Files, place: Path, names: Iterable[str]) -> str:
    """The first 12 hex digits of a sha256 over the content of some files, in this order; raises `DataError`.

    `place` is the folder or archive as the user has it, which `files` may have been unpacked from.
    """
    return sha256("".join(_file_hash(files, place, name) for name in names).encode()).hexdigest()[:12]


def _file_hash(files: Files, place: Path, name: str) -> str:
    path = place / name if place.is_dir() else place
    try:
        status = path.stat()
        key = sha256(f"{path.absolute()}\0{name}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:24]
        kept = cache_folder() / "hashes" / key
        with suppress(OSError):
            return kept.read_text("ascii")
        with files.stream(name) as file:
            found = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}). Copy or download it again.") from error
    with suppress(FewshotError), atomic(kept) as temporary:  # a cache that cannot be written costs another reading, no more
        temporary.write_text(found, "ascii")
    return found
