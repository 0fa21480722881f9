"""Parquet files written once more with content-defined pages: the same rows in fewer, steadier bytes."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from dataver.errors import BadInputError, DataverError, PathNotFoundError, WouldOverwriteError
from dataver.progress import Progress, Silent
from dataver.replacing import replacing
from dataver.tables.batches import BATCH_ROWS, Rows
from dataver.tables.footer import NoTableError, OpenTable, first_line, open_table
from dataver.tables.same_rows import first_difference
from dataver.tables.writer import require_pyarrow, write_rows
from dataver.values import dataclass

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 32 << 20
BUFFER_BYTES = 1 << 20

REWRITTEN, SAME, LEFT = "rewritten", "same", "left"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of one file.

    `status`: `rewritten`; `same` where the new bytes are the old ones; `left` for `reason`. In a dry run
    `rewritten` is what would be, and `new_bytes` is 0.
    """

    path: str
    status: str
    rows: int = 0
    old_bytes: int = 0
    new_bytes: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """`{"path", "status", "rows", "old_bytes", "new_bytes", "reason"}`."""
        return {
            "path": self.path,
            "status": self.status,
            "rows": self.rows,
            "old_bytes": self.old_bytes,
            "new_bytes": self.new_bytes,
            "reason": self.reason,
        }


class _LeftError(Exception):
    """A file stays as it is; the message says why. Goes no further than `_rewrite`."""


class _SameError(Exception):
    """The new file is the old one. Goes no further than `_rewrite`."""


