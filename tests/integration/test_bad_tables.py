"""Files that are odd, huge, locked or no tables at all: committed, read as bytes, and told apart."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats as oracle

import dataver
from dataver.errors import BadInputError
from dataver.repository import Repository
from dataver.tables.rewrite import rewrite_parquet
from dataver.tables.statistics import file_statistics
from dataver.tables.view import view
from tests.unit.test_rewrite_parquet import write_encrypted

SCRIPTS = [
    *(
        "latin ÀÉÎõü",
        "ελληνικά",
        "кириллица",
        "עברית",
        "العربية",
        "हिन्दी",
        "ไทย",
        "한국어",
        "日本語 ひらがな",
    ),
    *("中文", "አማርኛ", "ქართული", "\U00010348 \U0001f600\U0001f3fd\u200d\U0001f680", "e\u0301 is two signs"),
    *("\u202eright to left", "a\0b", "", " ", "\ufeff", "\U0010ffff"),
]


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def whole() -> bytes:
    return parquet(pa.table({"id": range(1000), "x": np.random.default_rng(1).random(1000)}))


def encrypted(plain_footer: bool) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        path = folder / "encrypted"
        write_encrypted(pa.table({"secret": range(50), "open": range(50)}), path, plain_footer=plain_footer)
        data = path.read_bytes()
        path.unlink()
        return data

    return make


NO_TABLES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "csv": (lambda _: b"a,b\n1,2\n", "it is not Parquet"),
    "empty": (lambda _: b"", "it is not Parquet"),
    "png": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(5000), "it is not Parquet"),
    "magic": (lambda _: b"PAR1", "it is truncated"),
    "half": (lambda _: whole()[: len(whole()) // 2], "it is truncated"),
    "tail": (lambda _: whole()[:-1], "it is truncated"),
    "footer": (lambda _: whole()[:-400] + bytes(392) + whole()[-8:], "its footer is malformed"),
    "claim": (
        lambda _: b"PAR1" + bytes(40) + (1 << 30).to_bytes(4, "little") + b"PAR1",
        "its footer is malformed",
    ),
    "encrypted": (encrypted(plain_footer=False), "it is encrypted"),
    "encrypted-columns": (encrypted(plain_footer=True), "some of its columns are encrypted"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.mkdir()
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(str(tmp_path / "repository"))


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_no_table_is_bytes_all_the_same(repository: Repository, folder: Path, kept: bool) -> None:
    files = {f"{name}.parquet": make(folder) for name, (make, _) in NO_TABLES.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    repository.commit("t", folder, stats=kept)
    version = repository.version("t")
    assert {name: version.read(name) for name in files} == files
    for name, (_, reason) in NO_TABLES.items():
        with pytest.raises(BadInputError, match=rf"{name}\.parquet.*{reason}"):
            version.stats(f"{name}.parquet")
    version.checkout(str(folder.parent / "out"))
    assert {name: (folder.parent / "out" / name).read_bytes() for name in files} == files
    left = {Path(one.path).stem: one.reason for one in rewrite_parquet(str(folder), None)}
    assert left.keys() == NO_TABLES.keys()
    for name, (_, reason) in NO_TABLES.items():
        assert left[name].startswith(reason)
    assert {name: (folder / name).read_bytes() for name in files} == files
    assert repository.verify(deep=True).ok


def test_tables_that_are_odd(repository: Repository, folder: Path) -> None:
    """No rows, no columns, 10,000 of them, a row group a row, what is no number, nests and all scripts."""
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, None, 5e-324, 1.7e308]
    tables = {
        "no-rows": pa.table({"a": pa.array([], pa.int64()), "s": pa.array([], pa.string())}),
        "no-columns": pa.table({}),
        "wide": pa.table({f"c{n}": [n, None] for n in range(10_000)}),
        "special": pa.table({"f": pa.array(special), "g": pa.array([math.nan] * 8), "n": pa.nulls(8)}),
        "decimals": pa.table(
            {"d": pa.array([Decimal("0.01"), None, Decimal("-99999999999999999.99")], pa.decimal128(19, 2)),
             "w": pa.array([Decimal(10**70), Decimal(1), None], pa.decimal256(76, 0))}
        ),
        "nested": pa.table(
            {"l": [[{"x": 1, "y": ["a"]}], None, []],
             "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8()))}
        ),
        "scripts": pa.table({"s": SCRIPTS, "b": [text.encode() for text in SCRIPTS]}),
    }  # fmt: skip
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    pq.write_table(pa.table({"a": range(300)}), folder / "groups.parquet", row_group_size=1)
    repository.commit("t", folder, stats=True)
    version = repository.version("t")
    for path in folder.iterdir():
        assert version.read(path.name) == path.read_bytes()
    found = {name: version.stats(f"{name}.parquet") for name in (*tables, "groups")}
    assert (found["no-rows"].rows, found["no-rows"].column("a").min) == (0, None)
    assert found["no-columns"].columns == ()
    assert len(found["wide"].columns) == 10_000
    assert found["wide"].column("c9999").max == 9999
    f = found["special"].column("f").kept
    assert (f.values, f.nulls, f.nan, f.positive_infinities, f.negative_infinities) == (7, 1, 1, 1, 1)
    assert (f.min, f.max) == (0.0, 1.7e308)
    g = found["special"].column("g").kept
    assert (g.values, g.nan, g.min, g.mean) == (8, 8, None, None)
    assert found["special"].column("n").nulls == 8
    assert found["decimals"].column("d").min == Decimal("-99999999999999999.99")
    assert found["decimals"].column("w").max == Decimal(10**70)
    assert {one.name for one in found["nested"].columns} == {"l[].x", "l[].y[]", "m[].key", "m[].value"}
    s = found["scripts"].column("s")
    assert (s.min, s.max, s.distinct) == ("", "\U0010ffff", len(SCRIPTS))
    assert {value for value, _ in s.top} == set(SCRIPTS)
    assert (found["groups"].rows, found["groups"].column("a").distinct) == (300, 300)


LARGE = """
import io, sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq
rows, path = int(sys.argv[1]), sys.argv[2]
schema = pa.schema({"x": pa.float64(), "n": pa.int64(), "y": pa.float64(), "z": pa.float64()})
rng = np.random.default_rng(1)
block = rng.random(1 << 20)
with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
    x = np.concatenate([block + n for n in range(-(-rows >> 20))])[:rows]
    table = pa.table({"x": x, "n": np.arange(rows), "y": x, "z": -x}, schema=schema)
    writer.write_table(table, row_group_size=rows)
