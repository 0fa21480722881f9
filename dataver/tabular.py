"""The tables of a version: their schemas, what they hold, and which rows differ from another version's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dataver.config import default_jobs
from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    ErasedError,
    NewerFormatError,
    ObjectMissingError,
    PathNotFoundError,
)
from dataver.format.table_statistics import FileStatistics, decode, statistics_key
from dataver.paths import at_place, safe_spelling
from dataver.reading import file_rows
from dataver.tables import cache
from dataver.tables.footer import (
    PARQUET_SUFFIXES,
    NoTableError,
    OpenTable,
    TableFooter,
    first_line,
    footer_of,
    open_table,
    read_footer,
)
from dataver.tree.manifest import REFERENCE
from dataver.values import NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

    from dataver.results import Changes
    from dataver.tables.changes import TableChange
    from dataver.tables.view import TableStatistics
    from dataver.version import Version

RowGroup = tuple[Any, ...]
"""What tells the bytes of a row group and how they are read: equal ones hold equal rows."""


@contextmanager
def _opened(version: Version, path: str, **options: Any) -> Iterator[OpenTable]:
    """A Parquet file of a version, read by its footer. `BadInputError` names what is none."""
    with version.open(path) as file:
        try:
            yield open_table(file, **options)
        except NoTableError as error:
            raise _no_table(version, path, str(error)) from error


@contextmanager
def _readable(version: Version, path: str) -> Iterator[OpenTable]:
    """`_opened`, for its rows to be read in the body."""
    import pyarrow as pa

    with _opened(version, path) as table:
        if table.encrypted:
            raise _no_table(version, path, "some of its columns are encrypted")
        try:
            yield table
        except DataverError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _no_table(version, path, first_line(error)) from error


def _no_table(version: Version, path: str, reason: str) -> BadInputError:
    return BadInputError(f"{safe_spelling(path)} in {version.name} is no table that can be read: {reason}")


def table_paths(version: Version, path: str) -> list[str]:
    """The tables at a path. `PathNotFoundError` where there is none."""
    paths = version.tables(path)
    if not paths:
        raise PathNotFoundError(f"{version.name} has no Parquet files{at_place(path)}")
    return paths


def footers(version: Version, path: str = "") -> list[tuple[str, TableFooter]]:
    """What the footer of each table at a path says."""
    found = []
    for table in table_paths(version, path):
        with _opened(version, table) as opened:
            found.append((table, footer_of(opened)))
    return found


def all_footers(version: Version, path: str = "") -> list[tuple[str, TableFooter | str]]:
    """`footers`; of each file that is no table that can be read, the reason in its place."""
    found: list[tuple[str, TableFooter | str]] = []
    for table in version.tables(path):
        try:
            with version.open(table) as file:
                found.append((table, footer_of(open_table(file))))
        except (NoTableError, ErasedError) as error:
            found.append((table, str(error)))
        except (BadInputError, PathNotFoundError):
            found.append((table, "it is a symlink that leads to no file of the version"))
    return found


def schema(version: Version, path: str = "") -> pa.Schema:
    """The schema that all tables at a path have."""
    first, *others = table_paths(version, path)
    with _opened(version, first) as opened:
        found = opened.schema
    for table in others:
        with _opened(version, table) as opened:
            if not found.equals(opened.schema):
                raise _disagree(first, table)
    return found


def batches(version: Version, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of one table, some of its columns. What pyarrow raises while it reads goes through."""
    # Not all ranges first: those of a large file would be held until its last row was read.
    with _opened(version, path, pre_buffer=False) as table:
        if table.encrypted:
            raise _no_table(version, path, "some of its columns are encrypted")
        yield from table.parquet.iter_batches(columns=list(columns))


def _disagree(a: str, b: str) -> BadInputError:
    return BadInputError(
        f"{safe_spelling(a)} and {safe_spelling(b)} have different columns, so they are not one table; "
        "name one file, or a folder whose tables agree"
    )


# Statistics


def statistics(version: Version, path: str = "") -> TableStatistics:
    """What all tables at a path hold, as one table. See `Version.stats`."""
    paths = table_paths(version, path)
    return as_one_table(version, paths, file_statistics(version, paths, compute=True))


