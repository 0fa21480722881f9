from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

import dataver
from dataver.chunking import ChunkerParameters
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.stream import Cutter
from dataver.errors import BadInputError, EnvironmentFaultError, NotPermittedError, PathNotFoundError
from dataver.tables import writer
from dataver.tables.encodings import encodings_for

ROWS = 200_000


def numbers(rows: int = ROWS, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "id": rng.integers(0, 1 << 48, rows),
            "score": rng.standard_normal(rows),
            "label": rng.integers(0, 10, rows).astype(np.int8),
            "note": [f"note {n:x}" for n in rng.integers(0, 1 << 40, rows).tolist()],
        }
    )


def file_of(data: Any, **options: Any) -> tuple[writer.ParquetWritten, bytes]:
    file = io.BytesIO()
    return dataver.write_parquet(data, file, **options), file.getvalue()


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


def encodings(data: bytes) -> dict[str, set[str]]:
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {column.path_in_schema: set(column.encodings) for column in columns}


def chunks(data: bytes) -> dict[bytes, int]:
    parameters = ChunkerParameters()
    cutter = Cutter(parameters, forced_cuts(io.BytesIO(data), len(data), parameters))
    found, start = {}, 0
    for end in cutter.cut(data, final=True):
        found[blake3(data[start:end]).digest()] = end - start
        start = end
    return found


def new_bytes(before: bytes, after: bytes) -> int:
    known = chunks(before)
    return sum(size for digest, size in chunks(after).items() if digest not in known)


def without(table: pa.Table, start: int, rows: int) -> pa.Table:
    return pa.concat_tables([table.slice(0, start), table.slice(start + rows)]).combine_chunks()


# What a later version shares


@pytest.mark.parametrize("split", [False, True])
def test_deleted_rows_cost_little(split: bool) -> None:
    table = numbers()
    later = without(table, ROWS // 3, 100)
    _, before = file_of(table, byte_stream_split=split)
    _, after = file_of(later, byte_stream_split=split)
    plain = [io.BytesIO(), io.BytesIO()]
    pq.write_table(table, plain[0])
    pq.write_table(later, plain[1])
    assert new_bytes(before, after) < 0.25 * len(before)
    assert new_bytes(plain[0].getvalue(), plain[1].getvalue()) > 0.6 * len(before)


def test_dropped_and_reordered_columns_cost_next_to_nothing() -> None:
    table = numbers(1_000_000)
    _, before = file_of(table)
    for columns in (["id", "score", "note"], ["score", "label", "note"], ["note", "label", "score", "id"]):
        _, after = file_of(table.select(columns))
        assert new_bytes(before, after) < 0.01 * len(before)


def test_the_same_rows_give_the_same_bytes_however_they_come() -> None:
    table = numbers(70_000)
    _, whole = file_of(table)
    assert file_of(table)[1] == whole
    parts = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(1_234)))
    assert file_of(parts)[1] == whole


# What it takes


def sources(table: pa.Table, tmp_path: Path) -> Iterator[Any]:
    yield table
    yield table.to_reader(999)
    yield table.combine_chunks().to_batches()[0]
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        pq.write_table(table.slice(number * 1000, 1000), folder / f"{number}.parquet", row_group_size=300)
    yield ds.dataset(folder)
    yield ds.dataset(folder).scanner()
    yield table.to_pandas()
    yield pl.from_arrow(table)


def test_every_kind_of_source(tmp_path: Path) -> None:
    table = pa.table({"a": range(3000), "b": [f"{n} ß" if n % 7 else None for n in range(3000)]})
    for source in sources(table, tmp_path):
        written, data = file_of(source)
        assert (written.rows, written.size_bytes) == (3000, len(data))
        found = read(data)
        assert found.cast(table.schema).replace_schema_metadata(None).equals(table), type(source)


