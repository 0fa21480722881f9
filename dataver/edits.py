"""What a commit changes, by path: the files that were read as columns, other rows as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Sequence
from dataclasses import field
from heapq import merge
from itertools import chain, islice
from typing import Any

from dataver.column import Column
from dataver.digest import DIGEST_BYTES
from dataver.format.node import Row, rows_of
from dataver.source.columns import IDENTITY_BYTES, STAMP, Picked, cut
from dataver.tree.manifest import CHUNKS_TAG, REFERENCE, REFERENCE_TAG, Entry, to_row
from dataver.tree.schema import Link, NodeStore
from dataver.tree.update import OrderedEdits
from dataver.tree.walk import find, scan
from dataver.values import dataclass

__all__ = ["Extras", "Ingested", "NewRows", "SourceEdits", "in_the_way"]

ROWS_TOGETHER = 1024

_Edit = tuple[bytes, Row | None]


Extras = tuple[tuple[bytes, int, bytes], ...]


@dataclass(slots=True)
class Ingested:
    """What an ingest did, side by side in the order of the files given: there is no object a file.

    `stamps` (see `dataver.source.columns`) belong to the bytes read, `digests` are theirs; `extras` are the
    further columns of the manifest, by position, and `referred` the positions of files that stay where they
    are. `list_nodes` are the chunk lists of files with more than one chunk, to be stored beside the manifest.
    """

    stamps: Column = field(default_factory=Column)
    digests: Column = field(default_factory=Column)
    extras: dict[int, Extras] = field(default_factory=dict)
    referred: set[int] = field(default_factory=set)
    list_nodes: dict[bytes, bytes] = field(default_factory=dict)
    new_bytes: int = 0

    def __len__(self) -> int:
        return len(self.digests) // DIGEST_BYTES

    def take(self, stamp: bytes, digest: bytes, extras: Extras) -> None:
        """Append a file."""
        if extras:
            self.extras[len(self)] = extras
        self.stamps += stamp
        self.digests += digest

    def digest(self, at: int) -> bytes:
        """The digest of one file."""
        return self.digests[DIGEST_BYTES * at : DIGEST_BYTES * (at + 1)]

    def stamp(self, at: int) -> bytes:
        """The stamp of one file."""
        return self.stamps[STAMP.size * at : STAMP.size * (at + 1)]

    def only(self, positions: Iterable[int]) -> Ingested:
        """The files at some positions alone."""
        some = Ingested(list_nodes=self.list_nodes, new_bytes=self.new_bytes)
        for number, at in enumerate(positions):
            some.take(self.stamp(at), self.digest(at), self.extras.get(at, ()))
            if at in self.referred:
                some.referred.add(number)
        return some

    def row(self, path: bytes, at: int) -> Row:
        """The row of one file in a manifest, under a path."""
        return next(self._rows([path], at))

    def rows(self, paths: Iterable[bytes]) -> Iterator[Row]:
        """The rows of all files in a manifest, under these paths."""
        paths, start = iter(paths), 0
        while some := list(islice(paths, ROWS_TOGETHER)):
            yield from self._rows(some, start)
            start += len(some)

    def _rows(self, paths: list[bytes], start: int) -> Iterator[Row]:
        """The rows of some files from `start` on, made together."""
        stop = start + len(paths)
        digests = cut(self.digests[DIGEST_BYTES * start : DIGEST_BYTES * stop], DIGEST_BYTES)
        stamps = cut(self.stamps[STAMP.size * start : STAMP.size * stop], STAMP.size)
        # A row's fixed columns: the digest, and what a stamp begins with.
        records = [digest + stamp[:IDENTITY_BYTES] for digest, stamp in zip(digests, stamps, strict=True)]
        rows = rows_of(paths, records)
        if not self.extras:
            return rows
        return (self._with_extras(row, at) for at, row in enumerate(rows, start))

    def _with_extras(self, row: Row, at: int) -> Row:
        fixed = row.fixed
        if at in self.referred:
            fixed = (
                fixed[:DIGEST_BYTES] + bytes([fixed[DIGEST_BYTES] | REFERENCE]) + fixed[DIGEST_BYTES + 1 :]
            )
        return Row(row.key, fixed, self.extras.get(at, ()))


class NewRows:
    """The rows of files that were read, below `into`, in the order of their paths; made when asked for."""

    def __init__(self, files: Picked, ingested: Ingested, into: bytes) -> None:
        self._files = files
        self._ingested = ingested
        self._into = into
        self._kept_paths: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self._ingested)

    def __iter__(self) -> Iterator[Row]:
        return self._ingested.rows(self._paths())

    def get(self, path: bytes) -> Row | None:
        """The row of one file."""
        if self._kept_paths is None:
            self._kept_paths = list(self._paths())
        at = bisect_left(self._kept_paths, path)
        if at == len(self._kept_paths) or self._kept_paths[at] != path:
            return None
        return self._ingested.row(path, at)

    def only(self, positions: Sequence[int]) -> NewRows:
        """Those at some positions."""
        if len(positions) == len(self):
            return self
        return NewRows(self._files.only(positions), self._ingested.only(positions), self._into)

    def _paths(self) -> Iterator[bytes]:
        paths = self._files.each_path()
        return map(self._into.__add__, paths) if self._into else paths


class SourceEdits(OrderedEdits):
    """The rows of files that were read, and what else is to be done."""

    def __init__(self, read: NewRows) -> None:
        self._read = read
        self._others: dict[bytes, Row | None] = {}

    def put(self, path: bytes, row: Row | None) -> None:
        """A change to a path; None removes it. A file that was read there is to be dropped by `keep`."""
        self._others[path] = row

    def replace(self, entry: Entry, known: Entry | None) -> None:
        """Put an entry in the place of one of the base, where it differs."""
        if known is None or known[1:5] != entry[1:5] or _location(known) != _location(entry):
            self.put(entry.path, to_row(_carrying(entry, known)))

    def keep(self, positions: Sequence[int]) -> None:
        """Of the files that were read only these are changes; `put` said what becomes of the others."""
        self._read = self._read.only(positions)

    def has_file(self, path: bytes) -> bool:
        """Whether a file was read that has this path, or a row put."""
        return self._others.get(path) is not None or self._read.get(path) is not None

    def in_order(self) -> Iterator[_Edit]:
        """All changes, by path."""
        if not self._others:
            return self.each()
        return merge(self._each_read(), sorted(self._others.items(), key=_path_of), key=_path_of)

    def each(self) -> Iterator[_Edit]:
        """All changes, in any order."""
        return chain(self._others.items(), self._each_read())

    def _each_read(self) -> Iterator[_Edit]:
        return ((row.key, row) for row in self._read)

    def items(self) -> ItemsView[bytes, Row | None]:
        """All changes, in any order."""
        return _Items(self)

    def __len__(self) -> int:
        return len(self._read) + len(self._others)

    def __iter__(self) -> Iterator[bytes]:
        return (path for path, _ in self.items())

    def __getitem__(self, path: bytes) -> Row | None:
        if path in self._others:
            return self._others[path]
        row = self._read.get(path)
        if row is None:
            raise KeyError(path)
        return row


class _Items(ItemsView[bytes, Any]):
    """Pairs without a look-up each."""

    def __init__(self, edits: SourceEdits) -> None:
        super().__init__(edits)
        self._each = edits.each

    def __iter__(self) -> Iterator[_Edit]:
        return self._each()


def _path_of(edit: _Edit) -> bytes:
    return edit[0]


def _location(entry: Entry) -> bytes | None:
    return next((value for tag, _, value in entry.extras if tag == REFERENCE_TAG), None)


def _carrying(entry: Entry, known: Entry | None) -> Entry:
    """The entry with the columns that this release does not know: they stay while the bytes do."""
    if known is None or known.digest != entry.digest:
        return entry
    others = [extra for extra in known.extras if extra[0] not in (CHUNKS_TAG, REFERENCE_TAG)]
    return entry._replace(extras=tuple(sorted((*entry.extras, *others))))


def in_the_way(nodes: NodeStore, root: Link, added: Sequence[bytes]) -> Iterator[Row]:
    """Rows of a tree that cannot stand beside added ones: files where folders come, and the reverse."""
    folders: set[bytes] = set()
    for path in added:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
        yield from scan(nodes, root, path + b"/", path + b"0")
    for folder in folders:
        row = find(nodes, root, folder)
        if row is not None:
            yield row
