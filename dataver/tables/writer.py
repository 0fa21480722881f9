"""Parquet files whose next version shares most of its bytes: pages end where their contents say so.

A writer that starts a page after so many rows moves all later pages when a row goes, and every byte
of them with it. One that ends pages by what is in them finds its feet again, and the chunks that a
repository stores are then known already. pyarrow does that from release 21 on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dataver.errors import BadInputError, DataverError, EnvironmentFaultError
from dataver.replacing import replacing
from dataver.store.clients import file_system, public_url
from dataver.store.failures import from_client_error
from dataver.tables.batches import Rows, rows_of
from dataver.tables.encodings import encodings_for
from dataver.values import dataclass

if TYPE_CHECKING:
    import pyarrow as pa

PAGE_BYTES_MIN = 48 << 10
PAGE_BYTES_MAX = 192 << 10
"""Between these a page ends by its contents, counted before it is encoded and compressed. A change
costs what is left of its page; smaller pages make files larger and slower to read."""
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 3
GROUP_ROWS_MAX = 1 << 20
GROUP_BYTES = 128 << 20
"""A row group holds so many bytes of Arrow data or somewhat fewer. What is written is held that long."""
SAMPLE_ROWS = 1 << 16
PYARROW_MIN = 21
ENCODING_OPTIONS = frozenset({"use_dictionary", "column_encoding", "use_byte_stream_split"})
"""Who gives one of these chooses for all columns."""
LAYOUT_OPTIONS = ("version", "flavor", "use_deprecated_int96_timestamps", "use_compliant_nested_type")
"""What decides as which types columns are stored, and under which names."""


@dataclass(frozen=True, slots=True)
class ParquetWritten:
    """What `write_parquet` wrote."""

    rows: int
    row_groups: int
    size_bytes: int


def write_parquet(
    data: Any,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    compression: str = COMPRESSION,
    compression_level: int | None = None,
    byte_stream_split: bool = False,
    row_group_rows: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> ParquetWritten:
    """Write rows as a Parquet file of which a later version shares most bytes, wherever rows changed.

    `data` is a table, record batch reader, dataset or scanner of pyarrow, a data frame of pandas or
    Polars, a part of a version (`version.split("train")`), or anything else with an Arrow stream.
    Readers and datasets are streamed: one row group is held, `row_group_rows` of at most 1,048,576 rows or
    by default about 128 MiB, and some batches.

    `target` is a path, an fsspec URL or a binary file that is open for writing. A path gets the whole
    file or stays as it was, keeps its mode, and a symlink stays one; so does a URL, to which a
    finished temporary file is copied. An open file is written from where it stands, and stays open.

    Columns with few different values in the first 65,536 rows get dictionaries, others none.
    `byte_stream_split` stores numbers among the others byte by byte, which makes them smaller; Spark does
    not read it. `options` go to `pyarrow.parquet.ParquetWriter`, and come before what is chosen here. The
    same rows give the same bytes, as long as pyarrow is the same.

    `EnvironmentFaultError` where pyarrow is older than 21, `BadInputError` for what Parquet cannot hold.
    """
    require_pyarrow()
    rows = rows_of(data)
    if row_group_rows is not None and not 1 <= row_group_rows <= GROUP_ROWS_MAX:
        raise BadInputError(f"a row group has 1 to {GROUP_ROWS_MAX:,} rows, not {row_group_rows:,}")
    if compression != COMPRESSION or compression_level is not None:
        options = {"compression": compression, "compression_level": compression_level, **options}

    def write(file: BinaryIO) -> ParquetWritten:
        return write_rows(
            rows, file, group_rows=row_group_rows, byte_stream_split=byte_stream_split, **options
        )

    if not isinstance(target, str | os.PathLike):
        return write(target)
    place = os.fspath(target)
    if "://" in place or "::" in place:
        return _written_to_url(place, storage_options or {}, write)
    if storage_options:
        raise BadInputError(f"storage options are for URLs, and {place!r} is a path")
    with replacing(place) as file:
        return write(file)


def require_pyarrow(found: str | None = None) -> None:
    """`EnvironmentFaultError` where pyarrow, or the release `found`, has no content-defined pages."""
    if found is None:
        import pyarrow as pa

        found = str(pa.__version__)
    if int(found.partition(".")[0]) < PYARROW_MIN:
        raise EnvironmentFaultError(
            f"pyarrow {found} writes no content-defined pages; pyarrow {PYARROW_MIN} or newer does: "
            f"pip install 'pyarrow>={PYARROW_MIN}'"
        )


def write_rows(
    rows: Rows,
    file: BinaryIO,
    *,
    group_rows: int | None = None,
    byte_stream_split: bool = False,
    **options: Any,
) -> ParquetWritten:
    """`write_parquet` to an open file. `options` are those of `pyarrow.parquet.ParquetWriter`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    settings: dict[str, Any] = {
        "compression": COMPRESSION,
        "compression_level": COMPRESSION_LEVEL,
        "use_content_defined_chunking": {
            "min_chunk_size": PAGE_BYTES_MIN,
            "max_chunk_size": PAGE_BYTES_MAX,
            "norm_level": 0,
        },
    }
    count = groups = 0
    counted = _Counted(file)
    try:
        first, batches = _sampled(rows.batches)
        sample = pa.Table.from_batches(first, rows.schema)
        if not ENCODING_OPTIONS.intersection(options):
            layout = {name: options[name] for name in LAYOUT_OPTIONS if name in options}
            settings |= encodings_for(sample, byte_stream_split=byte_stream_split, **layout)
        limit = group_rows or _group_rows(sample)
        target = pa.PythonFile(counted, mode="w")
        with pq.ParquetWriter(target, rows.schema, **{**settings, **options}) as writer:
            for group in _groups(batches, rows.schema, limit):
                writer.write_table(group, row_group_size=GROUP_ROWS_MAX)
                count += group.num_rows
                groups += 1
    except (pa.ArrowException, NotImplementedError, TypeError) as error:
        raise BadInputError(f"these rows cannot be written as Parquet: {error}") from error
    return ParquetWritten(count, groups, counted.size_bytes)


