"""Cuts that a Parquet file asks for: where long column chunks start, and where the footer does.

The footer holds absolute offsets, so any insertion rewrites all of it; the data of a column chunk
holds none. With a cut at the start of each long column chunk, columns that are dropped, added or
reordered leave the chunks of the others alone, and the footer stands apart. Inside, the bytes are
cut by content.

The footer comes from a stranger: it is read with limits, and a file that is Parquet in name only
is cut like any other. The cuts are a function of the file's bytes; reading a chunk never needs
them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

from dataver.chunking import ChunkerParameters

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["forced_cuts"]

_MAGIC = b"PAR1"
_TRAILER_BYTES = 8
"""Length of the footer (4 bytes, little endian), magic."""

# A decoded footer takes many times its size in memory: above this only the cut before it is made.
_FOOTER_BYTES_MAX = 16 << 20
_STRING_BYTES_MAX = 16 << 20
_CONTAINER_ITEMS_MAX = 1_000_000
_COLUMN_CHUNKS_MAX = 1 << 18


def forced_cuts(file: BinaryIO, size_bytes: int, parameters: ChunkerParameters) -> list[int]:
    """Absolute offsets, ascending, where chunks of this file must end; no two closer than `min_bytes`.

    `file` is seekable and `size_bytes` long; two or three short reads are made, and its position
    is put back. Empty for what is not Parquet or only claims to be, and where data and footer are
    too small to be parted. Malformed files never raise; errors of reading do.
    """
    if size_bytes <= parameters.min_bytes:
        return []
    position = file.tell()
    try:
        if _read(file, 0, len(_MAGIC)) != _MAGIC:
            return []
        trailer = _read(file, size_bytes - _TRAILER_BYTES, _TRAILER_BYTES)
        footer_bytes = int.from_bytes(trailer[:4], "little")
        footer_start = size_bytes - _TRAILER_BYTES - footer_bytes
        if trailer[4:] != _MAGIC or footer_start < parameters.min_bytes:
            return []
        if footer_bytes > _FOOTER_BYTES_MAX:
            return [footer_start]
        footer = _read(file, footer_start, footer_bytes + _TRAILER_BYTES)
    finally:
        file.seek(position)
    extents = _column_chunks(footer, footer_start)
    if extents is None:
        return []
    return _merge(extents, footer_start, parameters.min_bytes)


def _merge(extents: list[tuple[int, int]], footer_start: int, min_bytes: int) -> list[int]:
    """The cuts worth making: none between two short columns, none that leaves less than `min_bytes`.

    A run of short columns is cut by content, which finds its feet again when one of them goes;
    boundaries at every so many bytes would all move. A run that is shorter than a chunk joins the
    column before it, so that a long column always starts a chunk. The cut before the footer, and
    before the page indexes and filters in front of it, which hold offsets as well, is made
    whatever else is: these bytes change with every edit.
    """
    data_end = max((stop for _, stop in extents), default=0)
    tail = data_end if data_end >= min_bytes else footer_start
    bounds = [*sorted({start for start, _ in extents}), tail]
    found: list[int] = []
    run_start: int | None = None
    for start, stop in pairwise(bounds):
        if stop - start < min_bytes:
            if run_start is None:
                run_start = start
                found.append(start)
            continue
        if run_start is not None and start - run_start < min_bytes:
            found.pop()
        run_start = None
        found.append(start)
    if run_start is not None and tail - run_start < min_bytes:
        found.pop()
    found.append(tail)
    if footer_start - tail >= min_bytes:
        found.append(footer_start)
    return [cut for cut in found if cut >= min_bytes]


def _column_chunks(footer: bytes, footer_start: int) -> list[tuple[int, int]] | None:
    """Start and end of each column chunk, absolute; None if the footer makes no sense."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # The decoder sees a file of nothing but the footer, so it cannot be led to other bytes.
        file = pq.ParquetFile(
            pa.BufferReader(_MAGIC + footer),
            thrift_string_size_limit=_STRING_BYTES_MAX,
            thrift_container_size_limit=_CONTAINER_ITEMS_MAX,
        )
        metadata = file.metadata
        if metadata.num_row_groups * metadata.num_columns > _COLUMN_CHUNKS_MAX:
            return []
        extents = list(_extents(metadata))
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        return None
    sane = all(len(_MAGIC) <= start < stop <= footer_start for start, stop in extents)
    return extents if sane else None


def _extents(metadata: pq.FileMetaData) -> Iterable[tuple[int, int]]:
    for group_number in range(metadata.num_row_groups):
        group = metadata.row_group(group_number)
        for column_number in range(group.num_columns):
            column = group.column(column_number)
            if column.total_compressed_size == 0:
                continue
            start = column.data_page_offset
            # Absent, or 0 by writers that know no other way to say so.
            if column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            yield start, start + column.total_compressed_size


def _read(file: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """These bytes, or fewer where the file ends."""
    file.seek(offset)
    data = b""
    while len(data) < size_bytes and (more := file.read(size_bytes - len(data))):
        data += more
    return data
