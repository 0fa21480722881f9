"""Just enough of a Parquet footer to know where its column chunks lie.

A footer is a tree of structs in Thrift's compact protocol. The common readers build all of it in
memory before they can be asked anything: an 18-byte footer that claims a million columns makes
pyarrow take 700 MB, within its own limits. This reader keeps two integers a column chunk, of so
many at most, and skips the rest; and what it finds does not depend on the release of another
library: where a file is cut must not change with one.

Numbers of fields are those of parquet.thrift in the Parquet format's specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from dataver.values import NamedTuple

__all__ = ["ColumnChunk", "MalformedFooterError", "RowGroup", "column_extents", "row_groups"]

# Types of the compact protocol.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(1, 14)

# struct FileMetaData, RowGroup, ColumnChunk, ColumnMetaData.
_ROW_GROUPS = 4
_COLUMNS = 1
_COLUMN_METADATA = 3
_GROUP_ROWS, _CRYPTO_METADATA = 3, 8
_TYPE, _ENCODINGS, _PATH, _CODEC, _VALUES, _TOTAL_UNCOMPRESSED_SIZE = range(1, 7)
_TOTAL_COMPRESSED_SIZE, _DATA_PAGE_OFFSET, _DICTIONARY_PAGE_OFFSET = 7, 9, 11

_ENCODING_STATS = 13
_DATA_PAGES = {0, 3}
_DICTIONARY_ENCODINGS = {2, 8}

_FIXED_BYTES = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8, _UUID: 16}
_DEPTH_MAX = 32
_COLUMN_CHUNKS_MAX = 1 << 18
_VARINT_BYTES_MAX = 10


class ColumnChunk(NamedTuple):
    """The data of one column in one row group: where they lie, and how they are read.

    `path` are the names from the top of the schema down. `size_bytes` are those in the file,
    `plain_bytes` those of the pages when decompressed, as far as the footer is true. `coded`: all
    pages are indices into a dictionary, by the footer's own word.
    """

    path: tuple[bytes, ...]
    start: int
    size_bytes: int
    plain_bytes: int
    values: int
    type: int
    codec: int
    encodings: tuple[int, ...]
    coded: bool
    encrypted: bool


class RowGroup(NamedTuple):
    """A row group as the footer describes it."""

    rows: int
    columns: tuple[ColumnChunk, ...]


class MalformedFooterError(ValueError):
    """These bytes are not the footer of a Parquet file. Stays inside this package."""


def column_extents(footer: bytes) -> list[tuple[int, int]]:
    """Start (inclusive) and end (exclusive) of each column chunk's data, in the order of the footer.

    They are what the footer says, absolute in the file and not checked against it; column chunks
    without data are left out. Anything malformed up to the last row group, and more than 262,144
    column chunks, is a `MalformedFooterError`; what comes after is not looked at.
    """
    reader = _Reader(footer)
    try:
        extents = list(islice(_file_extents(reader), _COLUMN_CHUNKS_MAX + 1))
    except IndexError:
        raise MalformedFooterError("the footer ends too early") from None
    if len(extents) > _COLUMN_CHUNKS_MAX:
        raise MalformedFooterError("more column chunks than any real file has")
    return extents


def _file_extents(reader: _Reader) -> Iterator[tuple[int, int]]:
    for field, kind in reader.fields():
        if field == _ROW_GROUPS:
            for _ in reader.structs(kind):
                yield from _row_group_extents(reader)
            return
        reader.skip(kind)


def _row_group_extents(reader: _Reader) -> Iterator[tuple[int, int]]:
    for field, kind in reader.fields():
        if field == _COLUMNS:
            for _ in reader.structs(kind):
                yield from _column_chunk_extents(reader)
        else:
            reader.skip(kind)


def _column_chunk_extents(reader: _Reader) -> Iterator[tuple[int, int]]:
    for field, kind in reader.fields():
        if field == _COLUMN_METADATA and kind == _STRUCT:
            yield from _metadata_extents(reader)
        else:
            reader.skip(kind)


def _metadata_extents(reader: _Reader) -> Iterator[tuple[int, int]]:
    size_bytes = start = dictionary = 0
    for field, kind in reader.fields():
        if kind != _I64:
            reader.skip(kind)
        elif field == _TOTAL_COMPRESSED_SIZE:
            size_bytes = reader.integer()
        elif field == _DATA_PAGE_OFFSET:
            start = reader.integer()
        elif field == _DICTIONARY_PAGE_OFFSET:
            dictionary = reader.integer()
        else:
            reader.skip(kind)
    # Some writers say 0 where they have no dictionary.
    if dictionary:
        start = min(start, dictionary)
    if size_bytes:
        yield start, start + size_bytes


def row_groups(footer: bytes) -> list[RowGroup]:
    """Every row group with its column chunks. pyarrow ends the process on some that it cannot describe."""
    reader = _Reader(footer)
    found: list[RowGroup] = []
    total = 0
    try:
        for field, kind in reader.fields():
            if field != _ROW_GROUPS:
                reader.skip(kind)
                continue
            for _ in reader.structs(kind):
                found.append(_row_group(reader))
                total += 1 + len(found[-1].columns)
                if total > _COLUMN_CHUNKS_MAX:
                    raise MalformedFooterError("more column chunks than any real file has")
            break
    except IndexError:
        raise MalformedFooterError("the footer ends too early") from None
    return found


def _row_group(reader: _Reader) -> RowGroup:
    rows = 0
    columns: list[ColumnChunk] = []
    for field, kind in reader.fields():
        if field == _COLUMNS:
            columns.extend(_column_chunk(reader) for _ in reader.structs(kind))
        elif field == _GROUP_ROWS and kind == _I64:
            rows = reader.integer()
        else:
            reader.skip(kind)
    return RowGroup(rows, tuple(columns))


def _column_chunk(reader: _Reader) -> ColumnChunk:
    chunk, encrypted = None, False
    for field, kind in reader.fields():
        if field == _COLUMN_METADATA and kind == _STRUCT:
            chunk = _described(reader)
        else:
            encrypted = encrypted or field == _CRYPTO_METADATA
            reader.skip(kind)
    if chunk is None:
        chunk = ColumnChunk((), 0, 0, 0, 0, 0, 0, (), False, True)
    return chunk._replace(encrypted=encrypted or chunk.encrypted)


def _described(reader: _Reader) -> ColumnChunk:
    numbers: dict[int, int] = {}
    path: tuple[bytes, ...] = ()
    encodings: tuple[int, ...] = ()
    coded = False
    for field, kind in reader.fields():
        if kind in (_I32, _I64):
            numbers[field] = reader.integer()
        elif field == _PATH and kind == _LIST:
            path = tuple(reader.binaries())
        elif field == _ENCODINGS and kind == _LIST:
            encodings = tuple(reader.integers())
        elif field == _ENCODING_STATS and kind == _LIST:
            pages = [_page_encoding(reader) for _ in reader.structs(kind)]
            data = {encoding for page, encoding in pages if page in _DATA_PAGES}
            coded = bool(data) and data <= _DICTIONARY_ENCODINGS
        else:
            reader.skip(kind)
    start, dictionary = numbers.get(_DATA_PAGE_OFFSET, 0), numbers.get(_DICTIONARY_PAGE_OFFSET, 0)
    return ColumnChunk(
        path,
        min(start, dictionary) if dictionary else start,
        max(numbers.get(_TOTAL_COMPRESSED_SIZE, 0), 0),
        max(numbers.get(_TOTAL_UNCOMPRESSED_SIZE, 0), 0),
        numbers.get(_VALUES, 0),
        numbers.get(_TYPE, 0),
        numbers.get(_CODEC, 0),
        encodings,
        coded,
        False,
    )


def _page_encoding(reader: _Reader) -> tuple[int, int]:
    """The type of some pages, and how they are encoded."""
    numbers: dict[int, int] = {}
    for field, kind in reader.fields():
        if kind == _I32:
            numbers[field] = reader.integer()
        else:
            reader.skip(kind)
    return numbers.get(1, -1), numbers.get(2, -1)


class _Reader:
    """A cursor over compact Thrift. Running over the end is an `IndexError`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct; the caller reads or skips its value in between."""
        field = 0
        while header := self._byte():
            field = field + (header >> 4) if header >> 4 else self.integer()
            yield field, header & 15

    def structs(self, kind: int) -> Iterator[None]:
        """Stops before each struct of a list; the caller reads it in between."""
        count, item_kind = self._list_header()
        if kind != _LIST or (count and item_kind != _STRUCT):
            raise MalformedFooterError("a list of structs was expected")
        for _ in range(count):
            yield

    def integer(self) -> int:
        """A signed integer."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def integers(self) -> Iterator[int]:
        """The items of a list of integers."""
        count, item_kind = self._list_header()
        if count and item_kind not in (_I32, _I64):
            raise MalformedFooterError("a list of integers was expected")
        for _ in range(count):
            yield self.integer()

    def binaries(self) -> Iterator[bytes]:
        """The items of a list of texts."""
        count, item_kind = self._list_header()
        if count and item_kind != _BINARY:
            raise MalformedFooterError("a list of texts was expected")
        for _ in range(count):
            size_bytes = self._varint()
            start, self._at = self._at, self._at + size_bytes
            if self._at > len(self._data):
                raise MalformedFooterError("a text ends behind the footer")
            yield self._data[start : self._at]

    def skip(self, kind: int) -> None:
        """Pass over the value of a field of this type."""
        if kind > _FALSE:  # the type of a boolean field is its value
            self._at = _after(self._data, self._at, kind, 0)

    def _list_header(self) -> tuple[int, int]:
        count, item_kind, self._at = _list_header(self._data, self._at)
        return count, item_kind

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _varint(self) -> int:
        value, self._at = _varint(self._data, self._at)
        return value


