"""Data frames and views of versions and their parts: columns, formats, what is read, and what cannot be."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import duckdb
import polars
import pyarrow
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet
import pytest

import dataver
from dataver.errors import BadInputError, NotFoundError
from dataver.parts import SplitView
from dataver.repository import Repository, init
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from dataver.version import Version
from tests.far import far_repository, opened
from tests.worlds import noise

ROWS = 3_000


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


@pytest.fixture
def rows(repository: Repository, tmp_path: Path) -> Version:
    """`train` with three parts and what is left out, `one` in each format, and what is no table."""
    root = tmp_path / "data"
    (root / "train" / "_log").mkdir(parents=True)
    for number in range(3):
        ids = range(number * 1000, number * 1000 + 1000)
        table = pyarrow.table({"id": ids, "name": [f"row {n}" for n in ids], "part": [number] * 1000})
        pyarrow.parquet.write_table(table, root / "train" / f"part-[{number}]*.parquet", row_group_size=100)
    (root / "train" / "_log" / "x.parquet").write_bytes(b"no table")
    (root / "train" / "readme.txt").write_bytes(b"text")
    one = pyarrow.table({"id": [1, 2], "name": ["a", None], "x": [0.5, 1.5]})
    pyarrow.feather.write_feather(one, str(root / "one.feather"))
    pyarrow.orc.write_table(one, root / "one.orc")
    (root / "one.csv").write_text("id,name,x\n1,a,0.5\n2,,1.5\n")
    lines = [{"id": 1, "name": "a", "x": 0.5}, {"id": 2, "name": None, "x": 1.5}]
    (root / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "broken.parquet").write_bytes(b"PAR1 is how it begins")
    os.symlink("train", root / "link")
    repository.commit("rows", root)
    return repository.version("rows")


# Data frames


@pytest.mark.parametrize("path", ["train", "train/", "link", "link/"])
def test_a_folder(rows: Version, path: str) -> None:
    frame = rows.to_pandas(path)
    assert (len(frame), list(frame.columns)) == (ROWS, ["id", "name", "part"])
    for found in (rows.to_polars(path), rows.to_polars(path, lazy=True).collect()):
        assert found.equals(polars.DataFrame(rows.to_arrow(path)))
        assert found["id"].to_list() == list(range(ROWS))


def test_columns(rows: Version) -> None:
    assert list(rows.to_pandas("train", columns=["part", "id"]).columns) == ["part", "id"]
    assert rows.to_polars("train", columns=["part", "id"]).columns == ["part", "id"]
    assert rows.to_polars("train", lazy=True, columns=["part"]).collect().columns == ["part"]
    for read in (rows.to_pandas, rows.to_polars):
        with pytest.raises(BadInputError, match="nothing"):
            read("train", columns=["nothing"])


def test_options_of_pandas(rows: Version) -> None:
    frame = rows.to_pandas("one.feather", format="feather", strings_to_categorical=True)
    assert frame["name"].dtype == "category"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("one.csv", "csv"), ("one.jsonl", "json"), ("one.feather", "feather"), ("one.orc", "orc")],
)
def test_other_formats(rows: Version, path: str, kind: str) -> None:
    expected = [(1, "a", 0.5), (2, "" if kind == "csv" else None, 1.5)]
    assert rows.to_polars(path, format=kind).rows() == expected
    lazy = rows.to_polars(path, lazy=True, format=kind)
    assert lazy.collect().rows() == expected
    assert lazy.filter(polars.col("id") > 1).select("x").collect().rows() == [(1.5,)]
    assert rows.to_pandas(path, format=kind, columns=["x"])["x"].to_list() == [0.5, 1.5]
    with duckdb.connect() as connection:
        assert rows.to_duckdb(connection, "one", path, format=kind).fetchall() == expected


def test_lazy_frames_push_down(rows: Version) -> None:
    plan = rows.to_polars("train", lazy=True).filter(polars.col("id") < 10).select("name").explain()
    assert "SELECTION" in plan
    assert "2/3 COLUMNS" in plan or "1/3 COLUMNS" in plan


def test_a_lazy_frame_outlives_the_version(rows: Version) -> None:
    lazy = rows.to_polars("train", lazy=True)
    del rows
    gc.collect()
    assert lazy.select(polars.len()).collect().item() == ROWS


def test_every_type_is_the_same_lazily(repository: Repository, tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "category": pyarrow.array(["a", "b", "a"]).dictionary_encode(),
            "decimal": pyarrow.array([Decimal("1.25"), None, Decimal("-7.00")], pyarrow.decimal128(9, 2)),
            "at": pyarrow.array([datetime(2026, 1, 2, tzinfo=UTC)] * 3, pyarrow.timestamp("ns", "UTC")),
            "list": [[1, 2], [], None],
            "struct": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None],
            "bytes": [b"\0", b"", None],
            "flag": [True, None, False],
            "day": pyarrow.array([1, 2, None], pyarrow.date32()),
            "span": pyarrow.array([1, 2, None], pyarrow.duration("us")),
            "small": pyarrow.array([1, 2, None], pyarrow.int8()),
            "nan": [1.0, float("nan"), None],
            "large": pyarrow.array(["x", "y", None], pyarrow.large_string()),
        }
    )
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "data" / "a.parquet")
    repository.commit("types", tmp_path / "data")
    version = repository.version("types")
    lazy = version.to_polars(lazy=True)
    assert lazy.collect_schema() == version.to_polars().schema
    assert lazy.collect().equals(version.to_polars())


def test_files_with_other_columns(repository: Repository, tmp_path: Path) -> None:
    """As pyarrow has it: the columns of the first file, null where another one lacks them."""
    (tmp_path / "data").mkdir()
    for name, columns in (("a", {"x": [1], "y": [1]}), ("b", {"y": [2], "z": [2]})):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "data" / f"{name}.parquet")
    repository.commit("uneven", tmp_path / "data")
    version = repository.version("uneven")
    expected = [(1, 1), (None, 2)]
    assert version.to_polars().rows() == version.to_polars(lazy=True).collect().rows() == expected
    assert version.to_pandas()["y"].to_list() == [1, 2]
    with duckdb.connect() as connection:
        assert version.to_duckdb(connection, "uneven").fetchall() == expected


USES: list[Callable[[Version, str], object]] = [
    lambda version, path: version.to_pandas(path),
    lambda version, path: version.to_polars(path),
    lambda version, path: version.to_polars(path, lazy=True),
    lambda version, path: version.to_duckdb(duckdb.connect(), "x", path),
]


@pytest.mark.parametrize("use", USES)
def test_no_tables(rows: Version, use: Callable[[Version, str], object]) -> None:
    for path in ("train/_log/none", "missing", "one.csv/x"):
        with pytest.raises(NotFoundError):
            use(rows, path)
    if use is not USES[2]:  # Polars says so when it reads.
        with pytest.raises(BadInputError, match="cannot be read"):
            use(rows, "broken.parquet")


# DuckDB


def test_a_view_of_duckdb(rows: Version) -> None:
    with duckdb.connect() as connection:
        connection.execute("set threads=4")
        rows.to_duckdb(connection, "train", "train")
        rows.to_duckdb(connection, "odd name", "one.csv", format="csv")
        del rows
        gc.collect()
        query = "select part, count(*), sum(id) from train where id >= 500 group by part order by part"
        expected = [(0, 500, sum(range(500, 1000))), (1, 1000, sum(range(1000, 2000)))]
        assert connection.sql(query).fetchall()[:2] == expected
        assert connection.sql('select max(x) from "odd name"').fetchall() == [(1.5,)]
        joined = 'select count(*) from train join "odd name" using (id)'
        assert [connection.sql(joined).fetchall() for _ in range(10)] == [[(2,)]] * 10


def test_a_view_replaces_another(rows: Version) -> None:
    with duckdb.connect() as connection:
        rows.to_duckdb(connection, "rows", "train")
        assert rows.to_duckdb(connection, "rows", "one.csv", format="csv").columns == ["id", "name", "x"]
        assert connection.sql("select count(*) from rows").fetchall() == [(2,)]


def test_cursors_in_threads(rows: Version) -> None:
    with duckdb.connect() as connection:
        rows.to_duckdb(connection, "train", "train")

        def count(number: int) -> object:
            with connection.cursor() as cursor:
                rows.to_duckdb(cursor, f"own_{number}", "train")
                return cursor.sql(f"select count(*) from own_{number} where id % 2 = 0").fetchall()

        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(count, range(12))] == [[(ROWS // 2,)]] * 12


# What is read


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """A repository far away with a table of which one column weighs 3 MB."""
    table = pyarrow.table({"id": range(ROWS), "noise": [noise(n, 1_000) for n in range(ROWS)]})
    (tmp_path / "far").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "far" / "a.parquet")
    store = CountingStore(MemoryStore(uuid4().hex))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_MAX", "0")
        repository = far_repository(store)
        repository.session.create()
        repository.commit("rows", tmp_path / "far")
    return store


@pytest.mark.parametrize(
    "read",
    [
        lambda version: version.to_pandas(columns=["id"])["id"].sum(),
        lambda version: version.to_polars(columns=["id"])["id"].sum(),
        lambda version: version.to_duckdb(duckdb.connect(), "x").sum("id").fetchall()[0][0],
    ],
)
def test_only_the_columns_that_are_wanted_are_read(
    store: CountingStore, read: Callable[[Version], int]
) -> None:
    store.reset()
    assert read(opened(store).version("rows")) == sum(range(ROWS))
    assert store.read_bytes < 1_000_000
    assert len(opened(store).version("rows").to_pandas()["noise"]) == ROWS
    assert store.read_bytes > 3_000_000


def test_a_lazy_frame_reads_a_file_once(store: CountingStore) -> None:
    lazy = opened(store).version("rows").to_polars(lazy=True)
    store.reset()
    assert lazy.select(polars.col("id").sum()).collect().item() == sum(range(ROWS))
    assert lazy.collect().height == ROWS
    again = opened(store).version("rows").to_polars(lazy=True)
    assert again.collect().height == ROWS
    assert store.read_bytes < 100_000, "no more than the log"


# Parts


@pytest.fixture
def half(rows: Version) -> SplitView:
    split = dataver.HashSplit("id", train=0.5, test=0.5)
    return rows.split("train", split, path="train")


def test_parts_in_polars(half: SplitView) -> None:
    expected = polars.DataFrame(half.to_arrow())
    assert 1_000 < expected.height < 2_000
    assert half.to_polars().equals(expected)
    assert half.to_polars(["name"]).equals(expected.select("name"))
    lazy = half.to_polars(lazy=True)
    assert lazy.collect_schema() == expected.schema
    few = polars.col("id") % 7 == 0
    queries: list[Callable[[polars.LazyFrame], polars.LazyFrame]] = [
        lambda frame: frame,
        lambda frame: frame.select("name"),
        lambda frame: frame.filter(few),
        lambda frame: frame.filter(few).select("name"),
        lambda frame: frame.head(10),
        lambda frame: frame.filter(few).head(10),
        lambda frame: frame.filter(few, polars.col("part") == 2).select("name").head(5),
        lambda frame: frame.group_by("part").agg(polars.len(), polars.col("id").sum()).sort("part"),
    ]
    for query in queries:
        assert query(lazy).collect().equals(query(expected.lazy()).collect())
    assert half.to_polars(["part"], lazy=True).collect().equals(expected.select("part"))


def test_parts_in_duckdb(half: SplitView) -> None:
    with duckdb.connect() as connection:
        view = half.to_duckdb(connection, "half", ["id"])
        assert view.columns == ["id"]
        expected = sum(half.to_arrow(["id"])["id"].to_pylist())
        count = half.num_rows
        del half
        gc.collect()
        assert connection.sql("select count(*), sum(id) from half").fetchall() == [(count, expected)]