def as_one_table(
    version: Version,
    paths: Sequence[str],
    found: Sequence[FileStatistics | None],
    points: int | None = None,
) -> TableStatistics:
    """What files hold together; `points` as for `merge`.

    `BadInputError` for a file that is no table, or another one than the first.
    """
    from dataver.tables.statistics import merge
    from dataver.tables.view import view

    parts: list[FileStatistics] = []
    for table, part in zip(paths, found, strict=True):
        assert part is not None
        if part.reason:
            raise _no_table(version, table, part.reason)
        if parts and _columns(part) != _columns(parts[0]):
            raise _disagree(paths[0], table)
        parts.append(part)
    return view(merge(parts, points), len(parts))


def _columns(part: FileStatistics) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in part.columns]


def file_statistics(version: Version, paths: Sequence[str], *, compute: bool) -> list[FileStatistics | None]:
    """Of each file: from this machine's cache, else the repository, else computed, or None without that."""
    digests = [version.entry(path).digest for path in paths]
    known: dict[bytes, FileStatistics] = {}
    for digest in dict.fromkeys(digests):
        cached = cache.load(digest)
        if cached is not None:
            known[digest] = cached
    known.update(_stored(version, [digest for digest in dict.fromkeys(digests) if digest not in known]))
    if compute:
        missing = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
        if missing:
            from dataver.tables.collect import by_threads

            jobs = version.repository.session.jobs or default_jobs()
            made = by_threads(
                lambda item, check: _computed(version, *item, check), list(missing.items()), jobs
            )
            with closing(made):
                known.update(zip(missing, made, strict=True))
    return [known.get(digest) for digest in digests]


def _stored(version: Version, digests: Sequence[bytes]) -> dict[bytes, FileStatistics]:
    """What the repository keeps. What is missing or damaged is computed again: it is no evidence."""
    if not digests:
        return {}
    objects = version.objects()
    places = objects.index.find_many(b"".join(map(statistics_key, digests)))
    found = {}
    for digest, place in zip(digests, places, strict=True):
        if place is None:
            continue
        try:
            for _, data in objects.read_places([place]):
                found[digest] = decode(bytes(data), digest)
        except (DamagedError, NewerFormatError, ObjectMissingError):
            continue
    return found


def _computed(version: Version, digest: bytes, path: str, check: Callable[[], None]) -> FileStatistics:
    from dataver.tables.statistics import encode_bounded
    from dataver.tables.statistics import file_statistics as compute

    with version.open(path) as file:
        data = encode_bounded(digest, compute(file, check))
    cache.save(digest, data)
    return decode(data, digest)


# Differences


def diff_tables(
    old: Version, new: Version, modified: Sequence[str], *, compute: bool = False
) -> list[TableChange]:
    """How each modified table changed. See `Repository.diff_tables`."""
    from dataver.tables.changes import compare_footers, compare_statistics
    from dataver.tables.view import view

    both = []
    for path in modified:
        if not path.lower().endswith(PARQUET_SUFFIXES):
            continue
        with old.open(path) as before, new.open(path) as after:
            pair = read_footer(before), read_footer(after)
        if pair[0] is not None and pair[1] is not None:
            both.append((path, pair[0], pair[1]))
    paths = [path for path, _, _ in both]
    sides = [file_statistics(side, paths, compute=compute) for side in (old, new)]
    found = []
    for (path, before_footer, after_footer), a, b in zip(both, *sides, strict=True):
        moved = None
        if a is not None and b is not None and not a.reason and not b.reason:
            moved = compare_statistics(view(a), view(b))
        found.append(compare_footers(path, before_footer, after_footer, moved))
    return found


