"""Forced cuts of real and of damaged Parquet files: never an error, never too close, always the same."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from dataver.chunking import ChunkerParameters
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.parquet_footer import MalformedFooterError, column_extents

SMALL = ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024)


def check(data: bytes | bytearray, found: list[int]) -> None:
    assert all(stop - start >= SMALL.min_bytes for start, stop in pairwise([0, *found]))
    assert all(cut < len(data) for cut in found)


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """Columns of a few bytes to a few chunks, in any order, in one to four row groups."""
    rows = draw(st.integers(1, 4))
    widths = draw(st.lists(st.integers(0, 400), min_size=1, max_size=8))
    random = Random(draw(st.integers(0, 99)))
    table = pa.table(
        {f"c{i}": [random.randbytes(width) for _ in range(rows)] for i, width in enumerate(widths)}
    )
    file = BytesIO()
    pq.write_table(
        table, file, row_group_size=draw(st.integers(1, rows)), write_page_index=draw(st.booleans())
    )
    return file.getvalue()


@given(parquet_files())
def test_real_files(data: bytes) -> None:
    found = forced_cuts(BytesIO(data), len(data), SMALL)
    check(data, found)
    footer_start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    metadata = pq.read_metadata(BytesIO(data))
    columns = [
        metadata.row_group(g).column(c)
        for g in range(metadata.num_row_groups)
        for c in range(metadata.num_columns)
    ]
    starts = [min(c.data_page_offset, c.dictionary_page_offset or c.data_page_offset) for c in columns]
    data_end = starts[-1] + columns[-1].total_compressed_size
    assert data_end in found or data_end < SMALL.min_bytes
    for start, stop in pairwise([*starts, data_end]):
        if stop - start >= SMALL.min_bytes and start >= SMALL.min_bytes:
            assert start in found, "a long column starts a chunk"
    assert set(found) <= {*starts, data_end, footer_start}


@given(parquet_files(), st.data())
def test_damaged_files(data: bytes, draw: st.DataObject) -> None:
    footer_start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        damaged[draw.draw(st.integers(footer_start, len(data) - 1))] = draw.draw(st.integers(0, 255))
    found = forced_cuts(BytesIO(damaged), len(damaged), SMALL)
    check(damaged, found)


@given(st.binary(max_size=300))
def test_arbitrary_footers(footer: bytes) -> None:
    with suppress(MalformedFooterError):
        column_extents(footer)
    data = b"PAR1" + bytes(500) + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    check(data, forced_cuts(BytesIO(data), len(data), SMALL))