def test_other_arrow_streams(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    _, data = file_of(duckdb.sql("select i, i % 3 as k from range(150000) t(i)"))
    assert read(data)["i"].to_pylist() == list(range(150_000))


def test_the_index_of_a_frame_is_kept() -> None:
    frame = pd.DataFrame({"a": [1.5, None]}, index=pd.Index(["x", "y"], name="key"))
    _, data = file_of(frame)
    pd.testing.assert_frame_equal(read(data).to_pandas(), frame)


def test_a_part_of_a_version(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(numbers(5000), tmp_path / "data" / "t.parquet")
    repository = dataver.init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    split = dataver.HashSplit(keys=["id"], train=0.5, test=0.5)
    part = repository.version("t").split("train", split)
    written = dataver.write_parquet(part, tmp_path / "train.parquet")
    assert written.rows == part.num_rows > 2000
    assert pq.read_table(tmp_path / "train.parquet").equals(part.to_arrow())


@pytest.mark.parametrize("data", [5, "text", [{"a": 1}], pl.LazyFrame({"a": [1]})])
def test_what_holds_no_rows(data: Any) -> None:
    with pytest.raises(BadInputError, match="holds no rows that can be written"):
        file_of(data)


@pytest.mark.parametrize("data", [pd.Series([1, 2]), pd.DataFrame({"a": [1, "x"]})])
def test_what_cannot_be_brought_into_columns(data: Any) -> None:
    with pytest.raises(BadInputError, match="cannot be brought into columns: "):
        file_of(data)


def test_versions_are_no_place_to_write_to() -> None:
    with pytest.raises(NotPermittedError, match=r"^versions never change"):
        dataver.write_parquet(numbers(10), "dataver://t@v1/t.parquet")


def test_types_that_parquet_has_not() -> None:
    for column in (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), pa.array([{}], pa.struct([]))):
        with pytest.raises(BadInputError, match="cannot be written as Parquet"):
            file_of(pa.table({"a": column}))


TABLE_OF_KINDS = {
    "nested": pa.array([[{"x": 1.5, "y": ["a"]}], None, []]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("-7.25")], pa.decimal128(38, 2)),
    "coded": pa.array(["a", None, "a"]).dictionary_encode(),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "nothing": pa.nulls(3),
    "view": pa.array(["a", "ü", None]).cast(pa.string_view()),
    "list view": pa.array([[1], None, []], pa.list_view(pa.int64())),
    "dotted.name": pa.array([1, 2, 3]),
}


@pytest.mark.parametrize("repeats", [1, 1000])
@pytest.mark.parametrize("split", [False, True])
def test_every_kind_of_column_comes_back(repeats: int, split: bool) -> None:
    columns = {name: pa.chunked_array([column] * repeats) for name, column in TABLE_OF_KINDS.items()}
    table = pa.table(columns)
    _, data = file_of(table, byte_stream_split=split)
    found = read(data)
    assert found.schema.equals(table.schema)
    for name in table.column_names:
        assert found[name].to_pylist() == table[name].to_pylist()


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | st.text(),
            st.lists(st.none() | st.floats(width=32), max_size=3),
        ),
        max_size=40,
    ),
    st.integers(1, 2000),
    st.booleans(),
)
@settings(deadline=None, max_examples=25)
def test_any_rows_come_back(rows: list[tuple[Any, ...]], repeats: int, split: bool) -> None:
    kinds = [pa.int64(), pa.float64(), pa.string(), pa.list_(pa.float32())]
    arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
    table = pa.table(arrays, ["i", "f", "t", "l"])
    table = pa.concat_tables([table] * repeats)
    _, data = file_of(table, byte_stream_split=split)
    found = read(data)
    assert found.num_rows == table.num_rows
    assert repr(found.to_pylist()) == repr(table.to_pylist())


@pytest.mark.parametrize("empty", [pa.table({}), numbers(10).slice(0, 0)])
def test_no_rows(empty: pa.Table) -> None:
    written, data = file_of(empty)
    assert (written.rows, written.row_groups) == (0, 0)
    assert read(data).schema.equals(empty.schema)


# How it is laid out


def test_columns_are_encoded_by_what_they_hold() -> None:
    _, data = file_of(numbers())
    found = encodings(data)
    assert "DELTA_BINARY_PACKED" in found["id"]
    assert found["score"] == {"PLAIN", "RLE"}
    assert "RLE_DICTIONARY" in found["label"]
    assert "RLE_DICTIONARY" not in found["note"]
    split = encodings(file_of(numbers(), byte_stream_split=True)[1])
    assert "BYTE_STREAM_SPLIT" in split["score"]
    assert split["label"] == found["label"]


def test_members_of_nested_columns_are_looked_at_too() -> None:
    rng = np.random.default_rng(2)
    table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(rng.random(40_000)), 4)})
    _, data = file_of(table, byte_stream_split=True)
    assert "BYTE_STREAM_SPLIT" in encodings(data)["vector.list.element"]


def test_few_values_and_unknown_nesting_say_nothing() -> None:
    few = encodings_for(pa.table({"a": range(10)}), byte_stream_split=False)
    assert few == {"use_dictionary": ["a"], "column_encoding": None}
    kind = pa.list_view(pa.struct([("x", pa.int64()), ("y", pa.int64())]))
    assert encodings_for(pa.table({"a": pa.array([[{"x": 1, "y": 2}]], kind)}), byte_stream_split=False) == {}


def test_options_of_the_caller_come_first() -> None:
    _, data = file_of(numbers(5000), compression="gzip", use_dictionary=True)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert metadata.row_group(0).column(0).compression == "GZIP"
    assert "RLE_DICTIONARY" in encodings(data)["id"]
    assert (
        pq.ParquetFile(pa.BufferReader(file_of(numbers(10))[1])).metadata.row_group(0).column(0).compression
        == "ZSTD"
    )


