"""Canonical bytes of keys, and hashes over them.

A key is the values of one or more columns of a row. Its bytes are, column by column in the order in
which the columns were named, a tag of one byte and what the table says; numbers are little-endian.

    00                     null, of any type
    01 u8                  boolean: 0 or 1
    02 i64                 integer of any width below 2^63
    03 u64                 integer from 2^63 on
    04 f64                 float of any width; -0.0 is 0.0, every NaN is 7ff8000000000000
    05 i256                decimal of any precision and scale, times 10^38
    06 u32 bytes           string: how many bytes, then its UTF-8, as it is
    07 u32 bytes           binary
    08 i64 u32             timestamp: seconds since 1970 in UTC, nanoseconds; without a zone it is UTC
    09 i64                 date: days since 1970
    0a i64                 time of day: nanoseconds
    0b i64 u32             duration: seconds, nanoseconds

Each piece says by itself where it ends, so different keys have different bytes. Dictionaries and runs
stand for their values, extension types for their storage. The definition is frozen: hash splits rest on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataver.errors import BadInputError
from dataver.splits import xxh3
from dataver.values import dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Positions = NDArray[np.int64]
    Hashes = NDArray[np.uint64]
    Mask = NDArray[np.bool_]

NULL, BOOLEAN, INTEGER, LARGE_INTEGER, FLOAT, DECIMAL = range(6)
STRING, BINARY, TIMESTAMP, DATE, TIME, DURATION = range(6, 12)

DECIMAL_SCALE = 38
_NAN = np.uint64(0x7FF8_0000_0000_0000)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The keys of some rows: `data` has their bytes, row `n` those from `starts[n]` to `starts[n + 1]`."""

    data: Bytes
    starts: Positions

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Positions:
        """How many bytes each key has."""
        return np.diff(self.starts)

    def bytes_of(self, row: int) -> bytes:
        """The bytes of one key."""
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes()

    def hashes(self, seed: int = 0) -> Hashes:
        """The XXH3-64 of each key."""
        return xxh3.hashes(self.data, self.starts, seed)

    def take(self, rows: Positions) -> KeyRows:
        """The keys of these rows, in this order."""
        lengths = self.lengths[rows]
        starts = _starts(lengths)
        return KeyRows(self.data[places(self.starts[rows], lengths)], starts)

    @staticmethod
    def concat(parts: Sequence[KeyRows]) -> KeyRows:
        """The keys of all parts, one after the other."""
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
        data = np.concatenate([np.empty(0, np.uint8), *(part.data for part in parts)])
        return KeyRows(data, _starts(lengths))


def key_rows(columns: Sequence[pa.Array]) -> KeyRows:
    """The keys that columns of one length make. `BadInputError` for a type that cannot be in a key."""
    pieces = [_encode(_plain(column)) for column in columns]
    if len(pieces) == 1:
        return pieces[0]
    table = np.stack([piece.lengths for piece in pieces], axis=1)
    starts = _starts(table.sum(axis=1))
    owners = np.tile(np.arange(len(pieces), dtype=np.uint16), len(table))
    owner_of_byte = np.repeat(owners, table.ravel())
    data = np.empty(starts[-1], np.uint8)
    for number, piece in enumerate(pieces):
        data[owner_of_byte == number] = piece.data
    return KeyRows(data, starts)


def key_columns(batch: Any, names: Sequence[str]) -> list[pa.Array]:
    """The columns of a record batch that make the key. `BadInputError` for a name that is not one's."""
    return [batch.column(column_number(batch.schema, name)) for name in names]


def column_number(schema: pa.Schema, name: str) -> int:
    """The place of the only column of this name. `BadInputError` where there is none, or more."""
    found = schema.get_all_field_indices(name)
    if len(found) != 1:
        known = ", ".join(schema.names[:20])
        problem = f"has {len(found)} columns" if found else "has no column"
        raise BadInputError(f"the table {problem} {name!r}; its columns are {known}")
    return int(found[0])


def key_type(kind: pa.DataType) -> int:
    """The tag that values of a type have, one for integers of any size. `BadInputError` for other types."""
    types = pa.types
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif types.is_dictionary(kind) or types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            break
    for tag, tests in (
        (NULL, (types.is_null,)),
        (BOOLEAN, (types.is_boolean,)),
        (INTEGER, (types.is_integer,)),
        (FLOAT, (types.is_floating,)),
        (DECIMAL, (types.is_decimal,)),
        (STRING, (types.is_string, types.is_large_string, types.is_string_view)),
        (BINARY, (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)),
        (TIMESTAMP, (types.is_timestamp,)),
        (DATE, (types.is_date,)),
        (TIME, (types.is_time,)),
        (DURATION, (types.is_duration,)),
    ):
        if any(test(kind) for test in tests):
            return tag
    raise BadInputError(
        f"a column of type {kind} cannot be in a key: numbers, texts, times, booleans and binary can"
    )


def _starts(lengths: Positions) -> Positions:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def places(starts: Positions, lengths: Positions) -> Positions:
    """Every position of ranges that begin at `starts` and have `lengths`, range after range."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    found: Positions = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return found


def _plain(column: Any) -> pa.Array:
    """A column as one array of values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    while True:
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        elif pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(column.type):
            column = pc.run_end_decode(column)
        else:
            return column


