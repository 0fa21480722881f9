"""The tables of a version, or of a part of its rows, in pandas, Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataver.errors import PathNotFoundError
from dataver.paths import at_place
from dataver.readers import extras
from dataver.readers.copies import local_files
from dataver.readers.datasets import table_of
from dataver.row_tables import readable
from dataver.version_readers import TABLE_SUFFIXES

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow
    import pyarrow.dataset

    from dataver.parts import SplitView
    from dataver.version import Version


def to_pandas(
    version: Version, path: str, columns: Sequence[str] | str | None, kind: str, options: Mapping[str, Any]
) -> pandas.DataFrame:
    """See `Version.to_pandas`."""
    extras.need("pandas", "a data frame of pandas")
    return table_of(version, path, columns, kind, {}).to_pandas(**options)


def to_polars(
    version: Version, path: str, lazy: bool, columns: Sequence[str] | str | None, kind: str
) -> polars.DataFrame | polars.LazyFrame:
    """See `Version.to_polars`."""
    extras.need("polars", "a data frame of Polars")
    import polars

    if not lazy:
        return polars.DataFrame(table_of(version, path, columns, kind, {}))
    if kind == "parquet":
        scan = polars.scan_parquet(
            _local_tables(version, path, kind),
            glob=False,  # A name is no pattern.
            hive_partitioning=False,
            missing_columns="insert",  # What a file lacks of the first one's columns is null, and what it
            extra_columns="ignore",  # has beside them is left out, as pyarrow does it.
        )
    else:
        with readable(version):
            scan = polars.scan_pyarrow_dataset(_dataset(version, path, kind))
    return scan if columns is None else scan.select(columns)


def to_duckdb(
    version: Version, connection: duckdb.DuckDBPyConnection, name: str, path: str, kind: str
) -> duckdb.DuckDBPyRelation:
    """See `Version.to_duckdb`."""
    with readable(version):
        connection.register(name, _dataset(version, path, kind))
    return connection.view(name)


def _dataset(version: Version, path: str, kind: str) -> pyarrow.dataset.Dataset:
    """The tables at a path, to be read as a stream.

    JSON is read from local copies: pyarrow begins a stream of it with the interpreter's lock held, so that
    a file of Python's waits for ever.
    """
    if kind != "json":
        return version.dataset(path, format=kind)
    import pyarrow.dataset

    return pyarrow.dataset.dataset(_local_tables(version, path, kind), format=kind)


def _local_tables(version: Version, path: str, kind: str) -> list[str]:
    tables = version.tables(path, TABLE_SUFFIXES[kind])
    if not tables:
        raise PathNotFoundError(f"{version.name} has no {kind} files{at_place(path)}")
    return [str(file) for file in local_files(version, path, tables)]


# Parts


def part_to_polars(
    view: SplitView, columns: Sequence[str] | str | None, lazy: bool
) -> polars.DataFrame | polars.LazyFrame:
    """See `SplitView.to_polars`."""
    extras.need("polars", "a data frame of Polars")
    import polars

    if not lazy:
        return polars.DataFrame(view.to_arrow(columns))
    from polars.io.plugins import register_io_source

    def batches(
        with_columns: list[str] | None, predicate: Any, rows: int | None, _: int | None
    ) -> Iterator[polars.DataFrame]:
        left = rows
        needed = with_columns
        if with_columns is not None and predicate is not None:
            needed = list(dict.fromkeys([*with_columns, *predicate.meta.root_names()]))
        for batch in view.to_batches(needed):
            frame = polars.DataFrame(batch)
            if predicate is not None:
                frame = frame.filter(predicate)
            if with_columns is not None:
                frame = frame.select(with_columns)
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame
            if left == 0:
                return

    schema = polars.DataFrame(view.schema.empty_table()).schema
    scan = register_io_source(batches, schema=schema)
    return scan if columns is None else scan.select(columns)


def part_to_duckdb(
    view: SplitView, connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str] | str | None
) -> duckdb.DuckDBPyRelation:
    """See `SplitView.to_duckdb`."""
    connection.register(name, view.to_arrow(columns))
    return connection.view(name)