# Most of a footer is skipped, so this is written for speed: plain functions of an offset.


def _after(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where an item of this type ends: the value of a field that is not a boolean, or of a container."""
    if depth > _DEPTH_MAX:
        raise MalformedFooterError("nested too deeply")
    if kind == _BINARY:
        size_bytes, at = _varint(data, at)
        return at + size_bytes
    if _I16 <= kind <= _I64:
        while data[at] > 0x7F:
            at += 1
        return at + 1
    if kind == _STRUCT:
        return _after_struct(data, at, depth)
    if kind in (_LIST, _SET):
        count, item_kind, at = _list_header(data, at)
        for _ in range(count):
            at = _after(data, at, item_kind, depth + 1)
        return at
    if kind == _MAP:
        count, at = _varint(data, at)
        kinds = data[at] if count else 0
        at += 1 if count else 0
        for _ in range(count):
            at = _after(data, at, kinds >> 4, depth + 1)
            at = _after(data, at, kinds & 15, depth + 1)
        return at
    if kind not in _FIXED_BYTES:
        raise MalformedFooterError(f"there is no type {kind}")
    # An item takes a byte at least, so that no count takes more steps than there are bytes.
    data[at]
    return at + _FIXED_BYTES[kind]


def _after_struct(data: bytes, at: int, depth: int) -> int:
    while header := data[at]:
        at += 1
        if header < 0x10:  # the number of the field is not the last one's plus a little: it follows
            while data[at] > 0x7F:
                at += 1
            at += 1
        kind = header & 15
        if kind > _FALSE:
            at = _after(data, at, kind, depth + 1)
    return at + 1


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Count, type of the items, and where the first begins."""
    header = data[at]
    count, at = header >> 4, at + 1
    if count == 15:
        count, at = _varint(data, at)
    return count, header & 15, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedFooterError("an integer has more than 64 bits")
