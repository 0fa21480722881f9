"""Statistics of a Parquet file, and of several of one schema together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa

from dataver.errors import DataverError
from dataver.format.table_statistics import (
    STATISTICS_BYTES_MAX,
    ColumnStatistics,
    FileStatistics,
    Quantiles,
    TopValues,
    Value,
    encode,
)
from dataver.tables.columns import Column, column_of
from dataver.tables.footer import NoTableError, OpenTable, first_line, open_table
from dataver.tables.leaves import leaf_arrays, leaf_types
from dataver.tables.sketch import (
    FULL,
    NOTHING,
    REDUCED,
    Detail,
    Moments,
    detail_for,
    merge_moments,
    merge_quantiles,
    merge_registers,
    merge_tops,
)

BATCH_ROWS_MAX = 1 << 16
BATCH_BYTES = 32 << 20
GROUP_COLUMNS_MAX = 64
COLUMNS_MAX = 20_000
_BUFFER_BYTES = 1 << 20


def file_statistics(file: BinaryIO, check: Callable[[], object] = bool) -> FileStatistics:
    """Read a Parquet file column by column; what cannot be read has a `reason` instead.

    At most some batches of `BATCH_BYTES` are held, whatever the size of row groups. What `file`
    raises of dataver's own errors goes through. `check` is called before each batch, and may raise
    `CancelledError` to end the work.
    """
    try:
        table = open_table(file, buffer_size=_BUFFER_BYTES)
        schema = table.schema
        texts = _coded_texts(table, schema)
        if texts:
            # Of these each value is looked at once. Of others pyarrow would build a dictionary itself,
            # of all values of a row group.
            table = open_table(file, buffer_size=_BUFFER_BYTES, read_dictionary=texts)
    except NoTableError as error:
        return FileStatistics(reason=str(error))
    if table.encrypted:
        return FileStatistics(table.rows, (), "some of its columns are encrypted")
    reading = _Reading(table, schema, check)
    if reading.count > COLUMNS_MAX:
        return FileStatistics(table.rows, (), f"it has {reading.count:,} columns")
    return FileStatistics(table.rows, reading.columns())


class _Reading:
    """One table, read once. `schema` is the one without dictionaries for texts."""

    def __init__(self, table: OpenTable, schema: pa.Schema, check: Callable[[], object]) -> None:
        self._table = table
        self._check = check
        self._schema = schema
        self._leaves = [list(leaf_types(field.name, field.type)) for field in schema]
        self.count = sum(map(len, self._leaves))
        self._detail = detail_for(self.count)
        self._found: list[list[ColumnStatistics]] = [[] for _ in self._leaves]
        self._sizes: dict[bytes, int] = {}

    def columns(self) -> tuple[ColumnStatistics, ...]:
        """The statistics of every leaf column."""
        self._measure()
        for group in self._groups():
            if not self._tried(group):
                for number in group:
                    self._tried([number])
        return tuple([column for columns in self._found for column in columns])

    def _measure(self) -> None:
        """Add up what each column's data take, by the first name of its path."""
        for group in self._table.groups:
            for column in group.columns:
                name = column.path[0] if column.path else b""
                self._sizes[name] = self._sizes.get(name, 0) + column.plain_bytes

    def _size(self, number: int) -> int:
        return self._sizes.get(self._schema.field(number).name.encode(), 0)

    def _groups(self) -> Iterator[list[int]]:
        """Columns that are read together: few, and small ones."""
        pending: list[int] = []
        size = 0
        for number in range(len(self._schema)):
            weight = self._size(number)
            if pending and (len(pending) == GROUP_COLUMNS_MAX or size + weight > BATCH_BYTES):
                yield pending
                pending, size = [], 0
            pending.append(number)
            size += weight
        if pending:
            yield pending

    def _tried(self, group: list[int]) -> bool:
        """Read columns together; False where they have to be read one by one, to see which one fails."""
        sinks = {
            number: [column_of(name, kind, self._detail) for name, kind in self._leaves[number]]
            for number in group
        }
        try:
            self._read(sinks)
        except DataverError:
            raise
        except (pa.ArrowException, OSError, ValueError, NotImplementedError, MemoryError) as error:
            if len(group) > 1:
                return False
            reason = f"it cannot be read: {first_line(error)}"
            names = self._leaves[group[0]]
            self._found[group[0]] = [ColumnStatistics(name, str(kind), reason) for name, kind in names]
            return True
        for number, columns in sinks.items():
            self._found[number] = [column.finish() for column in columns]
        return True

    def _read(self, sinks: dict[int, list[Column]]) -> None:
        names = [self._schema.field(number).name for number in sinks]
        # So many rows that a batch is no larger than it should be.
        size = sum(map(self._size, sinks))
        rows = BATCH_BYTES * max(self._table.rows, 1) // max(size, 1)
        batches = self._table.parquet.iter_batches(
            batch_size=max(1, min(BATCH_ROWS_MAX, rows)), columns=names, use_threads=False
        )
        for batch in batches:
            self._check()
            if batch.schema.names != names:
                raise ValueError("its name is that of another column too")
            for array, columns in zip(batch.columns, sinks.values(), strict=True):
                for leaf, column in zip(leaf_arrays(array), columns, strict=True):
                    column.add(leaf)


