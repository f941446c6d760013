"""What the pages of a Parquet file say of their sizes, which pyarrow believes and does not tell.

A page is a header (a struct in Thrift's compact protocol) and its compressed bytes. Whoever reads it makes room for as many
bytes as the header says: up to two gigabytes for some hundred.
"""

from typing import Any

UNCOMPRESSED, COMPRESSED = 2, 3
"""Fields of a page's header."""
_OF_KIND = (5, 7, 8)
"""Fields that hold the header of a data page, a dictionary, and a data page of the second version."""
_VALUES = 1
"""In each of them."""
_DEEPEST = 4
MOST_PAGES = 10_000


def unpacked_bytes(content: bytes, start: int, length: int, most_values: int) -> int:
    """How many bytes the pages of a column unpack to, which lie at `start`.

    Raises `ValueError` for what are no pages, for too many, and for one of more than `most_values`.
    """
    place, end, total, pages = start, start + length, 0, 0
    if not 0 <= start <= end <= len(content):
        raise ValueError("a column lies outside the file")
    while place < end:
        header, place = _struct(content, place)
        sizes = header.get(UNCOMPRESSED), header.get(COMPRESSED)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ValueError("a page has no size")
        values = max((header[kind].get(_VALUES, 0) for kind in _OF_KIND if isinstance(header.get(kind), dict)), default=0)
        if values > most_values:
            raise ValueError(f"a page says that it has {values:,} values")
        total += header[UNCOMPRESSED]
        place += header[COMPRESSED]
        pages += 1
        if pages > MOST_PAGES:
            raise ValueError("a column has too many pages")
    return total


def _struct(content: bytes, place: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers and structs of a struct at `place`, by field, and where it ends."""
    fields: dict[int, Any] = {}
    field = 0
    while (head := _byte(content, place)) != 0:
        place += 1
        delta, kind = head >> 4, head & 15
        if delta:
            field += delta
        else:
            number, place = _varint(content, place)
            field = _signed(number)
        if kind in (1, 2):  # true, false
            continue
        if kind == 3:  # a byte
            place += 1
        elif kind in (4, 5, 6):
            number, place = _varint(content, place)
            fields[field] = _signed(number)
        elif kind == 7:  # a double
            place += 8
        elif kind == 8:  # bytes
            number, place = _varint(content, place)
            place += number
        elif kind == 12 and depth < _DEEPEST:
            fields[field], place = _struct(content, place, depth + 1)
        else:  # lists and maps, which no page has
            raise ValueError("the header of a page is damaged")
    return fields, place + 1


def _byte(content: bytes, place: int) -> int:
    if place >= len(content):
        raise ValueError("a page is cut")
    return content[place]


def _varint(content: bytes, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        byte = _byte(content, place)
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("a number of a page is too long")


def _signed(number: int) -> int:
    """A zigzag number as it is meant."""
    return (number >> 1) ^ -(number & 1)
