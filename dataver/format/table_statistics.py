"""Statistics of one table file: what its columns hold, beside the version and no part of it.

    "DVTS" | version u8 | file digest 32 | reason text | rows u64 | columns u32 | column… | check 32

    column: name text | type text | reason text | values u64 | nulls u64 | NaN u64 | +inf u64 | -inf u64
    | min value | max value | moments u8 (0, or 1: mean f64 | squares f64) | registers blob
    | missed u64 | tops u32 | (value | count u64)… | error u64 | points u32 | f64… | weight u64…

    value: 0 | 1 integer blob (two's complement) | 2 f64 | 3 text | 4 bytes blob | 5 decimal text
    | 6 truth u8

A text or blob is a u32 length and so many bytes. A record is found under the digest of its first
37 bytes, so that who knows a file's digest finds its statistics; `check` is the digest of all
before it. Whoever may write to a repository can put false ones there: they are no evidence.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader, Writer
from dataver.hashing import Kind, kind_digest
from dataver.values import dataclass

STATISTICS_MAGIC = b"DVTS"
STATISTICS_VERSION = 1
STATISTICS_BYTES_MAX = 7 << 20
"""Less than a frame, which holds a record whole."""
REGISTER_COUNTS = (0, 1024, 4096)
POINTS_MAX = 512
TOPS_MAX = 256
COUNT_MAX = 1 << 48

Value = int | float | str | bytes | Decimal | bool | None

_HEAD_BYTES = len(STATISTICS_MAGIC) + 1 + DIGEST_BYTES
_NONE, _INTEGER, _FLOAT, _TEXT, _BYTES, _DECIMAL, _BOOL = range(7)
_INTEGER_BYTES_MAX = 32
_F64 = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Points of a distribution: `weights[i]` values stand at `values[i]`; values ascend.

    `error`: the number of values up to any x is off by no more.
    """

    values: tuple[float, ...] = ()
    weights: tuple[int, ...] = ()
    error: int = 0


@dataclass(frozen=True, slots=True)
class TopValues:
    """The values that occur most often, most frequent first.

    A value that is listed occurs `count` to `count + missed` times; one that is not, `missed` times
    at most.
    """

    counts: tuple[tuple[Value, int], ...] = ()
    missed: int = 0


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One leaf column. `type` is Arrow's name of its type, `values` counts what is not null.

    `nan`, `positive_infinities` and `negative_infinities` are among `values`, and in nothing else:
    all that follows is of the others. Times are in the unit of the type, since 1970. `squares` is
    the sum of squared distances from the mean. `registers` count distinct values; empty where the
    table has too many columns. `reason` says why nothing was computed, and is empty where it was.
    """

    name: str
    type: str
    reason: str = ""
    values: int = 0
    nulls: int = 0
    nan: int = 0
    positive_infinities: int = 0
    negative_infinities: int = 0
    min: Value = None
    max: Value = None
    mean: float | None = None
    squares: float | None = None
    registers: bytes = b""
    top: TopValues = TopValues()
    quantiles: Quantiles = Quantiles()


@dataclass(frozen=True, slots=True)
class FileStatistics:
    """What a file's columns hold. `reason` says why there are none, and is empty where there are."""

    rows: int = 0
    columns: tuple[ColumnStatistics, ...] = ()
    reason: str = ""


def statistics_key(file_digest: bytes) -> Digest:
    """What the statistics of a file are found under, in this version of their format."""
    head = STATISTICS_MAGIC + bytes([STATISTICS_VERSION]) + file_digest
    return kind_digest(Kind.TABLE_STATISTICS, head)


def is_found_under(key: bytes, data: Buffer) -> bool:
    """Whether these are statistics, whole, and in their place; of any version of their format."""
    view = memoryview(data)
    return (
        len(view) >= _HEAD_BYTES + DIGEST_BYTES
        and bytes(view[: len(STATISTICS_MAGIC)]) == STATISTICS_MAGIC
        and kind_digest(Kind.TABLE_STATISTICS, view[:_HEAD_BYTES]) == key
        and kind_digest(Kind.TABLE_STATISTICS, view[:-DIGEST_BYTES]) == bytes(view[-DIGEST_BYTES:])
    )


def encode(file_digest: bytes, statistics: FileStatistics) -> bytes:
    """The canonical bytes."""
    writer = Writer().raw(STATISTICS_MAGIC).u8(STATISTICS_VERSION).raw(file_digest)
    writer.text(statistics.reason).u64(statistics.rows).u32(len(statistics.columns))
    for column in statistics.columns:
        _write_column(writer, column)
    body = writer.finish()
    return body + kind_digest(Kind.TABLE_STATISTICS, body)


def _write_column(writer: Writer, column: ColumnStatistics) -> None:
    writer.text(column.name).text(column.type).text(column.reason).u64(column.values).u64(column.nulls)
    writer.u64(column.nan).u64(column.positive_infinities).u64(column.negative_infinities)
    _write_value(writer, column.min)
    _write_value(writer, column.max)
    if column.mean is None or column.squares is None:
        writer.u8(0)
    else:
        writer.u8(1).raw(_F64.pack(column.mean)).raw(_F64.pack(column.squares))
    writer.blob(column.registers).u64(column.top.missed).u32(len(column.top.counts))
    for value, count in column.top.counts:
        _write_value(writer, value)
        writer.u64(count)
    points = column.quantiles
    writer.u64(points.error).u32(len(points.values))
    writer.raw(struct.pack(f"<{len(points.values)}d", *points.values))
    writer.raw(struct.pack(f"<{len(points.weights)}Q", *points.weights))


