"""What a commit changes, by path: the files that were read as columns, other rows as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterator, Sequence
from heapq import merge
from itertools import chain
from typing import Any

from dataver.format.node import Row
from dataver.ingest import Ingested
from dataver.source.columns import Picked
from dataver.tree.update import OrderedEdits

__all__ = ["NewRows", "SourceEdits"]

_Edit = tuple[bytes, Row | None]


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