def _sampled(batches: Iterator[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """The first `SAMPLE_ROWS` rows or all that there are, and all rows."""
    first: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        first.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLE_ROWS:
            break
    sample = [batch.slice(0, SAMPLE_ROWS) for batch in first]
    return sample, chain(first, batches)


def _group_rows(sample: pa.Table) -> int:
    """How many rows a row group has: a power of two, so that rows that become a little wider change nothing.

    With other bounds each later row group has other dictionaries.
    """
    width = sample.nbytes / max(sample.num_rows, 1)
    fitting = max(1, int(GROUP_BYTES / max(width, 1)))
    return min(GROUP_ROWS_MAX, 1 << (fitting.bit_length() - 1))


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows_max: int) -> Iterator[pa.Table]:
    """The rows as row groups; one is closed before its time where its rows are far wider than the first."""
    import pyarrow as pa

    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, rows_max - rows)
            batch = batch.slice(part.num_rows)
            pending.append(part)
            rows += part.num_rows
            size += part.nbytes
            if rows == rows_max or size > 2 * GROUP_BYTES:
                yield pa.Table.from_batches(pending, schema)
                pending, rows, size = [], 0, 0
    if pending:
        yield pa.Table.from_batches(pending, schema)


class _Counted:
    """A binary file that is written to, which pyarrow asks where it stands and must not close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size_bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.size_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _written_to_url(
    url: str, storage_options: Mapping[str, Any], write: Callable[[BinaryIO], ParquetWritten]
) -> ParquetWritten:
    """Write a temporary file and put it: no store of fsspec promises that half an upload stays unseen."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="dataver-", suffix=".parquet") as file:
        done = write(cast(BinaryIO, file))
        file.flush()
        try:
            fs, path = file_system(url, storage_options)
            fs.put_file(file.name, path)
        except DataverError:  # of `dataver://`, which says itself that nothing can be written there
            raise
        except Exception as error:  # noqa: BLE001 - each client has errors of its own
            raise from_client_error(error, "write", public_url(url)) from None
    return done
