"""The same rows through every reader: what the libraries read of a version is what was committed.

The tables are those that packages ship: measurements of wine, of the air on Mauna Loa (with gaps), of
firms, and columns of dates, times and decimals.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pandas
import polars
import pyarrow
import pyarrow.csv
import pyarrow.dataset
import pyarrow.orc
import pyarrow.parquet
import pytest
from blake3 import blake3

from dataver.repository import init
from dataver.version import Version

# Dask has yet to follow pandas.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

PARTS = 3
Columns = Mapping[str, Iterable[Any]]


def shipped(package: str, path: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / path


def wine() -> pyarrow.Table:
    with shipped("sklearn", "datasets/data/wine_data.csv").open("rb") as file:
        file.readline()
        options = pyarrow.csv.ReadOptions(column_names=[f"x{number}" for number in range(14)])
        return pyarrow.csv.read_csv(io.BytesIO(file.read()), options)


SETS: dict[str, Callable[[], pyarrow.Table]] = {
    "wine": wine,
    "air": lambda: pyarrow.csv.read_csv(shipped("statsmodels", "datasets/co2/co2.csv")),
    "firms": lambda: pyarrow.csv.read_csv(shipped("statsmodels", "datasets/grunfeld/grunfeld.csv")),
    "decimals": lambda: pyarrow.orc.read_table(shipped("pyarrow", "tests/data/orc/decimal.orc")),
    "dates": lambda: pyarrow.orc.read_table(
        shipped("pyarrow", "tests/data/orc/TestOrcFile.testDate1900.orc")
    ).slice(30_000, 5_000),
}
CSV_SETS = ["wine", "air", "firms"]


@dataclass(frozen=True, slots=True)
class Place:
    """A repository with a dataset for each set, and the digests of their rows."""

    repository: Path
    versions: Mapping[str, Version]
    digests: Mapping[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("readers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(root / "cache"))
        patch.setenv("DATAVER_AUTHOR", "Ada <ada@example.org>")
        repository = init(str(root / "repository"))
        versions, digests = {}, {}
        for name, load in SETS.items():
            table = load()
            write_parts(table, root / name)
            repository.commit(f"sets/{name}", root / name)
            versions[name] = repository.version(f"sets/{name}")
            digests[name] = rows_digest(table.to_pydict())
        assert len(set(digests.values())) == len(SETS)
        yield Place(root / "repository", versions, digests)


def write_parts(table: pyarrow.Table, root: Path) -> None:
    size = -(-table.num_rows // PARTS)
    for folder in ("parquet", "csv"):
        (root / folder).mkdir(parents=True)
    for number in range(PARTS):
        part = table.slice(number * size, size)
        pyarrow.parquet.write_table(part, root / "parquet" / f"part-{number}.parquet", row_group_size=100)
        if root.name in CSV_SETS:
            pyarrow.csv.write_csv(part, root / "csv" / f"part-{number}.csv")


@pytest.fixture
def here(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("DATAVER_REPO", str(place.repository))
    return place


# The digest


def rows_digest(columns: Columns) -> str:
    """One digest of all rows, in whatever order they come and whatever objects their values are."""
    names = sorted(columns)
    values = [map(canonical, columns[name]) for name in names]
    rows = sorted("\0".join(row) for row in zip(*values, strict=True))
    return blake3("\n".join([*names, *rows]).encode()).hexdigest()


def canonical(value: Any) -> str:
    """One spelling for equal values. What is missing has one, too: not all libraries tell null from NaN."""
    if (
        value is None
        or value is pandas.NaT
        or value is pandas.NA
        or (isinstance(value, float) and math.isnan(value))
    ):
        return "null"
    if hasattr(value, "as_py"):
        return canonical(value.as_py())
    if isinstance(value, datetime):
        nanoseconds = getattr(value, "nanosecond", 0)
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        since = moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
        seconds = since.days * 86_400 + since.seconds
        return f"time {seconds} {moment.microsecond * 1000 + nanoseconds}"
    if isinstance(value, date):
        return f"date {value.isoformat()}"
    if isinstance(value, Decimal):
        return f"decimal {value.normalize():f}"
    if isinstance(value, str):
        return f"text {value!r}"
    return f"number {float(value)!r}"


def test_the_digest_sees_every_change() -> None:
    table = SETS["firms"]()
    before = rows_digest(table.to_pydict())
    rows = table.to_pylist()
    assert rows_digest(pyarrow.Table.from_pylist(rows[::-1]).to_pydict()) == before
    for column, value in (("invest", 1.5), ("firm", "x"), ("year", None)):
        changed = [*rows[:7], {**rows[7], column: value}, *rows[8:]]
        assert rows_digest(pyarrow.Table.from_pylist(changed, table.schema).to_pydict()) != before
    assert rows_digest(table.slice(1).to_pydict()) != before
    assert rows_digest(pyarrow.concat_tables([table, table.slice(0, 1)]).to_pydict()) != before


# Readers: each gives the columns of a folder of tables


def frame(found: pandas.DataFrame) -> Columns:
    return {str(name): found[name] for name in found.columns}


def rows_of(found: polars.DataFrame) -> Columns:
    return found.to_dict(as_series=False)


def query(connection: duckdb.DuckDBPyConnection, text: str) -> Columns:
    return dict(connection.sql(text).to_arrow_table().to_pydict())


def url(version: Version, path: str) -> str:
    return f"dataver://{version.name}/{path}"


def pandas_of_files(version: Version, path: str) -> Columns:
    kind = pandas.read_csv if path == "csv" else pandas.read_parquet
    return frame(pandas.concat([kind(url(version, file.path)) for file in version.files(f"{path}/")]))


def duckdb_of_urls(version: Version, path: str) -> Columns:
    with duckdb.connect() as connection:
        connection.register_filesystem(fsspec.filesystem("dataver"))
        return query(connection, f"select * from '{url(version, path)}/*.{path}'")


def duckdb_of_a_version(version: Version, path: str) -> Columns:
    with duckdb.connect() as connection:
        view = version.to_duckdb(connection, "rows", path, format=path)
        assert view.columns == version.dataset(path, format=path).schema.names
        return query(connection, "select * from rows")


def duckdb_of_copies(version: Version, path: str) -> Columns:
    with duckdb.connect() as connection:
        return query(connection, f"select * from '{version.path(path)}/*.{path}'")


def polars_of_files(version: Version, path: str) -> Columns:
    read = polars.read_csv if path == "csv" else polars.read_parquet
    frames = []
    for file in version.files(f"{path}/"):
        with version.open(file.path) as opened:
            frames.append(read(opened))
    return rows_of(polars.concat(frames))


def polars_of_fsspec(version: Version, path: str) -> Columns:
    read = polars.read_csv if path == "csv" else polars.read_parquet
    files = fsspec.open_files(f"{url(version, path)}/*", "rb")
    frames = []
    for file in files:
        with file as opened:
            frames.append(read(opened))
    return rows_of(polars.concat(frames))


def dask(version: Version, path: str) -> Columns:
    from dask import dataframe

    read = dataframe.read_csv if path == "csv" else dataframe.read_parquet
    pattern = f"{url(version, path)}/*.{path}"
    return frame(read(pattern).compute(scheduler="threads"))


def hugging_face(version: Version, path: str) -> Columns:
    import datasets

    files = [url(version, file.path) for file in version.files(f"{path}/")]
    found = datasets.load_dataset(path, data_files={"train": files}, split="train", streaming=True)
    rows = [*found]
    return {name: [row[name] for row in rows] for name in rows[0]}


def arrow_of_fsspec(version: Version, path: str) -> Columns:
    tables = []
    for file in version.files(f"{path}/"):
        with fsspec.open(url(version, file.path)) as opened:
            read = pyarrow.csv.read_csv if path == "csv" else pyarrow.parquet.read_table
            tables.append(read(opened))
    return dict(pyarrow.concat_tables(tables).to_pydict())


def arrow_dataset(version: Version, path: str) -> Columns:
    system = fsspec.filesystem("dataver")
    found = pyarrow.dataset.dataset(f"{version.name}/{path}", filesystem=system, format=path)
    return dict(found.to_table().to_pydict())


def arrow_of_memory_maps(version: Version, path: str) -> Columns:
    read = pyarrow.csv.read_csv if path == "csv" else pyarrow.parquet.read_table
    tables = []
    for file in sorted(version.path(path).iterdir()):
        with pyarrow.memory_map(str(file)) as mapped:
            tables.append(read(mapped))
    return dict(pyarrow.concat_tables(tables).to_pydict())


def pandas_of_copies(version: Version, path: str) -> Columns:
    if path == "parquet":
        return frame(pandas.read_parquet(version.path(path)))
    return frame(pandas.concat([pandas.read_csv(file) for file in version.path(path).iterdir()]))


def polars_of_copies(version: Version, path: str) -> Columns:
    scan = polars.scan_csv if path == "csv" else polars.scan_parquet
    return rows_of(scan(version.path(path) / f"*.{path}").collect())


READERS: dict[str, Callable[[Version, str], Columns]] = {
    "pandas of URLs": pandas_of_files,
    "pandas of a version": lambda version, path: frame(version.to_pandas(path, format=path)),
    "pandas of copies": pandas_of_copies,
    "arrow table": lambda version, path: dict(version.to_arrow(path, format=path).to_pydict()),
    "arrow dataset": lambda version, path: dict(version.dataset(path, format=path).to_table().to_pydict()),
    "arrow dataset of the file system": arrow_dataset,
    "arrow of fsspec's files": arrow_of_fsspec,
    "arrow of memory maps": arrow_of_memory_maps,
    "duckdb of URLs": duckdb_of_urls,
    "duckdb of a version": duckdb_of_a_version,
    "duckdb of copies": duckdb_of_copies,
    "polars": lambda version, path: rows_of(version.to_polars(path, format=path)),
    "polars, lazy": lambda version, path: rows_of(version.to_polars(path, lazy=True, format=path).collect()),
    "polars of files": polars_of_files,
    "polars of fsspec's files": polars_of_fsspec,
    "polars of an arrow dataset": lambda version, path: rows_of(
        polars.scan_pyarrow_dataset(version.dataset(path, format=path)).collect()
    ),
    "polars of copies": polars_of_copies,
    "dask": dask,
    "hugging face": hugging_face,
}


@pytest.fixture(scope="module", autouse=True)
def hugging_face_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Its folders are the tests', and it asks no network: it reads that once, when it is imported."""
    home = tmp_path_factory.mktemp("hugging-face")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HOME", "HF_DATASETS_CACHE"):
            patch.setenv(name, str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import datasets  # noqa: F401
        yield


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_gives_the_same_rows(here: Place, reader: str, name: str) -> None:
    assert rows_digest(READERS[reader](here.versions[name], "parquet")) == here.digests[name]


@pytest.mark.parametrize("name", CSV_SETS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_csv_gives_the_same_rows(here: Place, reader: str, name: str) -> None:
    assert rows_digest(READERS[reader](here.versions[name], "csv")) == here.digests[name]
