"""Where Omniglot's drawings come from: its two archives, the folders they extract to, or its authors' repository.

Archives are read in memory and never extracted, and only names that a manifest lists are ever asked of them.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pooch
from PIL import Image

from fewshot_bench.errors import DataError
from fewshot_bench.prepare import cache_folder

URL = "https://github.com/brendenlake/omniglot/raw/master/python/{part}.zip"
# The authors' own archives, as torchvision pins them. They serve only to fetch a broken download again:
# mirrors pack other archives of the same drawings, so what is trusted in the end is the manifest of decoded pixels.
MD5 = {
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
SIZE = (105, 105)
# What zipfile and Pillow raise on damaged bytes; RuntimeError: an encrypted member, or one packed in an unknown way.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    BadZipFile,
    zlib.error,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Part:
    """One half of Omniglot, open: the names in it, and the bytes under a name (missing: KeyError or OSError)."""

    names: Callable[[], list[str]]
    read: Callable[[str], bytes]


def check_root(root: Path | None) -> None:
    """Raises `DataError` where a data root was given and is no folder."""
    if root is not None and not root.is_dir():
        raise DataError(
            f"The data root {root} does not exist or is no folder.\nIt was given by --data-root or FSBENCH_DATA."
        )


def find_parts(root: Path | None) -> dict[str, Path]:
    """The archive or folder of each half: in `root` or `root`/omniglot, or downloaded where `root` is None.

    Raises `DataError` saying what was looked for, and where, if either half is not there or cannot be downloaded.
    """
    if root is None:
        return {part: download(part) for part in MD5}
    check_root(root)
    found = {part: path for part in MD5 if (path := find_part(root, part))}
    missing = [part for part in MD5 if part not in found]
    if missing:
        has = f"{root} has only half of Omniglot ({found.popitem()[1].name})" if found else f"No Omniglot in {root}"
        wanted = " and ".join(f"{part}.zip (or the folder {part})" for part in missing)
        raise DataError(
            f"{has}.\nLooked for {wanted} in {root} and {root / 'omniglot'}.\nGet it from {URL.format(part=missing[0])}"
        )
    return found


def find_part(root: Path, part: str) -> Path | None:
    """The archive or else the folder of one half, in `root` or `root`/omniglot."""
    for folder in (root, root / "omniglot"):
        if (folder / f"{part}.zip").is_file():
            return folder / f"{part}.zip"
        if (folder / part).is_dir():
            return folder / part
    return None


def download(part: str) -> Path:
    """The archive of one half from the authors' repository, kept in the user's cache; `DataError` where that fails."""
    url = URL.format(part=part)
    cache = cache_folder() / "downloads" / "omniglot"
    try:
        kept = pooch.retrieve(url, known_hash=f"md5:{MD5[part]}", fname=f"{part}.zip", path=cache, progressbar=True)
    except (OSError, ValueError) as error:  # no network, an unwritable cache; another file than expected
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"Omniglot could not be downloaded: {url}\n{type(error).__name__}: {reason}\n"
            f"Put {' and '.join(f'{name}.zip' for name in MD5)} into a folder and give it by --data-root."
        ) from error
    return Path(kept)


@contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """Opens an archive or folder; raises `DataError` naming an archive that is truncated or none at all."""
    if path.is_dir():
        yield Part(lambda: [p.relative_to(path.parent).as_posix() for p in path.glob("*/*/*.png")], read_under(path.parent))
        return
    try:
        archive = ZipFile(path)
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged or truncated ({error}). Copy or download it again.") from error
    with archive:
        yield Part(archive.namelist, archive.read)


def read_under(folder: Path) -> Callable[[str], bytes]:
    """A function that reads the files of a folder by their names in it."""
    return lambda name: (folder / name).read_bytes()


def load_grey(png: bytes) -> Image.Image:
    """A drawing decoded, 105 x 105, paper 255 and ink 0; raises what Pillow raises, or ValueError for another size."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if image.size != SIZE:  # before decoding: a forged header must not fill the memory
            raise ValueError(f"{image.size} pixels")
        return image.convert("L")