def test_row_groups_are_of_a_power_of_two_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_BYTES", 1 << 20)
    table = pa.table({"a": np.arange(300_000), "b": np.arange(300_000)})
    written, data = file_of(table)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert rows == [65_536] * 4 + [300_000 - 4 * 65_536]
    assert written.row_groups == 5
    assert file_of(table, row_group_rows=100_000)[0].row_groups == 3


def test_rows_that_grow_close_a_row_group_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_BYTES", 1 << 20)
    schema = pa.schema({"a": pa.binary()})

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([b"x"] * 70_000)], schema=schema)
        for _ in range(20):
            yield pa.record_batch([pa.array([b"x" * (1 << 20)])], schema=schema)

    written, data = file_of(pa.RecordBatchReader.from_batches(schema, batches()))
    assert written.rows == 70_020
    assert written.row_groups >= 7
    assert read(data)["a"].to_pylist()[-1] == b"x" * (1 << 20)


def test_a_stream_is_held_a_row_group_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(writer, "GROUP_BYTES", 4 << 20)
    schema = pa.schema({"a": pa.float64()})
    base, most = pa.total_allocated_bytes(), 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal most
        rng = np.random.default_rng(3)
        for _ in range(400):  # 100 MiB
            most = max(most, pa.total_allocated_bytes() - base)
            yield pa.record_batch([pa.array(rng.random(32_768))], schema=schema)

    written = dataver.write_parquet(pa.RecordBatchReader.from_batches(schema, batches()), tmp_path / "t")
    assert written.rows == 400 * 32_768
    assert most < 40 << 20


@pytest.mark.parametrize("rows", [0, -1, (1 << 20) + 1])
def test_sizes_of_row_groups_that_make_no_sense(rows: int) -> None:
    with pytest.raises(BadInputError, match="a row group has 1 to"):
        file_of(numbers(10), row_group_rows=rows)


def test_an_old_pyarrow_is_told_by_name() -> None:
    with pytest.raises(EnvironmentFaultError, match=r"pyarrow 20\.0\.0 .* pyarrow 21 or newer"):
        writer.require_pyarrow("20.0.0")
    writer.require_pyarrow("21.0.0")
    writer.require_pyarrow()


# Where it goes


def failing() -> pa.RecordBatchReader:
    schema = pa.schema({"a": pa.int64()})

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array(range(100_000))], schema=schema)
        raise ValueError("the source broke")

    return pa.RecordBatchReader.from_batches(schema, batches())


def test_a_path_has_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"old")
    path.chmod(0o604)
    with pytest.raises(ValueError, match="the source broke"):
        dataver.write_parquet(failing(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["t.parquet"]
    link = tmp_path / "link.parquet"
    link.symlink_to("t.parquet")
    dataver.write_parquet(numbers(10), link)
    assert link.is_symlink()
    assert pq.read_table(path).num_rows == 10
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert sorted(os.listdir(tmp_path)) == ["link.parquet", "t.parquet"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError, match="no folder"):
        dataver.write_parquet(numbers(10), tmp_path / "none" / "t.parquet")
    with pytest.raises(BadInputError, match="is a folder"):
        dataver.write_parquet(numbers(10), tmp_path)
    with pytest.raises(BadInputError, match="storage options are for URLs"):
        dataver.write_parquet(numbers(10), tmp_path / "t", storage_options={"a": 1})


def test_a_folder_that_refuses(tmp_path: Path) -> None:
    table, user = numbers(10), os.geteuid()
    dataver.write_parquet(table, tmp_path / "before.parquet")  # all that is imported for it is, then
    tmp_path.chmod(0o500)
    if user == 0:
        os.seteuid(65_534)  # root may write everywhere
    try:
        with pytest.raises(NotPermittedError):
            dataver.write_parquet(table, tmp_path / "t.parquet")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_a_url_gets_a_whole_file_or_none(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    with pytest.raises(ValueError, match="the source broke"):
        dataver.write_parquet(failing(), "memory://writer/t.parquet")
    assert not memory.exists("/writer/t.parquet")
    written = dataver.write_parquet(numbers(100), "memory://writer/t.parquet")
    assert memory.size("/writer/t.parquet") == written.size_bytes
    dataver.write_parquet(numbers(100), f"file://{tmp_path}/t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == memory.cat("/writer/t.parquet")
    memory.rm("/writer", recursive=True)


def test_an_open_file_is_written_from_where_it_stands(tmp_path: Path) -> None:
    with open(tmp_path / "both", "w+b") as file:
        file.write(b"head")
        written = dataver.write_parquet(numbers(10), file)
        assert not file.closed
        assert file.tell() == 4 + written.size_bytes
    assert read((tmp_path / "both").read_bytes()[4:]).num_rows == 10
