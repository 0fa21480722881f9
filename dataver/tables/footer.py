"""Schema and row count of a Parquet file, from its footer alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from dataver.chunking.parquet_footer import MalformedFooterError, column_extents

FOOTER_BYTES_MAX = 8 << 20
STRUCTURE_ITEMS_MAX = 1_000_000
_MAGIC = b"PAR1"
_TRAILER_BYTES = 8


@dataclass(frozen=True, slots=True)
class TableFooter:
    """What a Parquet file's footer says: its rows, and its columns as (name, Arrow type)."""

    rows: int
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TableChange:
    """How a table changed; `rows` is before and after, `retyped` (column, type before, type after)."""

    path: str
    rows: tuple[int, int]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    retyped: tuple[tuple[str, str, str], ...]

    def to_json(self) -> dict[str, object]:
        """`{"path", "rows": [before, after], "columns": {"added", "dropped", "retyped"}}`."""
        return {
            "path": self.path,
            "rows": list(self.rows),
            "columns": {
                "added": list(self.added),
                "dropped": list(self.dropped),
                "retyped": [list(change) for change in self.retyped],
            },
        }


def read_footer(file: BinaryIO) -> TableFooter | None:
    """What the footer says, or None for a file that is not Parquet or is malformed.

    Reads the footer only. A footer of a stranger may claim more than it holds, and pyarrow takes
    hundreds of megabytes for such a one: so a bounded reader goes over it first.
    """
    size = file.seek(0, io.SEEK_END)
    if size < 2 * len(_MAGIC) + _TRAILER_BYTES:
        return None
    file.seek(size - _TRAILER_BYTES)
    trailer = file.read(_TRAILER_BYTES)
    length = int.from_bytes(trailer[:4], "little")
    if trailer[4:] != _MAGIC or length > min(FOOTER_BYTES_MAX, size - _TRAILER_BYTES):
        return None
    file.seek(size - _TRAILER_BYTES - length)
    footer = file.read(length)
    try:
        column_extents(footer)
    except MalformedFooterError:
        return None
    return _parse(_MAGIC + footer + trailer)


def _parse(data: bytes) -> TableFooter | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.ParquetFile(
            pa.BufferReader(data),
            thrift_string_size_limit=FOOTER_BYTES_MAX,
            thrift_container_size_limit=STRUCTURE_ITEMS_MAX,
        ).metadata
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError):
        return None
    return TableFooter(metadata.num_rows, tuple((field.name, str(field.type)) for field in schema))


def compare_footers(path: str, old: TableFooter, new: TableFooter) -> TableChange:
    """What differs between two tables' footers."""
    before, after = dict(old.columns), dict(new.columns)
    return TableChange(
        path,
        (old.rows, new.rows),
        tuple(name for name in after if name not in before),
        tuple(name for name in before if name not in after),
        tuple(
            (name, kind, after[name])
            for name, kind in before.items()
            if name in after and after[name] != kind
        ),
    )