def rewrite_parquet(
    source: str,
    target: str | None,
    *,
    byte_stream_split: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Iterator[Rewritten]:
    """Rewrite a Parquet file, or all below a folder, and tell of each file when it is done.

    `target` is the new file or folder; None replaces the files where they are. A new file takes its
    place when its schema, its metadata and all its rows in their order were read back and found equal,
    and has the mode of the old one. What is no Parquet file is left, as are symlinks and what begins with
    a dot in a folder; what cannot be kept exactly is left too.

    `PathNotFoundError`, `BadInputError` and `WouldOverwriteError` come before anything is written.
    """
    require_pyarrow()
    progress = progress or Silent()
    pairs = list(_pairs(source, target))
    if target is not None:
        _check_targets(source, target, [new for _, new in pairs])
    progress.begin("rewriting", len(pairs), sum(os.lstat(old).st_size for old, _ in pairs))
    try:
        for old, new in pairs:
            size = os.lstat(old).st_size
            if old != source and os.path.islink(old):
                yield Rewritten(old, LEFT, reason="it is a symlink")
            else:
                yield _rewrite(old, new, byte_stream_split=byte_stream_split, dry_run=dry_run)
            progress.advance(1, size)
    finally:
        progress.end()


def _pairs(source: str, target: str | None) -> Iterator[tuple[str, str]]:
    """Each file with where its new form goes, by path."""
    if os.path.isfile(source):
        yield source, target or source
        return
    if not os.path.isdir(source):
        raise PathNotFoundError(f"there is no file or folder {source!r}")
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = os.path.join(folder, name)
            below = os.path.relpath(path, source)
            yield path, path if target is None else os.path.join(target, below)


def _check_targets(source: str, target: str, files: list[str]) -> None:
    old, new = os.path.realpath(source), os.path.realpath(target)
    if new == old or new.startswith(f"{old}/"):
        raise BadInputError(f"{target} is or is in {source}; --in-place replaces files where they are")
    if os.path.isfile(source) and os.path.isdir(target):
        raise BadInputError(f"{target} is a folder and {source} a file; name the new file")
    there = next((path for path in files if os.path.lexists(path)), None)
    if there is not None:
        raise WouldOverwriteError(f"{there} is there already; name another target, or delete it")


def _rewrite(old: str, new: str, *, byte_stream_split: bool, dry_run: bool) -> Rewritten:
    in_place = old == new
    rows = size = 0
    try:
        with _opened(old) as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            table = open_table(file, buffer_size=BUFFER_BYTES)
            rows = table.rows
            if table.encrypted:
                raise _LeftError("some of its columns are encrypted")
            if dry_run:
                return Rewritten(old, REWRITTEN, rows, size)
            os.makedirs(os.path.dirname(new) or ".", exist_ok=True)
            with replacing(new) as made:
                os.fchmod(made.fileno(), stat.S_IMODE(before.st_mode))
                new_bytes = _write(table, made, byte_stream_split=byte_stream_split)
                if in_place and filecmp.cmp(old, made.name, shallow=False):
                    raise _SameError
                _prove(table, made.name)
                now = os.stat(old)
                if (now.st_ino, now.st_size, now.st_mtime_ns) != (
                    before.st_ino, before.st_size, before.st_mtime_ns,
                ):  # fmt: skip
                    raise _LeftError("it changed while it was read")
                with suppress(PermissionError):
                    os.fchown(made.fileno(), before.st_uid, before.st_gid)
    except _SameError:
        return Rewritten(old, SAME, rows, size, size)
    except (_LeftError, NoTableError) as error:
        return Rewritten(old, LEFT, rows, size, size, str(error))
    return Rewritten(old, REWRITTEN, rows, size, new_bytes)


def _opened(path: str) -> BinaryIO:
    """A file to read; a pipe, which waits for its other end when it is opened, is none."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise _LeftError("it is no regular file")
    return open(path, "rb")


def _write(table: OpenTable, file: BinaryIO, *, byte_stream_split: bool) -> int:
    import pyarrow as pa

    rows = Rows(table.parquet.schema_arrow, batches_of(table))
    try:
        written = write_rows(rows, file, byte_stream_split=byte_stream_split, **_like(table))
        file.flush()
    except BadInputError as error:
        raise _LeftError(str(error)) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, DataverError) or getattr(error, "errno", None) is not None:
            raise
        raise _LeftError(f"it cannot be read: {first_line(error)}") from error
    return written.size_bytes


def batches_of(table: OpenTable) -> Iterator[pa.RecordBatch]:
    """All rows in order, in batches of bounded size."""
    plain = sum(column.plain_bytes for group in table.groups for column in group.columns)
    rows = BATCH_BYTES * max(table.rows, 1) // max(plain, 1)
    yield from table.parquet.iter_batches(batch_size=max(1, min(BATCH_ROWS, rows)))


def _like(table: OpenTable) -> dict[str, Any]:
    """Options that make a file as this one is, where writers differ."""
    metadata = table.parquet.metadata
    leaves = [table.parquet.schema.column(number) for number in range(len(table.parquet.schema))]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    orders = {group.sorting_columns for group in groups}
    columns = [group.column(number) for group in groups[:1] for number in range(group.num_columns)]
    return {
        "version": metadata.format_version if metadata.format_version in ("1.0", "2.4") else "2.6",
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
        "use_deprecated_int96_timestamps": any(leaf.physical_type == "INT96" for leaf in leaves),
        "use_compliant_nested_type": not any(".list.item" in leaf.path for leaf in leaves),
        "write_page_index": any(column.has_offset_index for column in columns),
        "sorting_columns": orders.pop() or None if len(orders) == 1 else None,
    }


def _prove(old: OpenTable, path: str) -> None:
    """Compare all that the old file says and holds with the new one."""
    with open(path, "rb") as file:
        new = open_table(file, buffer_size=BUFFER_BYTES)
        if _leaves(old) != _leaves(new):
            raise _LeftError("its columns would be stored as other types")
        if not old.parquet.schema_arrow.equals(new.parquet.schema_arrow, check_metadata=True):
            raise _LeftError("its schema would not be the same")
        if _notes(old) != _notes(new):
            raise _LeftError("its metadata would not be the same")
        difference = first_difference(batches_of(old), batches_of(new))
        if difference is not None:
            raise _LeftError(f"its rows would not be the same: {difference}")


def _leaves(table: OpenTable) -> list[tuple[Any, ...]]:
    schema = table.parquet.schema
    columns = [schema.column(number) for number in range(len(schema))]
    return [
        (c.path, c.physical_type, c.length, c.max_definition_level, c.max_repetition_level) for c in columns
    ]


def _notes(table: OpenTable) -> dict[bytes, bytes]:
    notes = dict(table.parquet.metadata.metadata or {})
    notes.pop(b"ARROW:schema", None)  # compared as the schema that it makes
    return notes