def _encode(column: pa.Array) -> KeyRows:
    tag = key_type(column.type)
    valid = _valid(column)
    if tag == NULL:
        return KeyRows(np.zeros(len(column), np.uint8), np.arange(len(column) + 1, dtype=np.int64))
    if tag == STRING:
        return _texts(column.cast(pa.large_string()), STRING, valid)
    if tag == BINARY:
        if pa.types.is_fixed_size_binary(column.type):
            column = column.cast(pa.binary())
        return _texts(column.cast(pa.large_binary()), BINARY, valid)
    if tag == DECIMAL:
        return _decimals(column, valid)
    tags, parts = _numbers(column, tag)
    return _fixed(tags, parts, valid)


def _valid(column: pa.Array) -> Mask | None:
    """Which rows are not null; None where all are."""
    if not column.null_count:
        return None
    found: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return found


def _numbers(column: pa.Array, tag: int) -> tuple[Any, list[NDArray[Any]]]:
    """The tags of a column of numbers or times, and the parts of its values."""
    kind = column.type
    if tag == BOOLEAN:
        return BOOLEAN, [_values(column.cast(pa.uint8()), np.dtype("u1"))]
    if tag == FLOAT:
        floats = _values(column.cast(pa.float64()), np.dtype("<f8")) + 0.0  # -0.0 + 0.0 is 0.0
        return FLOAT, [np.where(np.isnan(floats), _NAN, floats.view("<u8"))]
    if pa.types.is_uint64(kind):
        large = _values(column, np.dtype("<u8"))
        return np.where(large >> np.uint64(63), LARGE_INTEGER, INTEGER), [large]
    if kind.bit_width < 64:
        column = column.cast(pa.int32()) if tag in (DATE, TIME) else column
    values = _values(column.cast(pa.int64()), np.dtype("<i8"))
    if tag in (TIMESTAMP, DURATION):
        return tag, _seconds(values, kind.unit)
    if tag == TIME:
        values = values * np.int64(10**9 // _PER_SECOND[kind.unit])
    elif pa.types.is_date64(kind):
        values = values // np.int64(86_400_000)
    return tag, [values]


def _values(column: pa.Array, kind: np.dtype[Any]) -> NDArray[Any]:
    """The values of a column of fixed width; what null rows have means nothing."""
    whole = np.frombuffer(column.buffers()[1] or b"", kind)
    return whole[column.offset : column.offset + len(column)]


def _seconds(values: NDArray[Any], unit: str) -> list[NDArray[Any]]:
    per_second = _PER_SECOND[unit]
    seconds, rest = np.divmod(values, per_second)
    return [seconds, (rest * (10**9 // per_second)).astype("<u4")]


def _fixed(tags: Any, parts: Sequence[NDArray[Any]], valid: Mask | None) -> KeyRows:
    """Keys of a tag and values of fixed width, and of a tag alone where a row is null."""
    count = len(parts[0])
    width = 1 + sum(part.dtype.itemsize for part in parts)
    matrix = np.empty((count, width), np.uint8)
    matrix[:, 0] = tags
    at = 1
    for part in parts:
        size = part.dtype.itemsize
        matrix[:, at : at + size] = np.ascontiguousarray(part).view(np.uint8).reshape(count, size)
        at += size
    if valid is None:
        return KeyRows(matrix.ravel(), np.arange(count + 1, dtype=np.int64) * width)
    matrix[~valid, 0] = NULL
    lengths = np.where(valid, width, 1)
    return KeyRows(matrix[np.arange(width) < lengths[:, None]], _starts(lengths))


def _decimals(column: pa.Array, valid: Mask | None) -> KeyRows:
    try:
        wide = column.cast(pa.decimal256(76, DECIMAL_SCALE))
    except pa.ArrowInvalid as error:
        raise BadInputError(
            f"a value of a column of type {column.type} has more than {DECIMAL_SCALE} digits before or after "
            "the point, and cannot be in a key"
        ) from error
    data = np.frombuffer(wide.buffers()[1] or b"", np.dtype("V32"))
    return _fixed(DECIMAL, [data[wide.offset : wide.offset + len(wide)]], valid)


def _texts(column: pa.Array, tag: int, valid: Mask | None) -> KeyRows:
    if valid is not None:
        column = column.fill_null("" if tag == STRING else b"")
    count = len(column)
    buffers = column.buffers()
    offsets = np.frombuffer(buffers[1] or bytes(8), "<i8")[column.offset : column.offset + count + 1]
    if not len(offsets):
        offsets = np.zeros(1, np.int64)
    body = np.frombuffer(buffers[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    sizes = np.diff(offsets)
    if count and sizes.max() >= 1 << 32:
        raise BadInputError("a value of 4 GiB or more cannot be in a key")
    lengths = sizes + 5 if valid is None else np.where(valid, sizes + 5, 1)
    starts = _starts(lengths)
    data = np.empty(starts[-1], np.uint8)
    here = starts[:-1]
    data[here] = tag if valid is None else np.where(valid, tag, NULL)
    is_body = np.ones(len(data), np.bool_)
    is_body[here] = False
    if valid is not None:
        here, sizes = here[valid], sizes[valid]
    head = sizes.astype("<u4").view(np.uint8).reshape(len(sizes), 4)
    for number in range(4):
        data[here + (number + 1)] = head[:, number]
        is_body[here + (number + 1)] = False
    data[is_body] = body
    return KeyRows(data, starts)
