"""Schema and row count of a Parquet file, from its footer alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from dataver.chunking.parquet_footer import MalformedFooterError, RowGroup, row_groups
from dataver.errors import BadInputError, DataverError
from dataver.values import NamedTuple, dataclass

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET_SUFFIXES = (".parquet", ".pq", ".parq")
FOOTER_BYTES_MAX = 8 << 20
STRUCTURE_ITEMS_MAX = 1_000_000
_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_TRAILER_BYTES = 8


class NoTableError(BadInputError):
    """These bytes are no Parquet file that can be read; the message says why, as in "it is truncated"."""


@dataclass(frozen=True, slots=True)
class TableFooter:
    """What a Parquet file's footer says: its rows, and its columns as (name, Arrow type)."""

    rows: int
    columns: tuple[tuple[str, str], ...]


def read_footer(file: BinaryIO) -> TableFooter | None:
    """What the footer says, or None for a file that is not Parquet or is malformed."""
    try:
        table = open_table(file)
    except NoTableError:
        return None
    return footer_of(table)


class OpenTable(NamedTuple):
    """A Parquet file that is open: for pyarrow to read, and its row groups as they are laid out."""

    parquet: pq.ParquetFile
    groups: list[RowGroup]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.parquet.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """Its schema, without what its writer noted beside it, which differs from file to file."""
        return self.parquet.schema_arrow.remove_metadata()

    @property
    def encrypted(self) -> bool:
        """Whether some of its data are encrypted, or not described, though the footer can be read."""
        return any(column.encrypted for group in self.groups for column in group.columns)


def footer_of(table: OpenTable) -> TableFooter:
    """What the footer of an open file says."""
    return TableFooter(table.rows, tuple((field.name, str(field.type)) for field in table.schema))


def open_table(file: BinaryIO, **options: Any) -> OpenTable:
    """Open a Parquet file, reading its footer only; `options` are those of `pyarrow.parquet.ParquetFile`.

    With a `buffer_size`, columns are read so many bytes at a time, whatever the size of row groups; without,
    all ranges that are wanted are read before, which suits a file that is far away.

    A footer of a stranger may claim more than it holds, and pyarrow takes hundreds of megabytes for
    such a one: so a bounded reader goes over it first. `NoTableError` for what cannot be read.
    """
    footer = _footer(file)
    try:
        groups = row_groups(footer)
    except MalformedFooterError as error:
        raise NoTableError("its footer is malformed") from error
    metadata = _metadata(footer)
    # Else pyarrow holds all bytes of the columns of all row groups until the last one was read.
    options.setdefault("pre_buffer", not options.get("buffer_size"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = OpenTable(pq.ParquetFile(file, metadata=metadata, **options), groups)
        _ = table.schema
    except DataverError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NoTableError(f"its footer is malformed: {first_line(error)}") from error
    if metadata.num_row_groups != len(groups):
        raise NoTableError("its footer is malformed")
    return table


def _footer(file: BinaryIO) -> bytes:
    """The bytes of the footer, before its length and the magic at the end."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(len(_MAGIC))
    if head not in (_MAGIC, _ENCRYPTED):
        raise NoTableError("it is not Parquet")
    if size < 2 * len(_MAGIC) + _TRAILER_BYTES:
        raise NoTableError("it is truncated")
    file.seek(size - _TRAILER_BYTES)
    trailer = file.read(_TRAILER_BYTES)
    if trailer[4:] == _ENCRYPTED:
        raise NoTableError("it is encrypted")
    if trailer[4:] != _MAGIC:
        raise NoTableError("it is truncated")
    length = int.from_bytes(trailer[:4], "little")
    if length > size - _TRAILER_BYTES - len(_MAGIC):
        raise NoTableError("its footer is malformed")
    if length > FOOTER_BYTES_MAX:
        raise NoTableError(f"its footer has {length:,} bytes, and {FOOTER_BYTES_MAX:,} are the most")
    file.seek(size - _TRAILER_BYTES - length)
    return file.read(length)


def _metadata(footer: bytes) -> pq.FileMetaData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(
            pa.BufferReader(_MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC),
            thrift_string_size_limit=FOOTER_BYTES_MAX,
            thrift_container_size_limit=STRUCTURE_ITEMS_MAX,
        ).metadata
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NoTableError(f"its footer is malformed: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of what a foreign library says, not too long."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
