"""A run in one file, for a colleague or a paper's appendix: record, scores, learning curve, weights.

The file is a ZIP archive with one folder. Equal runs give equal bytes. A bundle is a stranger's file: what is unpacked has
one of the names below and no other, ends up inside the target, has the size that it states, and is read as a record before
it gets there.
"""

import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from fewshot_bench.errors import DataError, FewshotError, UsageError, of_system
from fewshot_bench.inputs.plain_files import open_regular
from fewshot_bench.results.records import Record, check_whole, load_record
from fewshot_bench.storage import atomic, not_written

NAMES = re.compile(
    r"record\.json|episodes\.parquet|(queries|predictions|checkpoint)\.safetensors|log\.jsonl|split(-[0-9a-f]{12})?\.csv"
)
FOLDER = re.compile(r"(?!\.)[\w.+@ -]{1,200}")
LARGEST = {"record.json": 4 * 2**20, "checkpoint.safetensors": 64 * 2**30}
LARGEST_OTHER = 2**30
"""Bytes of a file in a bundle."""
BLOCK = 2**20


def pack(folder: Path, file: Path) -> list[str]:
    """Write the run in `folder` into `file`, and return the names that it holds; raises `DataError` for a damaged record,
    `UsageError` where the file is there, `FewshotError` where it cannot be written."""
    if file.exists():
        raise UsageError(f"{file} is there already: name another file, or move it away.")
    record = load_record(folder)
    check_whole(record)
    names = sorted(path.name for path in folder.iterdir() if NAMES.fullmatch(path.name))
    try:
        with atomic(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                entry = zipfile.ZipInfo(f"{folder.resolve().name}/{name}")  # of 1980: times would make other bytes
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                with open_regular(folder / name) as source, archive.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, BLOCK)
    except OSError as error:
        raise of_system(error) from None
    return names


def unpack(file: Path, out: Path) -> Record:
    """Put the run of a bundle below `out`, and return its record.

    Raises `UsageError` where a run of that name is there, `DataError` where the bundle is no such file, holds anything
    else, or its record is damaged; then nothing is left behind.
    """
    try:
        with open_regular(file) as content, zipfile.ZipFile(content) as archive:
            name = _checked(archive, file)
            if (out / name).exists():
                raise UsageError(f"{out / name} is there already: unpack elsewhere with --out, or move it away.")
            with _place(out) as temporary:
                folder = Path(temporary) / name
                folder.mkdir()
                for entry in archive.infolist():
                    with archive.open(entry) as source:
                        _copy(source, folder / PurePosixPath(entry.filename).name, entry.file_size)
                record = load_record(folder)
                check_whole(record)
                folder.rename(out / name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{file} is no bundle, or a damaged one: {error}.") from None
    except OSError as error:
        raise of_system(error) from None
    return load_record(out / name)


@contextmanager
def _place(out: Path) -> Iterator[str]:
    """A temporary folder in `out`; raises `FewshotError` where there can be none."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=".unpack-", dir=out)
    except OSError as error:
        raise not_written(out, error) from None
    with temporary as folder:
        yield folder


def _checked(archive: zipfile.ZipFile, file: Path) -> str:
    """The name of the one folder of a bundle; raises `DataError` for one that holds anything else."""
    folders, seen = set(), set()
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        folder, name = str(path.parent), path.name
        if entry.filename != f"{folder}/{name}" or not FOLDER.fullmatch(folder) or not NAMES.fullmatch(name):
            raise DataError(f"{file} holds {entry.filename!r}, which belongs to no run: nothing was unpacked.")
        if name in seen or entry.file_size > LARGEST.get(name, LARGEST_OTHER):
            raise DataError(f"{file} holds {entry.filename!r} twice, or too large: nothing was unpacked.")
        folders.add(folder)
        seen.add(name)
    if len(folders) != 1 or not seen >= {"record.json", "episodes.parquet"}:
        raise DataError(f"{file} does not hold one run with its record and scores: nothing was unpacked.")
    return folders.pop()


def _copy(source: IO[bytes], path: Path, size: int) -> None:
    """As many bytes as the archive states; raises `FewshotError` where there are more."""
    left = size
    with path.open("xb") as target:
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise FewshotError(f"{path.name} is larger than the bundle states.")
            target.write(block)