"""
READ = r"""
import re, sys, dataver
repository = dataver.init(sys.argv[1])
repository.commit("t", sys.argv[2], stats=True)
found = repository.version("t").stats()
print(found.rows, found.column("n").max, found.column("x").values)
# Not `ru_maxrss`, which begins with that of the process before.
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
from dataver.tables.rewrite import rewrite_parquet
print(next(rewrite_parquet(sys.argv[2], None)).status)
"""


def one_row_group(tmp_path: Path, rows: int) -> int:
    """The most memory, in MiB, of a commit with statistics of one row group; then it is rewritten."""
    path = tmp_path / "data" / "large.parquet"
    path.parent.mkdir()
    subprocess.run([sys.executable, "-c", LARGE, str(rows), str(path)], check=True)
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    command = [sys.executable, "-c", READ, str(tmp_path / "repository"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts, memory_kib, status = done.stdout.splitlines()
    assert facts.split() == [str(rows), str(rows - 1), str(rows)]
    assert status == "rewritten"
    assert pq.ParquetFile(path).metadata.num_rows == rows
    return int(memory_kib) >> 10


LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the memory")


@LINUX
def test_a_row_group_of_64_mib(tmp_path: Path) -> None:
    assert one_row_group(tmp_path, 2 << 20) < 400


@LINUX
@pytest.mark.soak
def test_a_row_group_of_two_gib(tmp_path: Path) -> None:
    """Memory is that of any large file, not that of its row group."""
    assert one_row_group(tmp_path, 64 << 20) < 400


SCAN = r"""
import re, sys, dataver
def peak_mib():
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) >> 10
repository = dataver.init(sys.argv[1])
repository.commit("t", sys.argv[2], stats=True)
print(peak_mib())
few, many = (repository.version("t").dataset(path) for path in ("few.parquet", "many.parquet"))
for dataset in (few, many):
    print(sum(batch.num_rows for batch in dataset.to_batches()), peak_mib())
