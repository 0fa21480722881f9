"""Where rows come from: the tables of a version, or its files."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from dataver.errors import BadInputError, PathNotFoundError
from dataver.files import to_path
from dataver.globs import path_filter
from dataver.hashing import blake3_digest
from dataver.loading.columns import Batch, Column, check, to_column
from dataver.loading.processes import current_worker
from dataver.paths import at_place
from dataver.row_tables import columns_of, readable
from dataver.splits.definition import canonical_json
from dataver.tree.manifest import FOLDER, REFERENCE, SYMLINK, Entry
from dataver.values import NamedTuple

if TYPE_CHECKING:
    import pyarrow.dataset
    from numpy.typing import NDArray

    from dataver.loading.order import Numbers
    from dataver.splits.rules import Rule
    from dataver.version import Version

FRAGMENTS_KEPT = 16
"""So many files stay known by their footers, of those that were read last."""
TOGETHER_BYTES_MAX = 32 << 20
"""About so many bytes of files that are far away are read in one go."""


class Block(Protocol):
    """The rows of some groups, ready for use."""

    nbytes: int

    def take(self, rows: Numbers) -> Batch:
        """Some rows, in this order."""


class Source(Protocol):
    """Rows in groups. Picklable; what it has open is of one process and made anew in another."""

    counts: Numbers
    """How many rows each group has."""
    sizes: Numbers
    """How many bytes each group has as its file says, uncompressed; 0 where it says nothing."""
    identity: str
    """64 hex digits that only a source of the same rows in the same groups has."""

    def load(self, groups: Numbers) -> Block:
        """The rows of these groups, one group after the other."""


class _TableBlock:
    def __init__(self, columns: dict[str, Column]) -> None:
        self._columns = columns
        self.nbytes = sum(column.nbytes for column in columns.values())

    def take(self, rows: Numbers) -> Batch:
        return {name: column.take(rows) for name, column in self._columns.items()}


class _Piece(NamedTuple):
    """A group: the number of a file, and of a row group in it; all of a file that has none."""

    file: int
    row_group: int | None


class TableSource:
    """Rows of tables. A group is a row group of a Parquet file, or a whole file of another kind.

    Each process opens the tables when it first reads, from what is known of them here.
    """

    def __init__(
        self,
        version: Version,
        tables: pyarrow.dataset.Dataset,
        *,
        columns: Sequence[str] | str | None,
        fill: Mapping[str, Any] | None,
        identity: Mapping[str, Any],
    ) -> None:
        """`identity` is what tells these tables from others, as a document."""
        self._version = version
        self._format = tables.format
        self._schema = tables.schema
        chosen = columns_of(columns, tables.schema.names)
        self._columns = tables.schema.names if chosen is None else chosen
        self._fill = dict(fill or {})
        if not self._columns:
            known = ", ".join(tables.schema.names[:20])
            raise BadInputError(f"no column was asked for; its columns are {known}")
        check(pa.schema([tables.schema.field(name) for name in self._columns]), self._fill)
        self._files: list[tuple[str, Any]] = []
        self._pieces: list[_Piece] = []
        self._chosen: list[NDArray[np.uint8]] | None = None
        counts: list[int] = []
        sizes: list[int] = []
        with readable(version):
            for number, fragment in enumerate(tables.get_fragments()):
                self._files.append((fragment.path, fragment.partition_expression))
                groups = getattr(fragment, "row_groups", None)
                if groups is None:
                    self._pieces.append(_Piece(number, None))
                    counts.append(fragment.count_rows())
                    sizes.append(0)
                else:
                    self._pieces += [_Piece(number, group.id) for group in groups]
                    counts += [group.num_rows for group in groups]
                    sizes += [max(group.total_byte_size, 0) for group in groups]
        self.counts: Numbers = np.array(counts, np.int64)
        self.sizes: Numbers = np.array(sizes, np.int64)
        self.identity = str(blake3_digest(canonical_json(dict(identity))))
        self._forget()

    def choose(self, rule: Rule, needed: Sequence[str], part: str) -> None:
        """Keep the rows of one part of a split. Reads the columns that decide, once."""
        chosen = []
        for number in range(len(self._pieces)):
            table = self._read(number, list(needed))
            batches = table.to_batches() if len(needed) else []
            masks = [rule.mask(batch, part) for batch in batches]
            mask = np.concatenate(masks) if masks else np.zeros(table.num_rows, np.bool_)
            self.counts[number] = np.count_nonzero(mask)
            chosen.append(np.packbits(mask))
        self._chosen = chosen

    def __getstate__(self) -> dict[str, Any]:
        hidden = ("_fragments", "_system", "_process")
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._system: Any = None
        self._fragments: OrderedDict[int, Any] = OrderedDict()

    def load(self, groups: Numbers) -> Block:
        tables = []
        for number in groups.tolist():
            table = self._read(number, self._columns)
            if self._chosen is not None:
                mask = np.unpackbits(self._chosen[number], count=table.num_rows).astype(np.bool_)
                table = table.filter(pa.array(mask))
            tables.append(table)
        whole = pa.concat_tables(tables)
        return _TableBlock({name: to_column(name, whole.column(name), self._fill) for name in self._columns})

    def _read(self, number: int, columns: list[str]) -> pa.Table:
        piece = self._pieces[number]
        with readable(self._version):
            fragment = self._fragment(piece.file)
            if piece.row_group is not None:
                fragment = fragment.subset(row_group_ids=[piece.row_group])
            # A worker is one of several that share the processor.
            threads = current_worker() is None
            return fragment.to_table(schema=self._schema, columns=columns, use_threads=threads)

    def _fragment(self, file: int) -> Any:
        if self._process != os.getpid():
            self._forget()
        found = self._fragments.pop(file, None)
        if found is None:
            path, expression = self._files[file]
            found = self._format.make_fragment(path, self._open_system(), partition_expression=expression)
        self._fragments[file] = found
        while len(self._fragments) > FRAGMENTS_KEPT:
            self._fragments.popitem(last=False)
        return found

    def _open_system(self) -> Any:
        if self._system is None:
            import fsspec
            import pyarrow.fs

            system = fsspec.get_filesystem_class("dataver").of(self._version)
            self._system = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system))
        return self._system


class FileSource:
    """Files, each with its path and its bytes. All of them are one group, as each can be read by itself.

    Symlinks that lead to a file are such a file. Names that begin with `.` are left out.
    """

    def __init__(self, version: Version, path: str, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._version = version
        self._entries = _entries(version, path, include, exclude)
        if not self._entries:
            raise PathNotFoundError(f"{version.name} has no such files{at_place(path)}")
        self.counts: Numbers = np.array([len(self._entries)], np.int64)
        self.sizes: Numbers = np.zeros(1, np.int64)
        document = {"version": version.id, "path": path, "include": list(include), "exclude": list(exclude)}
        self.identity = str(blake3_digest(canonical_json({"files": document})))

    def load(self, groups: Numbers) -> Block:  # noqa: ARG002 - there is one
        return _FileBlock(self._version, self._entries)


class _FileBlock:
    nbytes = 0

    def __init__(self, version: Version, entries: Sequence[tuple[str, Entry]]) -> None:
        self._version = version
        self._entries = entries

    def take(self, rows: Numbers) -> Batch:
        chosen = [self._entries[row] for row in rows.tolist()]
        data = read_many(self._version, [entry for _, entry in chosen])
        return {"path": [path for path, _ in chosen], "bytes": data}


def _entries(
    version: Version, path: str, include: Sequence[str], exclude: Sequence[str]
) -> list[tuple[str, Entry]]:
    """The files at a path, by the path that they have there."""
    tree, place = version.tree_of_files(), to_path(path)
    top = tree.follow(place)
    if top.kind != FOLDER:
        return [(path, top)]
    wanted = path_filter(include, exclude)
    start = top.path + b"/" if top.path else b""
    prefix = place + b"/" if place else b""
    found = []
    for entry in tree.scan(start):
        below = entry.path[len(start) :]
        if entry.kind == FOLDER or below.startswith(b".") or b"/." in below or not wanted(prefix + below):
            continue
        if entry.kind == SYMLINK:
            with suppress(BadInputError, PathNotFoundError):
                target = tree.follow(entry.path)
                if target.kind != FOLDER:
                    found.append(((prefix + below).decode(), target))
        else:
            found.append(((prefix + below).decode(), entry))
    return found


def read_many(version: Version, entries: Sequence[Entry]) -> list[bytes]:
    """All bytes of many files, verified.

    Where the store is far away, small files that lie near each other are one request, and others are
    read by several threads.
    """
    objects = version.objects()
    if objects.is_near:
        return [version.read_entry(entry) for entry in entries]
    reads = version.reads
    if reads is not None:
        reads.several(entries)
    found: list[bytes | None] = [None] * len(entries)
    small = [
        at
        for at, entry in enumerate(entries)
        if entry.chunks is None and entry.kind != REFERENCE and entry.size
    ]
    for run in _runs(small, entries):
        views = objects.chunks(b"".join([entries[at].digest for at in run]))
        for at, view in zip(run, views, strict=True):
            data = bytes(view)
            # What does not match is read again, by itself, which says what is wrong.
            if len(data) == entries[at].size and blake3_digest(data) == entries[at].digest:
                found[at] = data
    rest = [at for at, read in enumerate(found) if read is None]
    if rest:
        threads = min(version.repository.session.readers(), len(rest))
        with ThreadPoolExecutor(threads, thread_name_prefix="dataver-load") as pool:
            for at, data in zip(
                rest, pool.map(lambda at: version.read_entry(entries[at]), rest), strict=True
            ):
                found[at] = data
    return [read for read in found if read is not None]


def _runs(chosen: Sequence[int], entries: Sequence[Entry]) -> list[list[int]]:
    runs: list[list[int]] = []
    size = TOGETHER_BYTES_MAX
    for at in chosen:
        if size >= TOGETHER_BYTES_MAX:
            runs.append([])
            size = 0
        runs[-1].append(at)
        size += entries[at].size
    return runs
