"""Statistics of Parquet files: against numpy and Python, merged, of every type, and of what is no table."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError
from dataver.format.table_statistics import (
    STATISTICS_BYTES_MAX,
    ColumnStatistics,
    FileStatistics,
    Quantiles,
    decode,
    encode,
)
from dataver.hashing import blake3_digest
from dataver.tables import sketch, statistics
from dataver.tables.collect import by_threads
from dataver.tables.footer import open_table
from dataver.tables.leaves import leaf_arrays
from dataver.tables.statistics import encode_bounded, file_statistics, merge
from dataver.tables.view import TableColumn, view

DIGEST = bytes(range(DIGEST_BYTES))
LARGE = 300_000


def written(table: pa.Table, **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink


def computed(table: pa.Table, **options: Any) -> FileStatistics:
    found = file_statistics(written(table, **options))
    assert found.reason == ""
    data = encode_bounded(DIGEST, found)
    assert decode(data, DIGEST) == found
    return found


def column(values: Any, kind: pa.DataType | None = None, **options: Any) -> TableColumn:
    found = computed(pa.table({"c": pa.array(values, kind)}), **options)
    return TableColumn(found.columns[0])


def rank_error(points: Quantiles, values: np.ndarray[Any, Any]) -> int:
    """The largest difference between the ranks that points give and the true ones, at all values."""
    ordered = np.sort(values)
    places = np.array(points.values)
    ranks = np.concatenate(([0], np.cumsum(points.weights)))
    at = np.concatenate((ordered, places))
    told = ranks[np.searchsorted(places, at, side="right")]
    true = np.searchsorted(ordered, at, side="right")
    return int(np.abs(told - true).max())


# Against oracles


NUMBERS = st.lists(
    st.one_of(
        st.none(),
        st.floats(width=64),
        st.integers(-3, 3).map(float),
        st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e308, -1e308, 5e-324]),
    ),
    max_size=60,
)


@given(NUMBERS)
def test_floats_against_python(values: list[float | None]) -> None:
    found = column(values, pa.float64())
    present = [value for value in values if value is not None]
    finite = [value + 0.0 for value in present if math.isfinite(value)]
    assert (found.values, found.nulls) == (len(present), len(values) - len(present))
    assert found.kept.nan == sum(map(math.isnan, present))
    assert found.kept.positive_infinities == present.count(math.inf)
    assert found.kept.negative_infinities == present.count(-math.inf)
    assert (found.min, found.max) == (min(finite, default=None), max(finite, default=None))
    assert dict(found.top) == Counter(finite)
    assert found.distinct == len(set(finite))
    assert found.distinct_is_exact
    assert dict(zip(found.quantiles.values, found.quantiles.weights, strict=True)) == Counter(finite)
    if finite and max(map(abs, finite)) < 1e150:
        mean = math.fsum(finite) / len(finite)
        scale = max(map(abs, finite))
        assert found.mean == pytest.approx(mean, rel=1e-9, abs=1e-12 * scale + 1e-300)
        assert found.std == pytest.approx(np.std(finite), rel=1e-6, abs=1e-9 * scale)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 5)), max_size=60))
def test_integers_against_python(values: list[int | None]) -> None:
    found = column(values, pa.int64())
    present = [value for value in values if value is not None]
    assert (found.values, found.nulls) == (len(present), len(values) - len(present))
    assert (found.min, found.max) == (min(present, default=None), max(present, default=None))
    assert dict(found.top) == Counter(present)
    if present:
        assert found.mean == pytest.approx(sum(present) / len(present), rel=1e-9, abs=2000)


@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.sampled_from(["ä", "日本", "😀"])), max_size=60))
def test_texts_of_all_scripts_against_python(values: list[str | None]) -> None:
    found = column(values, pa.string())
    present = [value for value in values if value is not None]
    assert (found.values, found.nulls) == (len(present), len(values) - len(present))
    assert (found.min, found.max) == (min(present, default=None), max(present, default=None))
    assert dict(found.top) == Counter(present)
    assert found.distinct == len(set(present))


def test_large_columns_against_numpy() -> None:
    random = np.random.default_rng(7)
    numbers = {
        "normal": random.standard_normal(LARGE),
        "lognormal": random.lognormal(0, 2, LARGE),
        "sorted": np.sort(random.standard_normal(LARGE)),
        "ids": np.arange(LARGE, dtype=np.int64),
        "few": random.integers(0, 5, LARGE),
        "skewed": np.minimum(random.zipf(1.3, LARGE), 10**9),
    }
    found = view(computed(pa.table(numbers), row_group_size=50_000))
    for name, values in numbers.items():
        one = found.column(name)
        assert (one.min, one.max) == (values.min(), values.max())
        assert one.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
        assert one.std == pytest.approx(values.std(), rel=1e-9)
        assert sum(one.quantiles.weights) == LARGE
        assert rank_error(one.quantiles, values.astype(float)) <= one.quantiles.error <= 0.004 * LARGE
        true = len(np.unique(values))
        assert one.distinct == pytest.approx(true, rel=0.06)
        counts = Counter(values.tolist())
        missed = one.kept.top.missed
        listed = dict(one.top)
        assert all(count <= counts[value] <= count + missed for value, count in listed.items())
        assert all(count <= missed for value, count in counts.items() if value not in listed)
    assert found.column("few").distinct_is_exact
    assert found.column("few").quantiles.error == 0
    assert found.column("skewed").top[0] == (1, int((numbers["skewed"] == 1).sum()))


def test_distances_from_sketches_are_those_of_the_values() -> None:
    """What is compared between versions later: Kolmogorov-Smirnov, Wasserstein over std, PSI of ten bins."""
    random = np.random.default_rng(3)
    a, b = random.normal(0, 1, LARGE), random.normal(0.15, 1.1, LARGE)
    points = [column(values).quantiles for values in (a, b)]
    grid = np.linspace(-6, 6, 20_001)

    def told(part: Quantiles) -> np.ndarray[Any, Any]:
        ranks = np.concatenate(([0], np.cumsum(part.weights))) / LARGE
        return ranks[np.searchsorted(part.values, grid, side="right")]

    def true(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.searchsorted(np.sort(values), grid, side="right") / LARGE

    def distances(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, float, float]:
        at = np.searchsorted(x, np.linspace(0.1, 0.9, 9))
        shares = [np.diff(np.concatenate(([0], side[at], [1]))) for side in (x, y)]
        psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
        return float(np.abs(x - y).max()), float(np.abs(x - y).sum() * (grid[1] - grid[0])), psi

    ks, wasserstein, psi = distances(*map(told, points))
    true_ks, true_wasserstein, true_psi = distances(true(a), true(b))
    assert ks == pytest.approx(true_ks, abs=sum(part.error for part in points) / LARGE)
    assert wasserstein == pytest.approx(true_wasserstein, abs=0.005)
    assert psi == pytest.approx(true_psi, abs=0.003)


# Merging


def same_but_for_sketches(a: ColumnStatistics, b: ColumnStatistics) -> None:
    for name in ("name", "type", "reason", "values", "nulls", "nan", "min", "max", "registers"):
        assert getattr(a, name) == getattr(b, name), name
    assert (a.positive_infinities, a.negative_infinities) == (b.positive_infinities, b.negative_infinities)
    if a.mean is None or b.mean is None:
        assert a.mean is b.mean
    else:
        assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-9)
        assert a.squares == pytest.approx(b.squares, rel=1e-6, abs=1e-6)


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(math.nan)), max_size=20),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30)
def test_merging_small_files_is_computing_at_once(parts: list[list[float | None]]) -> None:
    tables = [pa.table({"c": pa.array(part, pa.float64())}) for part in parts]
    merged = merge([computed(table) for table in tables])
    whole = computed(pa.concat_tables(tables))
    assert merged.rows == whole.rows
    same_but_for_sketches(merged.columns[0], whole.columns[0])
    # So few distinct values are kept whole.
    assert merged.columns[0].top == whole.columns[0].top
    assert merged.columns[0].quantiles == whole.columns[0].quantiles


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_merging_large_files_stays_within_the_bounds(order: Sequence[int]) -> None:
    random = np.random.default_rng(11)
    parts = [random.normal(mean, 1, size) for mean, size in ((0, 90_000), (5, 3), (1, 60_000), (9, 1000))]
    words = [[f"w{int(abs(x) * 1000)}" for x in part] for part in parts]
    tables = [pa.table({"x": part, "w": word}) for part, word in zip(parts, words, strict=True)]
    merged = merge([computed(tables[number]) for number in order])
    whole = computed(pa.concat_tables(tables))
    for a, b in zip(merged.columns, whole.columns, strict=True):
        same_but_for_sketches(a, b)
    points = merged.columns[0].quantiles
    everything = np.concatenate(parts)
    assert rank_error(points, everything) <= points.error <= 0.006 * len(everything)
    counts = Counter(word for part in words for word in part)
    top = merged.columns[1].top
    assert all(count <= counts[str(value)] <= count + top.missed for value, count in top.counts)
    assert top.missed < len(everything) / 100
    # In whatever order: the same bytes.
    assert encode(DIGEST, merge([computed(t) for t in tables])) == encode(DIGEST, merged) or order[0]


def test_the_same_file_gives_the_same_bytes() -> None:
    table = pa.table(
        {"x": np.random.default_rng(1).normal(size=LARGE), "s": [f"{n % 999}" for n in range(LARGE)]}
    )
    data = written(table).getvalue()
    first, second = (encode(DIGEST, file_statistics(io.BytesIO(data))) for _ in range(2))
    assert first == second


def test_registers_of_two_lengths_fold() -> None:
    hashes = sketch.hash_integers(np.arange(5000, dtype=np.uint64))
    long, short = sketch.RegisterBuilder(4096), sketch.RegisterBuilder(1024)
    long.add(hashes)
    short.add(hashes)
    assert sketch.merge_registers([long.finish(), bytes(1024)]) == short.finish()
    assert sketch.merge_registers([long.finish(), b""]) == b""


# Types


def test_every_type_has_what_fits_it() -> None:
    zone = pa.timestamp("us", "Europe/Berlin")
    then, before = datetime(2020, 2, 29, 12, 0, 0, 500_000, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)
    columns: dict[str, tuple[pa.Array, Any, Any]] = {
        "bool": (pa.array([True, None, False]), False, True),
        "uint64": (pa.array([2**64 - 1, None, 1], pa.uint64()), 1, 2**64 - 1),
        "half": (pa.array(np.array([1.5, 2.0, -1.0], np.float16)), -1.0, 2.0),
        "date": (pa.array([date(2020, 2, 29), None, date(1, 1, 1)]), "0001-01-01", "2020-02-29"),
        "zoned": (pa.array([then, None, before], zone), "1900-01-01T00:00:00Z", "2020-02-29T12:00:00.5Z"),
        "local": (pa.array([0, None, 0], pa.timestamp("ms")), "1970-01-01T00:00:00", "1970-01-01T00:00:00"),
        "time": (pa.array([0, None, 3_661_001], pa.time32("ms")), "00:00:00", "01:01:01.001"),
        "duration": (pa.array([-5, None, 7], pa.duration("us")), -5, 7),
        "decimal": (pa.array([Decimal("-7.50"), None, Decimal("1.25")]), "-7.50", "1.25"),
        "decimal256": (pa.array([Decimal("1.25"), None, None], pa.decimal256(60, 2)), "1.25", "1.25"),
        "binary": (pa.array([b"\xff", None, b"\x00"]), "00", "ff"),
        "fixed": (pa.array([b"ab", None, b"aa"], pa.binary(2)), "6161", "6162"),
        "large": (pa.array(["b", None, "ä"], pa.large_string()), "b", "ä"),
        "large binary": (pa.array([b"b", None, b"a"], pa.large_binary()), "61", "62"),
        "view": (pa.array(["b", None, "a"], pa.string_view()), "a", "b"),
        "dictionary": (pa.array(["b", None, "a"]).dictionary_encode(), "a", "b"),
        "numbers": (pa.array([3, None, 3]).dictionary_encode(), 3, 3),
        "null": (pa.nulls(3), None, None),
        "all null": (pa.nulls(3, pa.float64()), None, None),
        "constant": (pa.array(["x", "x", "x"]), "x", "x"),
        "a.dot": (pa.array([1, 2, 3]), 1, 3),
    }  # fmt: skip
    found = view(computed(pa.table({name: array for name, (array, _, _) in columns.items()})))
    for name, (array, low, high) in columns.items():
        document = found.column(name).to_json()
        assert (document["reason"], document["min"], document["max"]) == (None, low, high), name
        assert (document["values"], document["nulls"]) == (3 - array.null_count, array.null_count), name
        assert document["distinct"] == (None if name == "null" else len(set(array.to_pylist()) - {None})), (
            name
        )


def test_nested_columns_are_laid_open() -> None:
    table = pa.table(
        {
            "v": pa.array([["x"], None, []], pa.list_(pa.string_view())),
            "s": pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}]),
            "l": pa.array([[1, 2], None, [3, None]]),
            "m": pa.array([[("k", 1)], None, [("k", 2), ("j", None)]], pa.map_(pa.string(), pa.int64())),
            "ls": pa.array([[{"q": 1.5}], [], [{"q": None}, None]]),
        }
    )
    for sliced in (table, pa.concat_tables([table, table]).slice(3)):
        found = view(computed(sliced))
        counts = {c.name: (c.values, c.nulls, c.min, c.max) for c in found.columns}
        assert counts == {
            "v[]": (1, 0, "x", "x"),
            "s.a": (1, 2, 1, 1),
            "s.b.c": (1, 2, "x", "x"),
            "l[]": (3, 1, 1, 3),
            "m[].key": (3, 0, "j", "k"),
            "m[].value": (2, 1, 1, 2),
            "ls[].q": (1, 2, 1.5, 1.5),
        }


def test_tables_without_rows_or_columns() -> None:
    empty = computed(pa.table({"x": pa.array([], pa.int64()), "s": pa.array([], pa.string())}))
    assert (empty.rows, [c.values for c in empty.columns]) == (0, [0, 0])
    full = computed(pa.table({"x": [1, 2], "s": ["a", "b"]}))
    assert merge([empty, full]) == full
    assert computed(pa.table({})).columns == ()


def test_long_values_are_not_kept() -> None:
    found = column(["a" * 5000, "b" * 200, "c"])
    assert found.min is None
    assert found.max == "c"
    assert found.top == (("c", 1),)
    assert found.kept.top.missed == 1
    assert found.distinct == 3


def test_ten_thousand_columns_keep_what_is_exact() -> None:
    table = pa.table({f"c{number}": [number, number + 1] for number in range(10_000)})
    found = computed(table)
    assert len(found.columns) == 10_000
    last = TableColumn(found.columns[-1])
    assert (last.min, last.max, last.mean, last.distinct) == (9_999, 10_000, 9_999.5, None)
    assert last.quantiles == Quantiles()
    assert merge([found, found]).columns[5].values == 4


def test_a_record_that_would_be_too_large_keeps_less() -> None:
    kept = column(list(range(LARGE))).kept
    many = FileStatistics(LARGE, (kept,) * 1500)
    data = encode_bounded(DIGEST, many)
    assert len(data) <= STATISTICS_BYTES_MAX
    shorter = decode(data, DIGEST)
    assert len(shorter.columns) == 1500
    assert shorter.columns[0].max == LARGE - 1
    assert shorter.columns[0].quantiles == Quantiles()


def test_a_column_of_large_values_is_read_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    real = leaf_arrays

    def counting(array: pa.Array) -> Any:
        rows.append(len(array))
        return real(array)

    monkeypatch.setattr(statistics, "leaf_arrays", counting)
    monkeypatch.setattr(statistics, "BATCH_BYTES", 1 << 20)
    blobs = [bytes([number]) * 100_000 for number in range(100)]
    found = column(blobs, use_dictionary=False, compression="none")
    assert found.distinct == 100
    assert max(rows) <= 10


def test_a_large_row_group_takes_little_memory(tmp_path: Path) -> None:
    """Three million distinct texts, which a reader that codes them itself would hold all at once."""
    texts = pa.array(np.arange(3_000_000)).cast(pa.string())
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"s": texts}), path, row_group_size=len(texts))
    code = (
        "import sys, pyarrow; from dataver.tables.statistics import file_statistics\n"
        "found = file_statistics(open(sys.argv[1], 'rb'))\n"
        "print(found.columns[0].values, pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    values, memory_bytes = map(int, done.stdout.split())
    assert values == len(texts)
    assert memory_bytes < 40 << 20


def test_texts_that_are_coded_in_the_file_are_read_as_they_are() -> None:
    columns = {"few": ["a", "b"] * 50_000, "many": [f"user-{n:09}" for n in range(100_000)]}
    sink = written(pa.table({**columns, "plain": columns["few"]}), use_dictionary=["few", "many"])
    table = open_table(sink)
    assert [chunk.coded for chunk in table.groups[0].columns] == [True, False, False]
    found = view(file_statistics(sink))
    assert found.column("few").kept.top == found.column("plain").kept.top
    assert found.column("few").kept.registers == found.column("plain").kept.registers
    assert found.column("many").distinct == pytest.approx(100_000, rel=0.06)


# What is no table, or not all of one


def test_what_cannot_be_read_says_why() -> None:
    whole = written(pa.table({"a": [1, 2]})).getvalue()
    for data, reason in (
        (b"", "not Parquet"),
        (b"a,b\n1,2\n" * 10, "not Parquet"),
        (b"PAR1", "truncated"),
        (whole[:-5], "truncated"),
        (whole[:40], "truncated"),
        (b"PARE" + whole[4:-4] + b"PARE", "encrypted"),
        (whole[:-4] + b"PARE", "encrypted"),
        (whole[:-8] + struct.pack("<I", 10**9) + b"PAR1", "malformed"),
        (b"PAR1" + bytes(100) + struct.pack("<I", 100) + b"PAR1", "malformed"),
    ):
        found = file_statistics(io.BytesIO(data))
        assert reason in found.reason, (data[:20], found.reason)
        assert decode(encode_bounded(DIGEST, found), DIGEST) == found


def test_damaged_pages_say_which_column_cannot_be_read() -> None:
    table = pa.table({"good": list(range(1000)), "bad": [f"{n}" for n in range(1000)]})
    sink = written(table, compression="zstd")
    place = pq.ParquetFile(sink).metadata.row_group(0).column(1)
    data = bytearray(sink.getvalue())
    start = place.dictionary_page_offset or place.data_page_offset
    data[start + 20 : start + place.total_compressed_size] = bytes(place.total_compressed_size - 20)
    found = file_statistics(io.BytesIO(data))
    good, bad = found.columns
    assert (good.reason, good.values) == ("", 1000)
    assert "cannot be read" in bad.reason
    assert decode(encode_bounded(DIGEST, found), DIGEST) == found
    assert merge([found, found]).columns[1].reason == bad.reason


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_changed_file_gives_statistics_or_a_reason(at: int, new: bytes) -> None:
    data = bytearray(written(pa.table({"a": list(range(50)), "s": [f"{n}" for n in range(50)]})).getvalue())
    at %= len(data)
    data[at : at + len(new)] = new
    found = file_statistics(io.BytesIO(data))
    assert decode(encode_bounded(DIGEST, found), DIGEST) == found


def test_an_encrypted_column_says_so(tmp_path: Path) -> None:
    encryption = import_module("pyarrow.parquet.encryption")

    class InMemory(encryption.KmsClient):  # type: ignore[misc, name-defined]
        def __init__(self, config: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, master: str) -> bytes:
            return master.encode() + key.hex().encode()

        def unwrap_key(self, wrapped: bytes, master: str) -> bytes:
            return bytes.fromhex(wrapped.decode().removeprefix(master))

    factory = encryption.CryptoFactory(InMemory)
    for plaintext, expected in ((False, "it is encrypted"), (True, "some of its columns are encrypted")):
        config = encryption.EncryptionConfiguration(
            footer_key="foot", column_keys={"col": ["secret"]}, plaintext_footer=plaintext
        )
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)
        path = tmp_path / "e.parquet"
        table = pa.table({"secret": [1, 2], "open": [3, 4]})
        with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)
        with open(path, "rb") as file:
            found = file_statistics(file)
        assert found.reason == expected


def test_errors_of_the_repository_go_through() -> None:
    class Damaged(io.BytesIO):
        failing = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.failing and self.tell() < 1000:
                raise DamagedError("chunk 17 is damaged")
            return super().read(size)

    data = written(pa.table({"a": np.random.default_rng(1).normal(size=10_000)})).getvalue()
    file = Damaged(data)
    file.failing = True
    with pytest.raises(DamagedError, match="chunk 17"):
        file_statistics(file)


# Real files


SHIPPED = sorted((Path(pa.__file__).parent / "tests" / "data" / "parquet").glob("*.parquet"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_real_files_against_pandas(path: Path) -> None:
    with open(path, "rb") as file:
        found = view(file_statistics(file))
    table = pq.read_table(path)
    assert found.rows == table.num_rows > 0
    assert len(found.columns) == table.num_columns
    for one, array in zip(found.columns, table.columns, strict=True):
        real = array.to_pandas()
        assert isinstance(real, pandas.Series)
        assert (one.values, one.nulls) == (real.count(), real.isna().sum())
        if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
            assert (one.min, one.max, one.distinct) == (real.min(), real.max(), real.nunique())
            assert one.mean == pytest.approx(real.mean())
            assert one.std == pytest.approx(real.std(ddof=0))
            lower = real.quantile(0.5, interpolation="lower")
            assert one.quantile(0.5) == pytest.approx(lower, rel=0.05)


def test_there_are_real_files() -> None:
    assert SHIPPED


def test_tables_of_scikit_learn_against_pandas() -> None:
    """The tables of the demo, as the demo makes Parquet of them."""
    shipped = [place for place in files("scikit-learn") or [] if place.name in ("iris.csv", "wine_data.csv")]
    assert len(shipped) == 2
    for place in shipped:
        names = [f"c{number}" for number in range(5 if place.name == "iris.csv" else 14)]
        options = csv.ReadOptions(column_names=names, skip_rows=1)
        table = csv.read_csv(str(place.locate()), read_options=options)
        found, frame = view(computed(table)), table.to_pandas()
        for name in names:
            one, real = found.column(name), frame[name]
            assert (one.values, one.min, one.max) == (len(real), real.min(), real.max())
            assert (one.distinct, dict(one.top)) == (real.nunique(), real.value_counts().to_dict())
            assert one.mean == pytest.approx(real.mean())
            assert one.std == pytest.approx(real.std(ddof=0))


def test_what_is_kept_of_a_column_is_pinned() -> None:
    """Sketches of one release merge with those of another: the way they are made is part of the format."""
    numbers = np.arange(200_000, dtype=np.int64) * 2_654_435_761 % 1_000_003
    found = computed(
        pa.table({"n": numbers, "f": numbers / 8, "s": [f"{n % 5000}" for n in numbers.tolist()]})
    )
    kept = b"".join(
        column.registers + repr((column.top, column.quantiles)).encode() for column in found.columns
    )
    assert str(blake3_digest(kept)) == "59c21e222cb0d89ac64a09389eb9e218cd4a2aa71954db7721d65ea4b86e0804"


# Ending early


def test_what_was_interrupted_begins_nothing_more_and_ends_soon() -> None:
    begun: list[int] = []

    def work(number: int, check: Callable[[], None]) -> int:
        begun.append(number)
        while number:  # for ever, if nobody ends it
            check()
            time.sleep(0.001)
        return number

    results = by_threads(work, range(100), 2)
    assert next(results) == 0
    results.close()
    assert len(begun) <= 3


def test_a_file_is_given_up_between_two_batches() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": range(1 << 18)}), file)
    seen: list[int] = []

    def check() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        file_statistics(file, check)
    assert len(seen) == 2