def diff_rows(
    old: Version, new: Version, changes: Changes, key: Sequence[str] | str, path: str = ""
) -> pa.Table:
    """The rows that differ between the changed tables of two versions. See `Repository.diff_rows`.

    All of them are held in memory.
    """
    from dataver.tables.rows import compare_rows

    key = [key] if isinstance(key, str) else list(key)
    if not key or len(set(key)) < len(key):
        raise BadInputError("the key is one column or several different ones")
    pairs: list[tuple[str | None, str | None]] = [
        *((name, name) for name in changes.modified),
        *((name, None) for name in changes.deleted),
        *((None, name) for name in changes.added),
    ]
    befores: list[pa.Table] = []
    afters: list[pa.Table] = []
    place = path.strip("/")
    if place in not_compared(old, new, changes, place):
        version = old if place in changes.deleted else new
        raise _no_table(version, place, "it is not Parquet")
    for before, after in pairs:
        name = before or after or ""
        if _inside(name, place) and name.lower().endswith(PARQUET_SUFFIXES):
            for tables, found in zip((befores, afters), _differing(old, new, before, after), strict=True):
                tables += found
    if place and not befores and not afters:
        _check_place(old, new, place)
    return compare_rows(befores, afters, key, (old.name, new.name))


def not_compared(old: Version, new: Version, changes: Changes, path: str = "") -> list[str]:
    """The files at a path whose bytes changed and that are not Parquet: `diff_rows` leaves them out."""
    place = path.strip("/")
    return sorted(
        name
        for name in (*changes.added, *changes.modified, *changes.deleted)
        if _inside(name, place)
        and not name.lower().endswith(PARQUET_SUFFIXES)
        and _content(old, name) != _content(new, name)
    )


def _inside(name: str, place: str) -> bool:
    return not place or name == place or name.startswith(f"{place}/")


def _content(version: Version, path: str) -> bytes | None:
    """The digest of a file's bytes; None where there is no file, as for an empty folder."""
    try:
        return version.entry(path).digest
    except (BadInputError, PathNotFoundError):
        return None


def _check_place(old: Version, new: Version, place: str) -> None:
    """`PathNotFoundError` where neither version has anything at a path."""
    try:
        new.listing(place)
    except PathNotFoundError:
        old.listing(place)


class _Side(NamedTuple):
    """A table of one version, and what tells each of its row groups."""

    table: OpenTable
    groups: list[RowGroup]

    def read(self, common: Counter[RowGroup]) -> pa.Table:
        """All rows save those of so many of these row groups."""
        left, wanted = Counter(common), []
        for number, group in enumerate(self.groups):
            if left[group] > 0:
                left[group] -= 1
            else:
                wanted.append(number)
        return self.table.parquet.read_row_groups(wanted).replace_schema_metadata(None)


def _differing(
    old: Version, new: Version, before: str | None, after: str | None
) -> tuple[list[pa.Table], list[pa.Table]]:
    """The rows of one changed file before and after, without the row groups that both have."""
    if before is None or after is None:
        version, path = (new, after) if before is None else (old, before)
        assert path is not None
        with _readable(version, path) as table:
            rows = [table.parquet.read().replace_schema_metadata(None)]
        return ([], rows) if before is None else (rows, [])
    with _readable(old, before) as a, _readable(new, after) as b:
        sides = _Side(a, _row_groups(old, before, a)), _Side(b, _row_groups(new, after, b))
        common: Counter[RowGroup] = Counter()
        if a.schema.equals(b.schema):
            common = Counter(sides[0].groups) & Counter(sides[1].groups)
        return [sides[0].read(common)], [sides[1].read(common)]


def _row_groups(version: Version, path: str, table: OpenTable) -> list[RowGroup]:
    """What tells each row group: how it is laid out, and the digests of the chunks that it lies in.

    A chunk that reaches over an end of it counts whole, so that a row group may seem to differ where
    only its neighbour does; never the other way round.
    """
    entry, objects = version.entry(path), version.objects()
    found: list[RowGroup] = []
    for number, group in enumerate(table.groups):
        start = min((column.start for column in group.columns), default=0)
        stop = max((column.start + column.size_bytes for column in group.columns), default=0)
        if entry.kind == REFERENCE or not 0 < start < stop <= entry.size:
            found.append((version.id, path, number))
            continue
        chunks = list(file_rows(entry, objects, start, stop))
        layout = tuple(column._replace(start=column.start - chunks[0][0]) for column in group.columns)
        found.append((group.rows, layout, tuple(row.digest for _, row in chunks)))
    return found
