"""How training code likes to read a version: tables, data frames, data sets, real paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from dataver.errors import PathNotFoundError
from dataver.paths import at_place
from dataver.progress import Progress
from dataver.tables.footer import PARQUET_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pandas
    import polars
    import pyarrow
    import pyarrow.dataset

    from dataver.loading.rows import TorchRows
    from dataver.loading.stream import TorchStream
    from dataver.parts import SplitView
    from dataver.tables.drift import DriftReport
    from dataver.tables.view import TableStatistics
    from dataver.version import Version

TABLE_SUFFIXES = {
    "parquet": PARQUET_SUFFIXES,
    "csv": (".csv",),
    "json": (".json", ".jsonl", ".ndjson"),
    "feather": (".feather", ".arrow", ".ipc"),
    "orc": (".orc",),
}


class VersionReaders:
    """The part of `Version` that gives tables to libraries; it delegates all."""

    @property
    def _version(self) -> Version:
        return cast("Version", self)

    def dataset(
        self,
        path: str = "",
        *,
        format: str = "parquet",  # noqa: A002 - pyarrow's name for it
        **options: Any,
    ) -> pyarrow.dataset.Dataset:
        """The tables at a path as one lazy dataset: the Parquet files, unless `format` says otherwise.

        A file, or a folder with all that is below it save names that begin with `.` or `_`, as
        pyarrow does it. `options` go to `pyarrow.dataset.dataset`.
        """
        tables = self._version.tables(path, TABLE_SUFFIXES.get(format, (f".{format}",)))
        if not tables:
            raise PathNotFoundError(f"{self._version.name} has no {format} files{at_place(path)}")
        return self.dataset_of(tables, path, format=format, **options)

    def dataset_of(
        self,
        tables: Sequence[str],
        path: str = "",
        *,
        format: str | pyarrow.dataset.FileFormat = "parquet",  # noqa: A002 - pyarrow's name for it
        **options: Any,
    ) -> pyarrow.dataset.Dataset:
        """The files `tables`, of those at a path, as one lazy dataset; for layers above."""
        from dataver.readers.datasets import dataset_of

        return dataset_of(self._version, tables, path, format, options)

    def to_arrow(
        self,
        path: str = "",
        *,
        columns: Sequence[str] | str | None = None,
        format: str = "parquet",  # noqa: A002 - pyarrow's name for it
        **options: Any,
    ) -> pyarrow.Table:
        """The tables at a path as one, in memory; only columns named are read. The rest as for `dataset`."""
        from dataver.readers.datasets import table_of

        return table_of(self._version, path, columns, format, options)

    def path(self, path: str = "") -> Path:
        """A local copy of a file or folder, for readers that want a real path: verified and read-only.

        It is in this user's cache folder, and stays there as long as this process, or one forked from it,
        lives; later it goes when `DATAVER_COPIES_MAX` is reached and others were used since. A folder is
        one of links to files that copies share. A file that is not as it was when it was compared is
        hashed again, and made anew where it differs. Symlinks are kept where they stay in the folder; one
        that leads to another file of the version becomes that file, any other is a `BadInputError`.
        """
        from dataver.readers.copies import local_copy

        return local_copy(self._version, path)

    def to_pandas(
        self,
        path: str = "",
        *,
        columns: Sequence[str] | str | None = None,
        format: str = "parquet",  # noqa: A002 - pyarrow's name for it
        **options: Any,
    ) -> pandas.DataFrame:
        """The tables at a path as a data frame; only the columns named are read.

        `format` as for `dataset`; `options` go to `pyarrow.Table.to_pandas`.
        """
        from dataver.readers.frames import to_pandas

        return to_pandas(self._version, path, columns, format, options)

    @overload
    def to_polars(
        self,
        path: str = ...,
        *,
        lazy: Literal[False] = ...,
        columns: Sequence[str] | str | None = ...,
        format: str = ...,
    ) -> polars.DataFrame: ...

    @overload
    def to_polars(
        self,
        path: str = ...,
        *,
        lazy: Literal[True],
        columns: Sequence[str] | str | None = ...,
        format: str = ...,
    ) -> polars.LazyFrame: ...

    def to_polars(
        self,
        path: str = "",
        *,
        lazy: bool = False,
        columns: Sequence[str] | str | None = None,
        format: str = "parquet",  # noqa: A002 - pyarrow's name for it
    ) -> polars.DataFrame | polars.LazyFrame:
        """The tables at a path as a data frame, or as a lazy one.

        A lazy one of Parquet files scans local copies of them, as `path` gives them, so that Polars reads
        the columns and row groups that a query needs, in its own threads; of other formats it scans
        `dataset`. `format` as for `dataset`.
        """
        from dataver.readers.frames import to_polars

        return to_polars(self._version, path, lazy, columns, format)

    def to_duckdb(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        path: str = "",
        *,
        format: str = "parquet",  # noqa: A002 - pyarrow's name for it
    ) -> duckdb.DuckDBPyRelation:
        """Make the tables at a path a view called `name` of this connection, and give it.

        A query reads the columns and row groups that it needs. The view lasts as long as the connection.
        `format` as for `dataset`.
        """
        from dataver.readers.frames import to_duckdb

        return to_duckdb(self._version, connection, name, path, format)

    @overload
    def to_torch(
        self, path: str = ..., *, iterable: Literal[False] = ..., format: str = ..., **options: Any
    ) -> TorchRows: ...

    @overload
    def to_torch(
        self, path: str = ..., *, iterable: Literal[True], format: str = ..., **options: Any
    ) -> TorchStream: ...

    def to_torch(
        self,
        path: str = "",
        *,
        iterable: bool = False,
        format: str = "parquet",  # noqa: A002 - as for `dataset`
        **options: Any,
    ) -> TorchRows | TorchStream:
        """The rows of the tables at a path, or its files, as a data set for PyTorch's `DataLoader`.

        By number, or with `iterable` one after the other: see `TorchRows` and `TorchStream`, and
        `RowOptions` and `StreamOptions` for the options of each. Others are those of `dataset`. With the
        format `files` a sample is a file, any that matches the globs of `include` and none of `exclude`.
        `MissingExtraError` without PyTorch, `BadInputError` for columns that tensors cannot hold.
        """
        from dataver.loading.make import of_version

        return of_version(self._version, path, format, iterable, options)

    def schema(self, path: str = "") -> pyarrow.Schema:
        """The schema of the Parquet files at a path, from their footers; they must agree."""
        from dataver.tabular import schema

        return schema(self._version, path)

    def num_rows(self, path: str = "") -> int:
        """How many rows the Parquet files at a path have together, from their footers."""
        from dataver.tabular import footers

        return sum(footer.rows for _, footer in footers(self._version, path))

    def stats(self, path: str = "") -> TableStatistics:
        """What the Parquet files at a path hold, of one schema, as one table: see `TableStatistics`.

        What is neither in the repository nor in this machine's cache is computed, which reads the
        file, and kept in the cache. `BadInputError` for files that are no tables or do not agree.
        """
        from dataver.tabular import statistics

        return statistics(self._version, path)

    def drift(
        self,
        other: Version | SplitView,
        path: str = "",
        *,
        columns: Sequence[str] | str | None = None,
        metrics: Sequence[str] | str = "auto",
        thresholds: Mapping[str, float] | float | None = None,
        exact: bool = False,
        compute: bool = True,
        progress: Progress | None = None,
    ) -> DriftReport:
        """How far the columns of the tables of `other` moved away from those of this version, the baseline.

        From statistics, as `stats` has them; each figure says what it can be off by. `exact` reads the rows
        instead, as is done for a part of a version. `metrics` are `auto`, `wasserstein`, `js`, `psi`, `ks`,
        `chi2`; `thresholds` are by metric, and `missing`, or one number for all distances. `columns` are
        leaf columns, or what such are in. Without `compute`, statistics that are not at hand are a
        `BadInputError`.
        """
        from dataver.drift import between

        return between(
            self._version, other, path, columns=columns, metrics=metrics, thresholds=thresholds,
            exact=exact, compute=compute, progress=progress,
        )  # fmt: skip
