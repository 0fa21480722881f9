"""Parquet files keep their chunks when columns come, go and change places; the footer stands apart."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.chunking import ChunkerParameters
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.parquet_footer import MalformedFooterError, column_extents
from dataver.chunking.stream import Cutter

DEFAULT = ChunkerParameters()
MIN_BYTES = DEFAULT.min_bytes
ROWS = 250_000


def written(table: pa.Table, **options: Any) -> bytes:
    file = BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def cuts_of(data: bytes) -> list[int]:
    return forced_cuts(BytesIO(data), len(data), DEFAULT)


def chunks_of(data: bytes, *, parquet_aware: bool = True) -> list[bytes]:
    ends = Cutter(DEFAULT, cuts_of(data) if parquet_aware else []).cut(data, final=True)
    return [data[start:end] for start, end in pairwise([0, *ends])]


def new_bytes(before: bytes, after: bytes, *, parquet_aware: bool = True) -> int:
    """How much a repository that has `before` would have to store of `after`."""
    known = set(chunks_of(before, parquet_aware=parquet_aware))
    return sum(len(chunk) for chunk in set(chunks_of(after, parquet_aware=parquet_aware)) - known)


def footer_of(data: bytes) -> tuple[int, bytes]:
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return start, data[start:-8]


def column_starts(data: bytes) -> list[int]:
    """What pyarrow says: the independent reader of footers."""
    return [start for start, _ in pyarrow_extents(data)]


def pyarrow_extents(data: bytes) -> list[tuple[int, int]]:
    metadata = pq.read_metadata(BytesIO(data))
    extents = []
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            start = column.data_page_offset
            if column.dictionary_page_offset is not None:
                start = min(start, column.dictionary_page_offset)
            if column.total_compressed_size:
                extents.append((start, start + column.total_compressed_size))
    return extents


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """About 20 MB: twelve columns of 0.1 to 2 MB in each of two row groups."""
    rng = np.random.default_rng(12)
    columns: dict[str, Any] = {}
    for i in range(4):
        columns[f"normal{i}"] = rng.normal(size=ROWS)
        columns[f"id{i}"] = rng.integers(0, 1 << 40, ROWS)
        columns[f"class{i}"] = rng.integers(0, 9, ROWS).astype("i1")
    return pa.table(columns)


@pytest.fixture(scope="module")
def original(table: pa.Table) -> bytes:
    return written(table, row_group_size=ROWS // 2)


def write_again(table: pa.Table) -> bytes:
    return written(table, row_group_size=ROWS // 2)


class TestDeduplication:
    def test_it_is_the_size_it_is_meant_to_be(self, original: bytes) -> None:
        assert 18_000_000 < len(original) < 24_000_000

    def test_a_dropped_column(self, table: pa.Table, original: bytes) -> None:
        after = write_again(table.drop_columns(["id1"]))
        assert new_bytes(original, after) < 20_000
        assert new_bytes(original, after, parquet_aware=False) > 100_000

    def test_the_first_column_dropped(self, table: pa.Table, original: bytes) -> None:
        # Its data shared a chunk with the magic of the file, so the new first column has one new chunk.
        assert new_bytes(original, write_again(table.drop_columns(["normal0"]))) < 300_000

    def test_reordered_columns(self, table: pa.Table, original: bytes) -> None:
        after = write_again(table.select(table.column_names[::-1]))
        assert new_bytes(original, after) < 300_000
        assert new_bytes(original, after, parquet_aware=False) > 1_500_000

    def test_an_added_column(self, table: pa.Table, original: bytes) -> None:
        values = np.random.default_rng(5).normal(size=ROWS)
        after = write_again(table.add_column(5, "added", pa.array(values)))
        added = sum(
            stop - start
            for i, (start, stop) in enumerate(pyarrow_extents(after))
            if i % len(after_names(after)) == 5
        )
        assert added <= new_bytes(original, after) < added + 20_000

    def test_appended_rows(self, table: pa.Table, original: bytes) -> None:
        after = write_again(pa.concat_tables([table, table.slice(0, 2000)]).combine_chunks())
        first_new = pyarrow_extents(after)[2 * table.num_columns][0]
        assert new_bytes(original, after) <= len(after) - first_new

    def test_a_changed_footer_touches_no_chunk_of_data(self, table: pa.Table, original: bytes) -> None:
        after = write_again(table.replace_schema_metadata({"origin": "here" * 500}))
        start, _ = footer_of(after)
        assert set(chunks_of(after)) - set(chunks_of(original)) == {after[start:]}


def after_names(data: bytes) -> list[str]:
    names: list[str] = pq.read_schema(BytesIO(data)).names
    return names


class TestCuts:
    def test_long_columns_and_the_footer_are_cut(self, original: bytes) -> None:
        start, _ = footer_of(original)
        # The first column starts at 4, behind the magic: no place for a cut.
        assert cuts_of(original) == [*column_starts(original)[1:], start]

    def test_short_columns_are_not_cut_apart(self) -> None:
        rng = np.random.default_rng(3)
        columns = {f"long{i}": rng.normal(size=5000) for i in range(3)}
        short = {f"short{i}": rng.normal(size=500) for i in range(12)}
        few = dict(list(short.items())[:2])
        pieces = [columns["long0"], *few.values(), columns["long1"], *short.values(), columns["long2"]]
        # Columns of different lengths cannot be in one table: they are lists of one row each.
        data = written(pa.table({f"c{i}": [piece] for i, piece in enumerate(pieces)}), use_dictionary=False)
        starts = column_starts(data)
        footer_start, _ = footer_of(data)
        # Two short ones are no chunk of their own and join long0; twelve are.
        assert cuts_of(data) == [starts[3], starts[4], starts[16], footer_start]

    def test_short_columns_before_the_footer_join_what_is_before(self) -> None:
        rng = np.random.default_rng(3)
        pieces = [rng.normal(size=5000), rng.normal(size=5000), rng.normal(size=100)]
        data = written(pa.table({f"c{i}": [piece] for i, piece in enumerate(pieces)}), use_dictionary=False)
        assert cuts_of(data) == [column_starts(data)[1], footer_of(data)[0]]

    def test_page_indexes_go_with_the_footer(self, table: pa.Table) -> None:
        data = written(table, write_page_index=True, data_page_size=4000)
        data_end = pyarrow_extents(data)[-1][1]
        footer_start, _ = footer_of(data)
        assert footer_start - data_end > MIN_BYTES
        assert cuts_of(data)[-2:] == [data_end, footer_start]
        short = written(table, write_page_index=True)
        data_end = pyarrow_extents(short)[-1][1]
        assert 0 < footer_of(short)[0] - data_end < MIN_BYTES
        assert cuts_of(short)[-1] == data_end

    def test_small_files_are_left_whole(self) -> None:
        assert cuts_of(written(pa.table({"a": [1, 2, 3]}))) == []
        # Much footer, little data.
        data = written(pa.table({f"column{i}": [i] for i in range(150)}))
        assert len(data) > 2 * MIN_BYTES
        assert footer_of(data)[0] < MIN_BYTES
        assert cuts_of(data) == []

    def test_no_rows_and_no_columns(self, table: pa.Table) -> None:
        assert cuts_of(written(table.slice(0, 0))) == []
        assert cuts_of(written(pa.table({}))) == []

    def test_sizes_of_the_repository_count(self, original: bytes) -> None:
        small = ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024)
        large = ChunkerParameters(min_bytes=1 << 20, average_bytes=1 << 20, max_bytes=1 << 22)
        counts = [len(forced_cuts(BytesIO(original), len(original), p)) for p in (small, DEFAULT, large)]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[2] > 0

    def test_the_position_of_the_file_is_put_back(self, original: bytes) -> None:
        file = BytesIO(original)
        file.seek(123)
        assert forced_cuts(file, len(original), DEFAULT)
        assert file.tell() == 123

    def test_short_reads_are_read_on(self, original: bytes) -> None:
        class Slow(BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(min(size or 0, 1000))

        assert forced_cuts(Slow(original), len(original), DEFAULT) == cuts_of(original)

    def test_an_error_of_reading_is_raised(self, original: bytes) -> None:
        class Broken(BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        with pytest.raises(OSError, match="Input/output"):
            forced_cuts(Broken(original), len(original), DEFAULT)


class TestFooter:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"compression": "none", "use_dictionary": False},
            {"compression": "zstd", "write_statistics": False, "store_schema": False},
            {"data_page_version": "2.0", "write_page_index": True},
            {"version": "1.0", "row_group_size": 10},
            {"sorting_columns": [pq.SortingColumn(0)], "write_page_checksum": True},
            {"use_content_defined_chunking": True},
        ],
    )
    def test_it_reads_what_pyarrow_reads(self, options: dict[str, Any]) -> None:
        numbers = list(range(100))
        table = pa.table(
            {
                "id": numbers,
                "text": [str(i) * (i % 7) for i in numbers],
                "maybe": [None if i % 3 else i / 7 for i in numbers],
                "flags": [i % 2 == 0 for i in numbers],
                "nested": [{"a": i, "b": [{"c": "x" * i}, {"c": None}]} for i in numbers],
                "map": pa.array([[("k", i)] for i in numbers], pa.map_(pa.string(), pa.int64())),
                "all null": pa.nulls(100),
                "bytes": pa.array([bytes(16)] * 100, pa.binary(16)),
            }
        ).replace_schema_metadata({"note": "ä" * 300})
        data = written(table, **options)
        extents = pyarrow_extents(data)
        assert len(extents) >= 10
        assert column_extents(footer_of(data)[1]) == extents

    def test_many_columns_and_row_groups(self) -> None:
        table = pa.table({f"c{i}": list(range(20)) for i in range(300)})
        data = written(table, row_group_size=2)
        assert column_extents(footer_of(data)[1]) == pyarrow_extents(data)

    def test_every_truncation(self) -> None:
        data = written(pa.table({"a": [1, 2], "b": ["x", None]}))
        _, footer = footer_of(data)
        outcomes = set()
        for length in range(len(footer)):
            try:
                # Whole row groups may be followed by anything, even by nothing.
                assert column_extents(footer[:length]) == pyarrow_extents(data)
                outcomes.add("whole")
            except MalformedFooterError:
                outcomes.add("malformed")
        assert outcomes == {"whole", "malformed"}


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def long_list(count: int, kind: int = 12) -> bytes:
    return bytes([0xF0 | kind]) + varint(count)


# Field 4 of a file's metadata, a list of one row group; field 1 of that, the list of columns.
ROW_GROUP = b"\x49\x1c\x19"
HOSTILE = {
    "nothing": b"",
    "a million columns claimed": ROW_GROUP + long_list(1_000_000),
    "more columns than atoms": ROW_GROUP + long_list((1 << 63) - 1),
    "columns of nothing": ROW_GROUP + long_list(100_000) + bytes(100_000),
    "a count without an end": ROW_GROUP + b"\xfc" + b"\xff" * 100,
    "columns that are numbers": ROW_GROUP + b"\x15" + b"\x02",
    "row groups that are a struct": b"\x4c\x00\x00",
    "a string beyond the end": b"\x18" + varint(1 << 62),
    "deep nesting": b"\x1c" * 100_000,
    "deep lists": b"\x19" + b"\x19" * 100_000,
    "a type that is none": b"\x1e\x00",
    "a list of nothings": b"\x19" + long_list(1 << 40, kind=0),
    "a map of nothings": b"\x1b" + varint(1 << 40) + b"\x00",
    "a map of many": b"\x1b" + varint(1 << 40) + b"\x11" + bytes(100_000),
}


def pretender(footer: bytes, data_bytes: int = 100_000) -> bytes:
    return b"PAR1" + bytes(data_bytes) + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def footer_with_column(start: int, size_bytes: int, *, before: bytes = b"") -> bytes:
    """One row group of one column: metadata (field 3) with size (7) and data page (9).

    `before` are earlier fields of the file's metadata; they end with field 3.
    """

    def zigzag(value: int) -> bytes:
        return varint(value << 1 if value >= 0 else ~value << 1 | 1)

    metadata = b"\x76" + zigzag(size_bytes) + b"\x26" + zigzag(start) + b"\x00"
    row_groups = b"\x1c" + b"\x19\x1c" + b"\x3c" + metadata + b"\x00" + b"\x00"
    return (before + b"\x19" if before else b"\x49") + row_groups + b"\x00"


# Values of every type, each as a field whose number is one above the last one's.
EVERY_TYPE = {
    "true and false": b"\x11\x12",
    "a byte": b"\x13\xff",
    "integers": b"\x14\x02\x15\xff\x01\x16" + varint((1 << 64) - 1),
    "a double": b"\x17" + b"\xff" * 8,
    "a string": b"\x18\x03abc",
    "a list of booleans": b"\x19\x21\x01\x02",
    "a long list of strings": b"\x19" + long_list(20, kind=8) + b"\x01x" * 20,
    "a set of doubles": b"\x1a\x27" + b"\xff" * 16,
    "a map": b"\x1b\x02\x85\x01a\x02\x01b\x04",
    "an empty map": b"\x1b\x00",
    "a struct": b"\x1c\x15\x02\x11\x2c\x18\x00\x00\x00",
    "a struct with a numbered field": b"\x1c\x08\xc8\x01\x03abc\x15\x02\x00",
    "a uuid": b"\x1d" + b"\xff" * 16,
}


class TestPretenders:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_hostile_footer(self, name: str) -> None:
        file = pretender(HOSTILE[name])
        tracemalloc.start()
        try:
            found = cuts_of(file)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Where no row group is malformed, the footer is still cut off.
        assert found in ([], [len(file) - 8 - len(HOSTILE[name])])
        assert peak_bytes < 4 * len(file)

    def test_most_of_them_are_seen_as_malformed(self) -> None:
        for name in HOSTILE.keys() - {"nothing", "columns of nothing"}:
            with pytest.raises(MalformedFooterError):
                column_extents(HOSTILE[name])

    def test_the_handmade_footer_is_read(self) -> None:
        assert column_extents(footer_with_column(40_000, 50_000)) == [(40_000, 90_000)]
        file = pretender(footer_with_column(40_000, 50_000))
        assert cuts_of(file) == [40_000, 90_000]

    @pytest.mark.parametrize("name", EVERY_TYPE)
    def test_unknown_fields_are_passed_over(self, name: str) -> None:
        value = EVERY_TYPE[name]
        # Field 3 under its own number, so that whatever fields came before, the next one is 4.
        renumbered = value + b"\x05\x06\x02"
        assert column_extents(footer_with_column(40_000, 50_000, before=renumbered)) == [(40_000, 90_000)]
        nested = b"\x3c" + value + b"\x00"
        assert column_extents(footer_with_column(40_000, 50_000, before=nested)) == [(40_000, 90_000)]

    def test_a_column_without_data_counts_for_nothing(self) -> None:
        assert column_extents(footer_with_column(0, 0)) == []

    def test_there_is_a_limit_to_column_chunks(self) -> None:
        def footer(count: int) -> bytes:
            column = b"\x3c\x76\x02\x26\x08\x00\x00"
            return ROW_GROUP + long_list(count) + column * count + b"\x00\x00"

        assert column_extents(footer(1 << 18)) == [(4, 5)] * (1 << 18)
        with pytest.raises(MalformedFooterError, match="more column chunks"):
            column_extents(footer((1 << 18) + 1))

    def test_an_integer_ends_after_ten_bytes(self) -> None:
        with pytest.raises(MalformedFooterError, match="64 bits"):
            column_extents(b"\x18" + b"\xff" * 10 + b"\x01")

    def test_too_little_data_before_what_is_between_it_and_the_footer(self) -> None:
        file = pretender(footer_with_column(4, 10_000), data_bytes=20_000)
        assert cuts_of(file) == [20_004]

    @pytest.mark.parametrize(
        ("start", "size_bytes"),
        [(-1, 50_000), (0, 50_000), (3, 50), (40_000, -5), (40_000, 60_005), (1 << 62, 1 << 62)],
    )
    def test_columns_outside_the_data(self, start: int, size_bytes: int) -> None:
        assert cuts_of(pretender(footer_with_column(start, size_bytes))) == []

    def test_a_huge_footer_is_cut_off_unread(self) -> None:
        file = pretender(b"\xff" * ((8 << 20) + 1))
        assert cuts_of(file) == [100_004]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"PAR1",
            b"PAR1PAR1",
            b"PAR1" + bytes(100_000),
            bytes(100_000) + b"PAR1",
            b"PAR1" + bytes(100_000) + b"\xff\xff\xff\xffPAR1",
            b"PAR1" + bytes(100_000) + (100_001).to_bytes(4, "little") + b"PAR1",
            b"PAR1" + bytes(100_000) + b"\x10\0\0\0PARE",
        ],
    )
    def test_what_is_not_parquet(self, data: bytes) -> None:
        assert cuts_of(data) == []

    def test_a_file_that_shrank_meanwhile(self, original: bytes) -> None:
        assert forced_cuts(BytesIO(original[:-1000]), len(original), DEFAULT) == []
