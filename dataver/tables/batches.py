"""Whatever holds rows, as one schema and batches in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError
from dataver.values import NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1 << 16
READ_AHEAD = 2
"""So many batches, of so many files, does a dataset read before they are asked for."""


class Rows(NamedTuple):
    """Rows as they come. `batches` can be gone through once."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def rows_of(data: Any) -> Rows:
    """The rows of tables, readers, datasets, scanners and record batches of pyarrow, data frames of
    pandas and Polars, parts of versions, and whatever else exports an Arrow stream.

    Streams and datasets are read batch by batch. `BadInputError` for what holds no rows.
    """
    import pyarrow as pa

    try:
        return _rows_of(data)
    except pa.ArrowException as error:
        raise BadInputError(f"these rows cannot be brought into columns: {error}") from error


def _rows_of(data: Any) -> Rows:
    import pyarrow as pa
    import pyarrow.dataset as ds

    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return Rows(data.schema, iter(data.to_batches(BATCH_ROWS)))
    if isinstance(data, pa.RecordBatchReader):
        return Rows(data.schema, _stream(data))
    if isinstance(data, ds.Dataset):
        data = data.scanner(batch_size=BATCH_ROWS, batch_readahead=READ_AHEAD, fragment_readahead=READ_AHEAD)
    if isinstance(data, ds.Scanner):
        return Rows(data.projected_schema, data.to_batches())
    kind = type(data).__module__.partition(".")[0]
    if kind == "pandas" and type(data).__name__ == "DataFrame":
        # Unlike the Arrow stream of a frame this keeps its index and notes how to make it again.
        return _rows_of(pa.Table.from_pandas(data))
    if kind == "polars" and type(data).__name__ == "DataFrame":
        return _rows_of(data.to_arrow(compat_level=_oldest()))
    if hasattr(data, "__arrow_c_stream__"):
        return _rows_of(pa.RecordBatchReader.from_stream(data))
    if hasattr(data, "to_batches") and isinstance(data.schema, pa.Schema):
        return Rows(data.schema, iter(data.to_batches()))
    raise BadInputError(
        f"{type(data).__module__}.{type(data).__qualname__} holds no rows that can be written: a table, "
        "record batch reader or dataset of pyarrow, a data frame of pandas or Polars, a part of a version or "
        "another object with an Arrow stream is expected"
    )


def _stream(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    yield from reader


def _oldest() -> Any:
    """Texts as Arrow had them first, which every reader of Parquet knows."""
    import polars

    return polars.CompatLevel.oldest()
