"""The tables of a version as one lazy dataset of pyarrow, or as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataver.row_tables import columns_of, readable
from dataver.store.cached import CachedStore

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.dataset

    from dataver.version import Version

AHEAD_BYTES_MAX = 64 << 20
"""Of a file that is far away and no larger, pyarrow asks for all that a scan needs before it begins."""


def dataset_of(
    version: Version,
    tables: Sequence[str],
    path: str,
    kind: str | pyarrow.dataset.FileFormat,
    options: Mapping[str, Any],
) -> pyarrow.dataset.Dataset:
    """See `Version.dataset_of`."""
    import fsspec
    import pyarrow.dataset
    import pyarrow.fs

    system = fsspec.get_filesystem_class("dataver").of(version)
    root = f"{version.dataset_name}@{version.id}"
    base = f"{root}/{path.rstrip('/')}".rstrip("/")
    if kind == "parquet" and not _ahead(version, tables):
        # Else pyarrow holds what it read of a file until the last row group of it was scanned.
        scan = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False)
        kind = pyarrow.dataset.ParquetFileFormat(default_fragment_scan_options=scan)
    with readable(version):
        return pyarrow.dataset.dataset(
            [f"{root}/{table}" for table in tables],
            filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system)),
            format=kind,
            **{"partition_base_dir": base, **options},
        )


def table_of(
    version: Version,
    path: str,
    columns: Sequence[str] | str | None,
    kind: str,
    options: Mapping[str, Any],
) -> pyarrow.Table:
    """See `Version.to_arrow`."""
    with readable(version):
        tables = version.dataset(path, format=kind, **options)
        return tables.to_table(columns=columns_of(columns, tables.schema.names))


def _ahead(version: Version, tables: Sequence[str]) -> bool:
    """Whether requests, of which neighbouring columns then take one, weigh more than memory."""
    far = isinstance(version.repository.session.store, CachedStore)
    return far and all(version.entry(table).size <= AHEAD_BYTES_MAX for table in tables)
