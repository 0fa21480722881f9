"""A source's files beside the rows of a version: what is certainly the same costs no object a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dataver.format.node import Row
from dataver.source.columns import IDENTITY_BYTES, Listing
from dataver.stat_cache import StatCache
from dataver.tree.columns import Columns, read_columns
from dataver.tree.manifest import Entry, to_entry
from dataver.tree.schema import Link, NodeStore
from dataver.tree.walk import find
from dataver.values import dataclass

__all__ = ["Entries", "Standing", "entries_of", "mark", "stand_beside"]


FINDS_MAX = 256
"""After so many rows were looked for one by one, all are read."""


class Entries(Mapping[bytes, Entry]):
    """The files among a tree's rows by path, each made when it is asked for.

    `read` gives all rows; it is called once, and only where all are needed. `find` gives one.
    """

    def __init__(
        self, read: Callable[[], Columns], find: Callable[[bytes], Row | None] | None = None
    ) -> None:
        self._read = read
        self._find = find
        self._finds = 0
        self._columns: Columns | None = None

    @property
    def columns(self) -> Columns:
        """All rows."""
        if self._columns is None:
            self._columns = self._read()
        return self._columns

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.columns)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, bytes) and self.get(path) is not None

    def __getitem__(self, path: bytes) -> Entry:
        entry: Entry | None = self.get(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def get(self, path: bytes, default: Any = None) -> Any:
        """The file at a path."""
        row = self.row(path)
        return default if row is None else to_entry(row)

    def row(self, path: bytes) -> Row | None:
        """The row of the file at a path."""
        if self._find is None or self._columns is not None or self._finds >= FINDS_MAX:
            found: Row | None = self.columns.get(path)
            return found
        self._finds += 1
        return self._find(path)


def entries_of(nodes: NodeStore, root: Link) -> Entries:
    """All files of a tree. One file costs a node a level."""
    return Entries(lambda: read_columns(nodes, root), lambda path: find(nodes, root, path))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a source and a version may differ.

    `open` are the positions of the files that are not certain to be the row of their path, in order,
    with the digests that are known of them; `gone` the paths of rows that have no file, in order.
    """

    open: Sequence[int]
    digests: Sequence[bytes | None]
    gone: Sequence[bytes]


def stand_beside(
    files: Listing, cache: StatCache, before: Entries, root: Link | None = None, into: bytes = b""
) -> Standing:
    """Compare files, as far as their digests are known, with the rows `before` below `into`.

    Certain is a file of the same kind, executable bit, size and digest. An empty folder never is,
    nor a file that stayed where it is. `root` is that of `before` where these are all its rows: then
    they are not read if the cache knows what stands in them.
    """
    if root is not None and cache.tree == root.identity:
        if cache.is_all(files):
            return Standing((), (), ())
        changed = cache.unsure(files)
        return Standing(changed, [None] * len(changed), cache.absent_from(files))
    digests = cache.lookup(files)
    if not before.columns:
        return Standing(range(len(files)), digests, ())
    paths = [into + path for path in files.paths] if into else files.paths
    keys, records = before.columns.keys_in_order, before.columns.records
    known = zip(digests, files.stamps, strict=True)
    if paths == keys:
        rows = zip(known, records, strict=True)
        changed = [
            at
            for at, ((digest, stamp), record) in enumerate(rows)
            if digest is None or digest + stamp[:IDENTITY_BYTES] != record
        ]
        return Standing(changed, [digests[at] for at in changed], ())
    places = dict(zip(keys, records, strict=True))
    changed = [
        at
        for at, (path, (digest, stamp)) in enumerate(zip(paths, known, strict=True))
        if digest is None or digest + stamp[:IDENTITY_BYTES] != places.get(path)
    ]
    return Standing(changed, [digests[at] for at in changed], sorted(places.keys() - set(paths)))


def mark(cache: StatCache, files: Listing, root: Link) -> None:
    """Remember that the files listed, all of them recorded, are those of a tree.

    Nothing is done where an empty folder is among them: those are not recorded.
    """
    if cache.tree != root.identity and len(cache) == len(files) == root.rows:
        cache.mark(root.identity)
