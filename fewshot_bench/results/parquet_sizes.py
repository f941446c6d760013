"""What a Parquet file says of its sizes, which pyarrow believes and does not tell.

A page is a header (a struct in Thrift's compact protocol) and its compressed bytes. Whoever reads it makes room for as many
bytes as the header says: up to two gigabytes for some hundred. The footer, of the same protocol, says where pages lie.
"""

from typing import Any, NamedTuple

UNCOMPRESSED, COMPRESSED = 2, 3
"""Fields of a page's header."""
_OF_KIND = (5, 7, 8)
"""Fields that hold the header of a data page, a dictionary, and a data page of the second version."""
_VALUES = 1
"""In each of them."""
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
"""Fields of a footer, of a group of rows in it, and of a column in that."""
_COMPRESSED_SIZE, _DATA_PAGES, _DICTIONARY = 7, 9, 11
"""Fields of the description of a column."""
_DEEPEST = 8
MOST_PAGES = 10_000


class Chunk(NamedTuple):
    """Where the pages of a column lie, in bytes."""

    length: int
    data: int
    dictionary: int | None

    @property
    def start(self) -> int:
        """Where the first page begins."""
        return min(self.dictionary or self.data, self.data)


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


def column_chunks(content: bytes) -> list[list[Chunk]]:
    """Where the columns of each group of rows lie, as the footer of a Parquet file says.

    pyarrow would say so too, but ends the process where a column has no description. Raises `ValueError` for what is no
    footer.
    """
    length = int.from_bytes(content[-8:-4], "little")
    if not 0 < length <= len(content) - 8:
        raise ValueError("its footer lies outside the file")
    footer, end = _struct(content, len(content) - 8 - length)
    if end != len(content) - 8:
        raise ValueError("its footer has another length than it says")
    return [[_chunk(one) for one in _list(group, _COLUMNS)] for group in _list(footer, _ROW_GROUPS)]


def _list(struct: Any, field: int) -> list[Any]:
    found = struct.get(field) if isinstance(struct, dict) else None
    if not isinstance(found, list):
        raise ValueError("its footer does not say where its columns lie")
    return found


def _chunk(column: Any) -> Chunk:
    about = column.get(_META_DATA) if isinstance(column, dict) else None
    if not isinstance(about, dict):
        raise ValueError("its footer does not describe a column")
    length, data, dictionary = (about.get(field) for field in (_COMPRESSED_SIZE, _DATA_PAGES, _DICTIONARY))
    if not isinstance(length, int) or not isinstance(data, int) or not isinstance(dictionary, int | None):
        raise ValueError("its footer does not say where a column lies")
    return Chunk(length, data, dictionary)


def _struct(content: bytes, place: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers, structs and lists of a struct at `place`, by field, and where it ends. Texts are passed over."""
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
        if kind not in (1, 2):  # true and false are kinds of their own
            fields[field], place = _value(content, place, kind, depth)
    return fields, place + 1


def _value(content: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a kind at `place`, and where it ends."""
    if kind in (1, 2, 3):  # of a list: a byte each
        return _byte(content, place), place + 1
    if kind in (4, 5, 6):
        number, place = _varint(content, place)
        return _signed(number), place
    if kind == 7:  # a double
        return None, place + 8
    if kind == 8:  # bytes
        number, place = _varint(content, place)
        return None, place + number
    if kind in (9, 10) and depth < _DEEPEST:  # a list, a set
        return _values(content, place, depth + 1)
    if kind == 12 and depth < _DEEPEST:
        return _struct(content, place, depth + 1)
    raise ValueError("a header is damaged")  # maps too, which no Parquet file has


def _values(content: bytes, place: int, depth: int) -> tuple[list[Any], int]:
    """The values of a list at `place`, and where it ends."""
    head = _byte(content, place)
    count, kind, place = head >> 4, head & 15, place + 1
    if count == 15:
        count, place = _varint(content, place)
    if count > MOST_PAGES:
        raise ValueError("a list of its footer is too long")
    found = []
    for _ in range(count):
        value, place = _value(content, place, kind, depth)
        found.append(value)
    return found, place


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