def _write_value(writer: Writer, value: Value) -> None:
    match value:
        case None:
            writer.u8(_NONE)
        case bool():
            writer.u8(_BOOL).u8(value)
        case int():
            size = value.bit_length() // 8 + 1
            writer.u8(_INTEGER).blob(value.to_bytes(size, "little", signed=True))
        case float():
            writer.u8(_FLOAT).raw(_F64.pack(value))
        case str():
            writer.u8(_TEXT).text(value)
        case bytes():
            writer.u8(_BYTES).blob(value)
        case Decimal():
            writer.u8(_DECIMAL).text(str(value))


def decode(data: Buffer, file_digest: bytes) -> FileStatistics:
    """The statistics of a file. `DamagedError` for bytes that are not its own, whole and canonical."""
    what = f"the table statistics of file {Digest(file_digest)}"
    reader = Reader(data, what)
    reader.expect(STATISTICS_MAGIC, "magic")
    number = reader.u8()
    key = kind_digest(Kind.TABLE_STATISTICS, STATISTICS_MAGIC + bytes([number]) + file_digest)
    if len(data) > STATISTICS_BYTES_MAX or not is_found_under(key, data):
        reader.fail("its bytes do not match its digest")
    if number != STATISTICS_VERSION:
        raise NewerFormatError(f"{what} have version {number}; this release reads {STATISTICS_VERSION}")
    reader.raw(DIGEST_BYTES)
    reason, rows, count = reader.text(), reader.u64(), reader.u32()
    if count > reader.remaining:
        reader.fail("it announces more columns than it has bytes")
    columns = tuple([_read_column(reader) for _ in range(count)])
    reader.raw(DIGEST_BYTES)
    reader.end()
    statistics = FileStatistics(rows, columns, reason)
    if encode(file_digest, statistics) != bytes(data):
        reader.fail("its fields are not canonical")
    return statistics


def _read_column(reader: Reader) -> ColumnStatistics:
    name, kind, reason = reader.text(), reader.text(), reader.text()
    values, nulls, nan, plus, minus = (reader.u64() for _ in range(5))
    if nan + plus + minus > values or max(values, nulls) > COUNT_MAX:
        reader.fail("its counts do not add up")
    low, high = _read_value(reader), _read_value(reader)
    mean = squares = None
    if reader.u8():
        mean, squares = _finite(reader, reader.raw(16), 2)
    registers = reader.blob()
    if len(registers) not in REGISTER_COUNTS or (registers and max(registers) > 64):
        reader.fail("its registers are none")
    missed, tops = reader.u64(), reader.u32()
    if tops > TOPS_MAX:
        reader.fail(f"it lists {tops} values")
    counts = tuple([(_read_value(reader), reader.u64()) for _ in range(tops)])
    error, points = reader.u64(), reader.u32()
    if points > POINTS_MAX:
        reader.fail(f"it has {points} points")
    places = _finite(reader, reader.raw(8 * points), points)
    weights: tuple[int, ...] = struct.unpack(f"<{points}Q", reader.raw(8 * points))
    if any(a >= b for a, b in pairwise(places)) or not all(weights):
        reader.fail("its points do not ascend")
    if max(sum(weights), sum(count for _, count in counts)) > values or max(missed, error) > COUNT_MAX:
        reader.fail("it counts more values than there are")
    return ColumnStatistics(
        name, kind, reason, values, nulls, nan, plus, minus, low, high, mean, squares, registers,
        TopValues(counts, missed), Quantiles(places, weights, error),
    )  # fmt: skip


def _finite(reader: Reader, data: bytes, count: int) -> tuple[float, ...]:
    numbers: tuple[float, ...] = struct.unpack(f"<{count}d", data)
    if not all(map(math.isfinite, numbers)):
        reader.fail("a number in it is not finite")
    return numbers


def _read_value(reader: Reader) -> Value:
    tag = reader.u8()
    if tag == _NONE:
        return None
    if tag == _INTEGER:
        data = reader.blob()
        if len(data) > _INTEGER_BYTES_MAX:
            reader.fail("an integer in it is too large")
        return int.from_bytes(data, "little", signed=True)
    if tag == _FLOAT:
        return _finite(reader, reader.raw(8), 1)[0]
    if tag == _TEXT:
        return reader.text()
    if tag == _BYTES:
        return reader.blob()
    if tag == _DECIMAL:
        return _read_decimal(reader)
    if tag != _BOOL:
        reader.fail(f"there is no kind of value {tag}")
    return bool(reader.u8())


def _read_decimal(reader: Reader) -> Decimal:
    text = reader.text()
    try:
        value = Decimal(text[:100])
    except InvalidOperation:
        reader.fail("a decimal in it is none")
    if not value.is_finite():
        reader.fail("a decimal in it is not finite")
    return value
