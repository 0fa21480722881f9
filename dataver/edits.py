"""What a commit changes, by path: the files that were read as columns, other rows as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterator
from heapq import merge
from typing import Any

from dataver.format.node import Row
from dataver.ingest import Ingested
from dataver.source.columns import Picked
from dataver.tree.manifest import Entry, to_entry
from dataver.tree.update import OrderedEdits

__all__ = ["SourceEdits"]

_Edit = tuple[bytes, Row | None]


class SourceEdits(OrderedEdits):
    """The files that were read, each a new row at its path below `into`, and what else is to be done.

    A row is made when it is asked for.
    """

    def __init__(self, files: Picked, ingested: Ingested, into: bytes) -> None:
        self._files = files
        self._ingested = ingested
        self._into = into
        self._others: dict[bytes, Row | None] = {}
        self._left_out: set[int] = set()
        self._kept_paths: list[bytes] | None = None

    def entries(self) -> Iterator[Entry]:
        """The files that were read."""
        return map(to_entry, self._ingested.rows(self._each_path()))

    def leave_out(self, at: int) -> None:
        """The file that was read at a position is no change, or `put` says what it is."""
        self._left_out.add(at)

    def put(self, path: bytes, row: Row | None) -> None:
        """A change to a path that has none yet; None removes it."""
        self._others[path] = row

    def has_file(self, path: bytes) -> bool:
        """Whether a file was read that has this path, or a row put."""
        return self._others.get(path) is not None or self._find(path) is not None

    def in_order(self) -> Iterator[_Edit]:
        """All changes, by path."""
        read: Iterator[_Edit] = ((row.key, row) for row in self._ingested.rows(self._each_path()))
        if self._left_out:
            read = (edit for at, edit in enumerate(read) if at not in self._left_out)
        return merge(read, sorted(self._others.items(), key=_path_of), key=_path_of) if self._others else read

    def items(self) -> ItemsView[bytes, Row | None]:
        """The changes, by path."""
        return _Items(self)

    def __len__(self) -> int:
        return len(self._ingested) - len(self._left_out) + len(self._others)

    def __iter__(self) -> Iterator[bytes]:
        return (path for path, _ in self.in_order())

    def __getitem__(self, path: bytes) -> Row | None:
        if path in self._others:
            return self._others[path]
        at = self._find(path)
        if at is None or at in self._left_out:
            raise KeyError(path)
        return self._ingested.row(path, at)

    def _each_path(self) -> Iterator[bytes]:
        paths = self._files.each_path()
        return map(self._into.__add__, paths) if self._into else paths

    def _find(self, path: bytes) -> int | None:
        if self._kept_paths is None:
            self._kept_paths = list(self._each_path())
        at = bisect_left(self._kept_paths, path)
        return at if at < len(self._kept_paths) and self._kept_paths[at] == path else None


class _Items(ItemsView[bytes, Any]):
    """Pairs without a look-up each."""

    def __init__(self, edits: SourceEdits) -> None:
        super().__init__(edits)
        self._edits = edits

    def __iter__(self) -> Iterator[_Edit]:
        return self._edits.in_order()


def _path_of(edit: _Edit) -> bytes:
    return edit[0]