def _coded_texts(table: OpenTable, schema: pa.Schema) -> list[str]:
    """The columns of texts and bytes that are dictionaries and indices in the file, too."""
    plain = {
        column.path[0]
        for group in table.groups
        for column in group.columns
        if column.path and not column.coded
    }
    return [field.name for field in schema if _is_text(field.type) and field.name.encode() not in plain]


def _is_text(kind: pa.DataType) -> bool:
    """Whether values are texts or bytes of any length."""
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        or types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    )  # fmt: skip


def encode_bounded(file_digest: bytes, statistics: FileStatistics) -> bytes:
    """The record of a file's statistics; where it would be too large, less is kept of each column."""
    columns = statistics.columns
    listless = tuple([replace(column, top=TopValues(missed=column.values)) for column in columns])
    bare = tuple([replace(c, top=TopValues(), registers=b"", quantiles=Quantiles()) for c in columns])
    for kept in (columns, listless, bare):
        data = encode(file_digest, replace(statistics, columns=kept))
        if len(data) <= STATISTICS_BYTES_MAX:
            return data
    reason = f"statistics of its {len(statistics.columns):,} columns are too large to be kept"
    return encode(file_digest, FileStatistics(statistics.rows, (), reason))


def merge(parts: Sequence[FileStatistics], points: int | None = None) -> FileStatistics:
    """The statistics of several files as one table. Their columns have the same names and types.

    `points` is how many are kept of a distribution, if not as many as the files' statistics have: more
    than a record may have, so that merging adds little to the error.
    """
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        if part.reason:
            return FileStatistics(sum(p.rows for p in parts), (), part.reason)
    columns = zip(*(part.columns for part in parts), strict=True)
    merged = tuple([_merged(column, points) for column in columns])
    return FileStatistics(sum(part.rows for part in parts), merged)


def _merged(parts: tuple[ColumnStatistics, ...], points: int | None) -> ColumnStatistics:
    first = parts[0]
    values, nulls = sum(p.values for p in parts), sum(p.nulls for p in parts)
    reason = next((part.reason for part in parts if part.reason), "")
    if reason or first.type == "null":
        return ColumnStatistics(first.name, first.type, reason, values, nulls)
    detail = min(map(_detail, parts), key=lambda detail: detail.registers)
    summed = merge_moments(Moments(_finite(part), part.mean, part.squares) for part in parts)
    return ColumnStatistics(
        first.name, first.type, "", values, nulls,
        sum(p.nan for p in parts),
        sum(p.positive_infinities for p in parts),
        sum(p.negative_infinities for p in parts),
        _extreme(parts, least=True), _extreme(parts, least=False),
        summed.mean, summed.squares,
        merge_registers(part.registers for part in parts),
        merge_tops([part.top for part in parts], detail.tops),
        merge_quantiles([part.quantiles for part in parts], (detail.points and points) or detail.points),
    )  # fmt: skip


def _detail(column: ColumnStatistics) -> Detail:
    return next(d for d in (FULL, REDUCED, NOTHING) if d.registers == len(column.registers))


def _finite(column: ColumnStatistics) -> int:
    return column.values - column.nan - column.positive_infinities - column.negative_infinities


def _extreme(parts: Sequence[ColumnStatistics], *, least: bool) -> Value:
    """The least or greatest value; None where one of them was too long to be kept."""
    found = [part.min if least else part.max for part in parts if _finite(part)]
    if not found or None in found:
        return None
    try:
        return min(found) if least else max(found)  # type: ignore[type-var] # a type error is answered
    except TypeError:  # only somebody who forges records mixes types
        return None
