"""What a file that cannot be read is, by its first bytes. A name may lie, and a hint should lead to what works."""

KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftyphei", "a HEIC"),
    (4, b"ftypmif1", "a HEIC"),
    (4, b"ftyp", "a video"),
    (4, b"jP  ", "a JPEG 2000"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (4, b"JXL ", "a JPEG XL"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF"),
    (0, b"<svg", "an SVG"),
    (0, b"<?xml", "XML, perhaps an SVG"),
    (0, b"<!doctype html", "a web page, as of a download that failed"),
    (0, b"<html", "a web page, as of a download that failed"),
    (0, b"version https://git-lfs", "a Git LFS pointer: run git lfs pull"),
    (0, b"\x93NUMPY", "one array (.npy)"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"MATLAB", "a file of MATLAB"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\x1f\x8b", "packed by gzip"),
    (0, b"BZh", "packed by bzip2"),
    (0, b"\xfd7zXZ\0", "packed by xz"),
    (0, b"\x28\xb5\x2f\xfd", "packed by Zstandard"),
    (0, b"Rar!\x1a\7", "a RAR archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
)
"""Bytes, where they stand, and the kind of file that they mark."""
LONGEST = 32
"""Bytes that are enough to know a text."""
FIRST = 512
"""Bytes that are enough to know any kind."""


def kind_of(content: bytes) -> str | None:
    """The kind of a file that begins so, in words; None if it is not known."""
    head = content[:LONGEST].lstrip(b"\xef\xbb\xbf \r\n\t")
    return next((kind for at, mark, kind in KINDS if _stands(mark, at, content, head)), None)


def _stands(mark: bytes, at: int, content: bytes, head: bytes) -> bool:
    """Whether a mark stands there; text may be written in any case, behind spaces."""
    if mark.startswith(b"<"):
        return head.lower().startswith(mark)
    return content[at : at + len(mark)] == mark