"""


@LINUX
def test_row_groups_that_were_read_are_not_held(tmp_path: Path) -> None:
    """pyarrow would hold all that it read of a file until it is done with the file: here, 128 MiB."""
    rows = 1 << 17
    table = pa.table({"x": np.random.default_rng(1).random(rows)})
    (tmp_path / "data").mkdir()
    for name, count in (("few", 4), ("many", 128)):
        with pq.ParquetWriter(tmp_path / "data" / f"{name}.parquet", table.schema) as writer:
            for _ in range(count):
                writer.write_table(table)
    command = [sys.executable, "-c", SCAN, str(tmp_path / "repository"), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    committed, few, many = (line.split() for line in done.stdout.splitlines())
    assert int(committed[0]) < 230
    assert (int(few[0]), int(many[0])) == (4 * rows, 128 * rows)
    assert int(many[1]) - int(few[1]) < 80


# Oracles


GENERATED: dict[str, pa.Array] = {
    "normal": pa.array(np.random.default_rng(1).normal(size=100_000)),
    "lognormal": pa.array(np.random.default_rng(2).lognormal(size=100_000)),
    "uniform, a tenth null": pa.array(
        np.random.default_rng(3).random(100_000), mask=np.random.default_rng(4).random(100_000) < 0.1
    ),
    "constant": pa.array(np.full(100_000, 7.25)),
    "zipf": pa.array(np.random.default_rng(5).zipf(1.5, 100_000).clip(0, 10**6)),
    "dates": pa.array(np.random.default_rng(6).integers(0, 20_000, 100_000).astype(np.int32), pa.date32()),
    "float32": pa.array(np.random.default_rng(7).normal(size=100_000).astype(np.float32)),
}


@pytest.mark.parametrize("column", GENERATED.values(), ids=GENERATED)
def test_generated_columns_against_scipy_and_pandas(column: pa.Array) -> None:
    found = view(file_statistics(io.BytesIO(parquet(pa.table({"a": column}))))).column("a")
    plain = column.cast(pa.int32()) if pa.types.is_date(column.type) else column
    real = pd.Series(plain.to_numpy(zero_copy_only=False)).dropna().astype(np.float64)
    with warnings.catch_warnings():  # of the constant's moments, which it finds hard
        warnings.simplefilter("ignore", RuntimeWarning)
        described = oracle.describe(real, ddof=0)
    assert (found.values, found.nulls) == (described.nobs, column.null_count)
    assert (found.kept.min, found.kept.max) == described.minmax
    assert found.mean == pytest.approx(described.mean)
    assert found.std == pytest.approx(math.sqrt(described.variance), rel=1e-9, abs=1e-12)
    assert found.distinct == pytest.approx(real.nunique(), rel=0.06)
    points = found.kept.quantiles
    for share in (0.01, 0.25, 0.5, 0.9, 0.99):
        # The rank of what is given is off by no more than the sketch says.
        value = found.quantile(share)
        assert value is not None
        low, high = (oracle.percentileofscore(real, value, kind) / 100 for kind in ("strict", "weak"))
        slack = points.error / described.nobs + max(points.weights) / described.nobs
        assert low - slack <= share <= high + slack
    counted = real.value_counts()
    for listed, count in found.kept.top.counts[:5]:
        assert count <= counted[listed] <= count + found.kept.top.missed
