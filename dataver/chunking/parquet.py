"""Cuts that a Parquet file asks for: where long column chunks start, and where the footer does.

The footer holds absolute offsets, so any insertion rewrites all of it; the data of a column chunk
holds none. With a cut at the start of each long column chunk, columns that are dropped, added or
reordered leave the chunks of the others alone, and the footer stands apart. Inside, the bytes are
cut by content.

A file that is Parquet in name only is cut like any other. The cuts are a function of the file's
bytes alone; reading a chunk never needs them again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import BinaryIO

from dataver.chunking import ChunkerParameters

__all__ = ["forced_cuts"]

_MAGIC = b"PAR1"
_TRAILER_BYTES = 8
"""Length of the footer (4 bytes, little endian), magic."""

# Above this, about 60,000 column chunks, only the cut before the footer is made: reading it takes a
# tenth of a second for each MiB.
_FOOTER_BYTES_MAX = 8 << 20


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
        footer = _read(file, footer_start, footer_bytes)
    finally:
        file.seek(position)
    from dataver.chunking.parquet_footer import MalformedFooterError, column_extents

    try:
        extents = column_extents(footer)
    except MalformedFooterError:
        return []
    if not all(len(_MAGIC) <= start < stop <= footer_start for start, stop in extents):
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


def _read(file: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """These bytes, or fewer where the file ends."""
    file.seek(offset)
    data = b""
    while len(data) < size_bytes and (more := file.read(size_bytes - len(data))):
        data += more
    return data
