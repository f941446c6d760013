"""Image files for tests, in folders and archives."""

import struct
import tarfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def encoded(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """An image file."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def noise(seed: int, side: int = 8) -> Pixels:
    """Pixels [side, side, 3], each image its own."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def png(width: int, height: int, compressed: bytes = b"") -> bytes:
    """A PNG of one bit of any size, and its rows."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = (
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (header, b"IDAT" + compressed, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deep_png(values: npt.NDArray[np.integer[Any]], more: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel [H, W, C], grey, grey and opacity, RGB or RGBA, with whole chunks `more` before its rows.

    Each row is stored as differences to the pixel on its left (PNG's filter 1).
    """
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)  # [H, W * C * 2]
    before = np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    stored = b"".join(b"\1" + row.tobytes() for row in rows - before)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(stored)) + chunk(b"IEND")


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def plain(value: int, side: int = 4) -> bytes:
    """A PNG of one grey."""
    return encoded(np.full((side, side), value, np.uint8))


def write(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, contents: Mapping[str, bytes], below: str = "") -> Path:
    """Write the same files as an archive of the kind that its name says, their names below `below`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(below + name, content)
        return path
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in contents.items():
            member = tarfile.TarInfo(below + name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path
